"""Keep state: revisions, access tokens, connections, sealed credentials and call records.

One `Store` over SQLAlchemy Core, on SQLite or PostgreSQL by the same code; Alembic brings a
database to the present schema when it is opened. Rows come out as domain types. The store never
sees a secret in clear: the vault seals before, and opens after.
"""

from __future__ import annotations

from tidegate.store.calls import CallPage, Usage
from tidegate.store.consents import Consent
from tidegate.store.errors import (
    KekReplaced,
    StoreConflict,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from tidegate.store.issued import IssuedToken
from tidegate.store.person_keys import StoredPersonKey
from tidegate.store.protection_roots import StoredProtectionRoot
from tidegate.store.revisions import Revision
from tidegate.store.rotations import RotationRow
from tidegate.store.sealed import (
    FirstToken,
    SealedCredential,
    SealedRow,
    StoredKek,
    StoredRoot,
)
from tidegate.store.sealing import Amend, Anchoring, StoredManifest
from tidegate.store.store import Store

__all__ = [
    "Amend",
    "Anchoring",
    "CallPage",
    "Consent",
    "FirstToken",
    "IssuedToken",
    "KekReplaced",
    "Revision",
    "RotationRow",
    "SealedCredential",
    "SealedRow",
    "Store",
    "StoreConflict",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "StoredKek",
    "StoredManifest",
    "StoredPersonKey",
    "StoredProtectionRoot",
    "StoredRoot",
    "Usage",
]
