"""Public keys in OpenPGP packets: what names them, and what they verify or encrypt (RFC 9580 §5.5)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tidegate.catalog.openpgp.packets import MALFORMED, Reader, WrongCertificateError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519

    PublicKey = (
        rsa.RSAPublicKey
        | ec.EllipticCurvePublicKey
        | ed25519.Ed25519PublicKey
        | x25519.X25519PublicKey
    )

RSA: Final = frozenset({1, 2, 3})
ECDH: Final = 18
ECDSA: Final = 19
EDDSA: Final = 22
ED25519: Final = 27

_P256: Final = bytes.fromhex("2a8648ce3d030107")
_P384: Final = bytes.fromhex("2b81040022")
_P521: Final = bytes.fromhex("2b81040023")
CURVE25519: Final = bytes.fromhex("2b060104019755010501")
_ED25519: Final = bytes.fromhex("2b06010401da470f01")


@dataclass(frozen=True, slots=True)
class KeyPacket:
    """A public key or subkey of version 4. `created` is in Unix seconds."""

    body: bytes
    created: int
    algorithm: int
    material: bytes

    @property
    def hashed(self) -> bytes:
        """As signatures and fingerprints read it (§5.2.4)."""
        return b"\x99" + len(self.body).to_bytes(2, "big") + self.body

    @property
    def fingerprint(self) -> bytes:
        """SHA-1 of it, which is what version 4 has (§5.5.4.2)."""
        return hashlib.sha1(self.hashed, usedforsecurity=False).digest()


def read_key(body: bytes) -> KeyPacket:
    """Read a packet of a key.

    Raises:
        WrongCertificateError: it is of another version than 4, or too short.
    """
    reader = Reader(body)
    version = reader.whole(1)
    if version != 4:  # noqa: PLR2004 - §5.5.2.2
        raise WrongCertificateError(
            f"the key is of version {version}", "keys of version 4 are read: those of GnuPG"
        )
    return KeyPacket(body, reader.whole(4), reader.whole(1), reader.rest())


def curve_of(key: KeyPacket) -> tuple[bytes, Reader]:
    """The object identifier of a key's curve, and what follows it (§9.2)."""
    reader = Reader(key.material)
    return reader.take(reader.whole(1)), reader


def public_key(key: KeyPacket) -> PublicKey | None:
    """The key as it verifies or agrees; None for algorithms and curves that are not known here."""
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    try:
        if key.algorithm in RSA:
            reader = Reader(key.material)
            n, e = (int.from_bytes(reader.mpi(), "big") for _ in range(2))
            return rsa.RSAPublicNumbers(e, n).public_key()
        if key.algorithm == ED25519:
            return ed25519.Ed25519PublicKey.from_public_bytes(key.material)
        return _on_a_curve(key) if key.algorithm in {ECDH, ECDSA, EDDSA} else None
    except ValueError:
        raise WrongCertificateError(MALFORMED, "a key in it is none") from None


def _on_a_curve(key: KeyPacket) -> PublicKey | None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519

    oid, reader = curve_of(key)
    point = reader.mpi()
    curves = {_P256: ec.SECP256R1(), _P384: ec.SECP384R1(), _P521: ec.SECP521R1()}
    if (key.algorithm, oid) == (EDDSA, _ED25519):
        return ed25519.Ed25519PublicKey.from_public_bytes(_native(point))
    if (key.algorithm, oid) == (ECDH, CURVE25519):
        return x25519.X25519PublicKey.from_public_bytes(_native(point))
    if key.algorithm == EDDSA or oid not in curves:
        return None
    return ec.EllipticCurvePublicKey.from_encoded_point(curves[oid], point)


def _native(point: bytes) -> bytes:
    """Without the mark of points that are bytes as they are (§11.2.2)."""
    if point[:1] != b"\x40":
        raise WrongCertificateError(MALFORMED)
    return point[1:]
