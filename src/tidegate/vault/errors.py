"""How the vault says no. Messages name connections and files, never what is in them."""

from __future__ import annotations


class VaultError(Exception):
    """The base of the vault's errors."""


class VaultRefused(VaultError):  # noqa: N818 - its name says what it is
    """Something sealed does not open: altered, moved, or sealed by another key."""


class RootRefused(VaultError):  # noqa: N818 - as above
    """The root key is missing, exposed, or not the one that sealed this store."""


class RootUnavailable(RootRefused):
    """The service that keeps the root key does not answer at this moment."""


class VaultLocked(VaultError):  # noqa: N818 - as above
    """The database is not the one that the anchor remembers; an operator must look first."""


class VaultOutdated(VaultRefused):
    """What is to be opened was replaced meanwhile; look again."""
