"""Prove with each request that one holds the key which the tokens are bound to (RFC 9449).

The key is made here, for one connection, and sealed with its credential: nobody enters it, and it is
told to nobody. A call's proofs are the engine's; these are for what Tidegate asks by itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from tidegate.credentials.jwt import encoded, sign
from tidegate.domain.oauth import ProofAlgorithm
from tidegate.domain.secret import Secret

NONCE_BYTES_MAX: Final = 1_024

_NONCE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # §8.1: NQCHAR
_P256_BYTES: Final = 32


def new_key(algorithm: ProofAlgorithm) -> Secret:
    """Make a key, in PEM."""
    if algorithm == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def thumbprint(key: Secret) -> str:
    """Name a key by its public half (RFC 7638), as `dpop_jkt` does (§10)."""
    canonical = json.dumps(public_jwk(key), sort_keys=True, separators=(",", ":"))
    return encoded(hashlib.sha256(canonical.encode()).digest())


def public_jwk(key: Secret) -> dict[str, str]:
    """Show the public half of a key (RFC 7517, RFC 8037)."""
    public = load_pem_private_key(key.reveal(), password=None).public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"crv": "Ed25519", "kty": "OKP", "x": encoded(raw)}
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise TypeError("a key of `new_key` is on a curve")
    point = public.public_numbers()
    x, y = (encoded(number.to_bytes(_P256_BYTES, "big")) for number in (point.x, point.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


@dataclass(frozen=True, slots=True)
class Prover:
    """Makes the proofs of one request: a first, and one more where a nonce is wanted.

    `at` is the moment in Unix seconds. With `access_token` the proof is for a call with that token.
    """

    algorithm: ProofAlgorithm
    key: Secret
    method: str
    url: str
    at: int
    access_token: Secret | None = None

    def header(self, nonce: str | None = None) -> tuple[str, str]:
        """Make a proof (§4.2), as the header field that it goes in."""
        claims: dict[str, object] = {
            "jti": secrets.token_urlsafe(16),
            "htm": self.method,
            "htu": re.split(r"[?#]", self.url)[0],
            "iat": self.at,
        }
        if self.access_token is not None:
            claims["ath"] = encoded(hashlib.sha256(self.access_token.reveal()).digest())
        if nonce is not None:
            claims["nonce"] = nonce
        head = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": public_jwk(self.key)}
        return "dpop", sign(self.algorithm, self.key, head, claims)


def nonce_of(headers: Sequence[tuple[str, str]]) -> str | None:
    """Read the one nonce that an answer gives; None where it gives none that is one (§8.1)."""
    given = [value for name, value in headers if name.lower() == "dpop-nonce"]
    if len(given) != 1 or len(given[0]) > NONCE_BYTES_MAX or not _NONCE.fullmatch(given[0]):
        return None
    return given[0]
