"""Seal secrets so that a stolen database reads as noise, and open them for the engine's leases.

root key → one key-encryption key (KEK) per client → one data-encryption key (DEK) per version of a
credential, used once → the credential's fields. Every layer is AES-256-GCM, and what it is bound to
is authenticated with it: a row that was altered, or moved to another client, connection, version or
origin, does not open; one that was rolled back is not in its client's manifest. The root key is
never in the store in clear.
"""

from __future__ import annotations

from tidegate.vault.errors import (
    RootRefused,
    RootUnavailable,
    VaultError,
    VaultLocked,
    VaultOutdated,
    VaultRefused,
)
from tidegate.vault.hardening import harden_process
from tidegate.vault.root import (
    Root,
    RootEnvironment,
    RootFile,
    RootKeyring,
    RootPassphrase,
    RootService,
    RootSource,
    create_root_file,
    open_root,
)
from tidegate.vault.rotation import Rotated
from tidegate.vault.vault import Vault

__all__ = [
    "Root",
    "RootEnvironment",
    "RootFile",
    "RootKeyring",
    "RootPassphrase",
    "RootRefused",
    "RootService",
    "RootSource",
    "RootUnavailable",
    "Rotated",
    "Vault",
    "VaultError",
    "VaultLocked",
    "VaultOutdated",
    "VaultRefused",
    "create_root_file",
    "harden_process",
    "open_root",
]
