"""Make access tokens and connections, and lease what is sealed to the engine.

What a person gives is judged here, before the vault seals it: a credential fits its provider or is
refused with a sentence that says why, and never what it was.
"""

from __future__ import annotations

from tidegate.credentials.ages import CredentialAge, Due, ages
from tidegate.credentials.authorization import ConsentRefused, Why
from tidegate.credentials.caretaker import Caretaker
from tidegate.credentials.connections import Connections
from tidegate.credentials.consent import Asked, Consents, Shown
from tidegate.credentials.errors import CredentialRefused
from tidegate.credentials.hook_signers import HookSigners
from tidegate.credentials.issuers import IssuerKeys
from tidegate.credentials.keeper import Keeper
from tidegate.credentials.leases import Leases, LeaseTaker, Renewal
from tidegate.credentials.references import References
from tidegate.credentials.refresh import Refresher, Renewed
from tidegate.credentials.revoke import Revoked
from tidegate.credentials.rotator import Rotator
from tidegate.credentials.tokens import AccessTokens, check_format

__all__ = [
    "AccessTokens",
    "Asked",
    "Caretaker",
    "Connections",
    "ConsentRefused",
    "Consents",
    "CredentialAge",
    "CredentialRefused",
    "Due",
    "HookSigners",
    "IssuerKeys",
    "Keeper",
    "LeaseTaker",
    "Leases",
    "References",
    "Refresher",
    "Renewal",
    "Renewed",
    "Revoked",
    "Rotator",
    "Shown",
    "Why",
    "ages",
    "check_format",
]
