"""Hold the keys that calls are signed with to what their algorithm needs, before they are sealed."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tidegate.credentials.errors import CredentialRefused
from tidegate.domain.secret import Secret
from tidegate.domain.sign import HmacTemplate, HttpSignature, Signer

RSA_BITS_MIN: Final = 2048
_KEY_BYTES_MAX: Final = 64 * 1024


def keys_of(signer: Signer) -> tuple[str, ...]:
    """Name the fields that are keys in an encoding of their own, not text for a header field."""
    if isinstance(signer, HttpSignature):
        return ("key",)
    if isinstance(signer, HmacTemplate) and signer.key and signer.key_encoding != "text":
        return (signer.key,)
    return ()


def require_signing_key(signer: Signer, name: str, key: Secret) -> None:
    """Refuse a key that the engine could not sign with.

    Raises:
        CredentialRefused: it does not decode, or is of another kind or too short.
    """
    value = key.reveal()
    if len(value) > _KEY_BYTES_MAX:
        raise CredentialRefused(f"The field `{name}` is longer than {_KEY_BYTES_MAX} bytes.")
    if isinstance(signer, HmacTemplate):
        _require_encoded(name, value, signer.key_encoding)
    elif isinstance(signer, HttpSignature):
        if signer.algorithm == "hmac-sha256":
            _require_encoded(name, value, "base64")
        else:
            _require_private_key(name, value, signer.algorithm)


def _require_encoded(name: str, value: bytes, encoding: str) -> None:
    try:
        decoded = (
            base64.b64decode(value, validate=True)
            if encoding == "base64"
            else bytes.fromhex(value.decode())
        )
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise CredentialRefused(f"The field `{name}` is no key in {encoding}.")


def _require_private_key(name: str, value: bytes, algorithm: str) -> None:
    # The parsers' own words are left out: they may quote what they read.
    try:
        key = load_pem_private_key(value, password=None)
    except TypeError:
        raise CredentialRefused(
            f"The field `{name}` is protected by a passphrase; the vault seals it, so take that off "
            "first (`openssl pkey`)."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CredentialRefused(
            f"The field `{name}` is no private key in PEM (`-----BEGIN PRIVATE KEY`)."
        ) from None
    fits = {
        "ed25519": isinstance(key, Ed25519PrivateKey),
        "ecdsa-p256-sha256": isinstance(key, EllipticCurvePrivateKey)
        and isinstance(key.curve, SECP256R1),
    }.get(algorithm, isinstance(key, RSAPrivateKey) and key.key_size >= RSA_BITS_MIN)
    if not fits:
        raise CredentialRefused(
            f"The field `{name}` is a key of another kind than `{algorithm}` needs, or too short."
        )
