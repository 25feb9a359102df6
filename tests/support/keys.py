"""Keys that a client signs with, and how its provider knows them."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def rsa_key() -> tuple[str, dict[str, str]]:
    """A private key in PEM, and its public half as a JWK."""
    key = rsa.generate_private_key(65_537, 2_048)
    public = key.public_key().public_numbers()
    return _pem(key), {"kty": "RSA", "n": _number(public.n, 256), "e": _number(public.e, 3)}


def ec_key() -> tuple[str, dict[str, str]]:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_numbers()
    halves = {"x": _number(public.x, 32), "y": _number(public.y, 32)}
    return _pem(key), {"kty": "EC", "crv": "P-256", **halves}


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _number(value: int, length: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(length, "big")).rstrip(b"=").decode()
