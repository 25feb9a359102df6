"""Sign the JWTs by which a client shows who it is (RFC 7515 §7.1, RFC 7523), and read ID tokens."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from typing import Final, cast

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tidegate.credentials.errors import CredentialRefused
from tidegate.domain.oauth import PRIVATE_KEY, Algorithm, ProofAlgorithm, TokenGrant
from tidegate.domain.secret import Secret

ASSERTION_S: Final = 120
"""How long an assertion is good; it is made for one request."""

_RSA_BITS_MIN: Final = 2048
_ES256_BYTES: Final = 32
_PARTS: Final = 3
_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def client_assertion(
    grant: TokenGrant, url: str, subject: str, fields: Mapping[str, Secret], now: int
) -> str:
    """Make the assertion of a client about `subject`, for the endpoint at `url`."""
    claims = dict(grant.assertion.claims) | {
        "iss": fields["client_id"].reveal().decode(),
        "sub": subject,
        "aud": grant.assertion.audience or grant.issuer or url,
        "iat": now,
        "exp": now + ASSERTION_S,
        "jti": secrets.token_urlsafe(16),
    }
    header = {"alg": grant.assertion.algorithm, "typ": "JWT"}
    if "key_id" in fields:
        header["kid"] = fields["key_id"].reveal().decode()
    return sign(grant.assertion.algorithm, fields[PRIVATE_KEY], header, claims)


def sign(
    algorithm: Algorithm | ProofAlgorithm,
    key: Secret,
    header: Mapping[str, object],
    claims: Mapping[str, object],
) -> str:
    """Sign claims as a compact JWS."""
    content = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{content}.{encoded(_signature(algorithm, _key(algorithm, key), content.encode()))}"


def require_key(algorithm: Algorithm, key: Secret) -> None:
    """Refuse a private key that cannot sign so.

    Raises:
        CredentialRefused: what is wrong with it, without a part of it.
    """
    _key(algorithm, key)


def unverified_claims(token: str) -> dict[str, object] | None:
    """Read the claims of a JWT whose sender is known already by the TLS it came over; None: no JWT."""
    parts = token.split(".")
    if len(parts) != _PARTS:
        return None
    try:
        found: object = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError, binascii.Error):
        return None
    return cast("dict[str, object]", found) if isinstance(found, dict) else None


def _key(algorithm: Algorithm | ProofAlgorithm, pem: Secret) -> _Key:
    # The parser's own words are left out: they may quote what it read.
    try:
        key = load_pem_private_key(pem.reveal(), password=None)
    except TypeError:
        raise CredentialRefused(
            f"The field `{PRIVATE_KEY}` is protected by a passphrase; the vault seals it, so take "
            "that off first (`openssl pkey`)."
        ) from None
    except ValueError:
        raise CredentialRefused(
            f"The field `{PRIVATE_KEY}` is no private key in PEM (`-----BEGIN PRIVATE KEY`)."
        ) from None
    if algorithm == "EdDSA" and isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if algorithm == "ES256":
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            return key
        raise CredentialRefused(
            f"The field `{PRIVATE_KEY}` is no P-256 key, which ES256 signs with."
        )
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _RSA_BITS_MIN:
        return key
    raise CredentialRefused(
        f"The field `{PRIVATE_KEY}` is no RSA key of {_RSA_BITS_MIN} bits or more, which "
        f"{algorithm} signs with."
    )


def _signature(algorithm: Algorithm | ProofAlgorithm, key: _Key, content: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(content)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        # RFC 7518 §3.4: both numbers, each as long as the field.
        numbers = decode_dss_signature(key.sign(content, ec.ECDSA(SHA256())))
        return b"".join(number.to_bytes(_ES256_BYTES, "big") for number in numbers)
    if algorithm == "PS256":
        form = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
        return key.sign(content, form, SHA256())
    return key.sign(content, padding.PKCS1v15(), SHA256())


def encoded(value: bytes) -> str:
    """Write bytes as JWTs do (RFC 7515 §2: base64url without padding)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
