"""Keep the root key in the operating system's keyring, which the person's session unlocks.

Only keyrings that encrypt are taken. The library falls back to ones that keep text in a file, or
keep nothing; those are refused by name of what is allowed, so that an unknown one is refused too.
"""

from __future__ import annotations

from typing import Any, Final

from tidegate.vault.envelope import new_key
from tidegate.vault.errors import RootRefused
from tidegate.vault.optional import library

_SERVICE: Final = "tidegate"
_ENCRYPTING: Final = frozenset(
    {
        "keyring.backends.SecretService",
        "keyring.backends.libsecret",
        "keyring.backends.kwallet",
        "keyring.backends.macOS",
    }
)
_CHAIN: Final = "keyring.backends.chainer"


def read_keyring(name: str) -> bytes:
    """Read a root key's 64 hexadecimal digits.

    Raises:
        RootRefused: there is no keyring that encrypts, it is locked, or it has no such entry.
    """
    found = _asked("get_password", name)
    if found is None:
        raise RootRefused(
            f"The keyring has no entry `{name}` of `{_SERVICE}`. Bring the root key back from "
            "where you keep its copy: without it, nothing that is sealed can be opened."
        )
    return str(found).encode()


def create_keyring_entry(name: str) -> None:
    """Make a new root key in the keyring; one that is there is never overwritten.

    Raises:
        RootRefused: there is one, or no keyring that encrypts.
    """
    if _asked("get_password", name) is not None:
        raise RootRefused(f"The keyring's entry `{name}` is a root key already.")
    key = new_key().reveal().hex()
    _asked("set_password", name, key)


def has_keyring_entry(name: str) -> bool:
    """Whether the keyring has this root key."""
    return _asked("get_password", name) is not None


def _asked(what: str, *words: str) -> Any:
    module = library("keyring", "keyring")
    errors = library("keyring.errors", "keyring")
    backend = module.get_keyring()
    _require_encrypting(backend)
    try:
        return getattr(backend, what)(_SERVICE, *words)
    except errors.KeyringError as error:
        raise RootRefused(
            f"The keyring does not answer ({type(error).__name__}): unlock it and try again."
        ) from None


def _require_encrypting(backend: Any) -> None:
    module = type(backend).__module__
    if module == _CHAIN:
        # It asks one after the other, so each of them must be good.
        for one in backend.backends:
            _require_encrypting(one)
        if not backend.backends:
            raise RootRefused("There is no keyring on this machine; keep the root key in a file.")
        return
    if module not in _ENCRYPTING:
        raise RootRefused(
            f"The keyring `{module}` is not known to encrypt what it keeps. Use the desktop's "
            "Secret Service, KWallet or Keychain, or keep the root key in a file."
        )
