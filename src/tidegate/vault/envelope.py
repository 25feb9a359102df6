"""Seal and open one value with one key: AES-256-GCM bound to where the value belongs.

What it is bound to (the associated data) is a list of parts, each with its length before it, so
that no two lists read the same.
"""

from __future__ import annotations

import os
import struct
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tidegate.domain.secret import Secret
from tidegate.vault.errors import VaultRefused

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_FORMAT: Final = b"\x01"
_MAGIC: Final = b"tidegate vault"
_LENGTH: Final = struct.Struct(">I")


class Wrap(Protocol):
    """Seals and opens: a key of our own, or one that a key service keeps to itself."""

    def seal(self, value: Secret, *bound_to: str | int | bytes) -> bytes:
        """Encrypt a value for this one place."""
        ...

    def open(self, sealed: bytes, *bound_to: str | int | bytes) -> Secret:
        """Decrypt what `seal` made for the same place, or raise VaultRefused."""
        ...


class Envelope:
    """A key, ready to seal and open."""

    __slots__ = ("__cipher",)

    def __init__(self, key: Secret) -> None:
        self.__cipher = AESGCM(key.reveal())

    def seal(self, value: Secret, *bound_to: str | int | bytes) -> bytes:
        """Encrypt a value for this one place."""
        nonce = os.urandom(_NONCE_BYTES)
        bound = frame(_MAGIC, *bound_to)
        return _FORMAT + nonce + self.__cipher.encrypt(nonce, value.reveal(), bound)

    def open(self, sealed: bytes, *bound_to: str | int | bytes) -> Secret:
        """Decrypt what `seal` made for the same place.

        Raises:
            VaultRefused: on any difference; which one cannot be told, and is not.
        """
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if sealed[:1] != _FORMAT or len(nonce) != _NONCE_BYTES:
            raise VaultRefused("A sealed value does not open.")
        try:
            return Secret(self.__cipher.decrypt(nonce, ciphertext, frame(_MAGIC, *bound_to)))
        except InvalidTag:
            raise VaultRefused("A sealed value does not open.") from None


def frame(*parts: str | int | bytes) -> bytes:
    """Join parts so that each can be told from the next."""
    encoded = [_encode(part) for part in parts]
    return b"".join(_LENGTH.pack(len(part)) + part for part in encoded)


def unframe(framed: bytes) -> list[bytes]:
    """Take apart what `frame` joined; it has been authenticated, so it is well formed."""
    parts: list[bytes] = []
    at = 0
    while at < len(framed):
        (length,) = _LENGTH.unpack_from(framed, at)
        at += _LENGTH.size
        parts.append(framed[at : at + length])
        at += length
    return parts


def derive(key: Secret, *purpose: str | int | bytes) -> Secret:
    """Derive a key for one purpose: HKDF-SHA-256 (RFC 5869), of a key that is random already."""
    hkdf = HKDF(SHA256(), KEY_BYTES, salt=None, info=frame(_MAGIC, *purpose))
    return Secret(hkdf.derive(key.reveal()))


def new_key() -> Secret:
    """Make a random key."""
    return Secret(os.urandom(KEY_BYTES))


def _encode(part: str | int | bytes) -> bytes:
    if isinstance(part, bytes):
        return part
    return part.encode() if isinstance(part, str) else part.to_bytes(8, "big")
