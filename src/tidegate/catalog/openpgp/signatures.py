"""Signatures in OpenPGP certificates: what one says, and whether a key made it (RFC 9580 §5.2)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from tidegate.catalog.openpgp.keys import KeyPacket, public_key
from tidegate.catalog.openpgp.packets import Reader, subpackets

DIRECT: Final = 0x1F
BINDING: Final = 0x18
CERTIFICATIONS: Final = frozenset({0x10, 0x11, 0x12, 0x13})
REVOCATIONS: Final = frozenset({0x20, 0x28, 0x30})
ENCRYPTS: Final = 0x0C
"""Of key flags: messages, or what is stored (§5.2.3.29)."""

_CREATED, _EXPIRES, _KEY_EXPIRES, _PREFERRED, _FLAGS = 2, 3, 9, 11, 27
_KNOWN: Final = frozenset(
    {
        2,
        3,
        4,
        5,
        7,
        9,
        11,
        12,
        16,
        20,
        21,
        22,
        23,
        24,
        25,
        26,
        27,
        28,
        29,
        30,
        31,
        32,
        33,
        34,
        35,
        39,
    }
)
_HASHES: Final = {8: "sha256", 9: "sha384", 10: "sha512", 12: "sha3_256", 14: "sha3_512"}
"""Without SHA-1 and what is older: what they sign could be another's (§9.5)."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature of version 4 says in what it signs. Times are in Unix seconds, spans in seconds."""

    kind: int
    hash_name: str
    trailer: bytes
    left: bytes
    material: bytes
    created: int
    expires_after: int
    key_expires_after: int
    preferred: tuple[int, ...]
    flags: int | None

    def is_by(self, key: KeyPacket, about: bytes, now: int) -> bool:
        """Whether this key made it about these bytes, and it holds at this moment."""
        if self.created > now or (self.expires_after and self.created + self.expires_after <= now):
            return False
        digest = hashlib.new(self.hash_name, about + self.trailer).digest()
        return digest[:2] == self.left and _verifies(key, self, digest)


def read_signature(body: bytes) -> Signature | None:
    """Read a packet of a signature.

    None for one that says nothing here: of another version, by a hash that is not safe, with a
    critical word that is not known.
    """
    reader = Reader(body)
    if reader.whole(1) != 4:  # noqa: PLR2004 - §5.2.3
        return None
    kind, _, hash_id = reader.whole(1), reader.whole(1), reader.whole(1)
    hashed = reader.take(reader.whole(2))
    signed = body[: reader.at]
    reader.take(reader.whole(2))
    left, material = reader.take(2), reader.rest()
    said: dict[int, bytes] = {}
    for number, is_critical, value in subpackets(hashed):
        if is_critical and number not in _KNOWN:
            return None
        said.setdefault(number, value)
    if hash_id not in _HASHES or _CREATED not in said:
        return None
    number = {
        one: int.from_bytes(said.get(one, b""), "big") for one in (_CREATED, _EXPIRES, _KEY_EXPIRES)
    }
    return Signature(
        kind=kind,
        hash_name=_HASHES[hash_id],
        trailer=signed + b"\x04\xff" + len(signed).to_bytes(4, "big"),
        left=left,
        material=material,
        created=number[_CREATED],
        expires_after=number[_EXPIRES],
        key_expires_after=number[_KEY_EXPIRES],
        preferred=tuple(said.get(_PREFERRED, b"")),
        flags=said[_FLAGS][0] if said.get(_FLAGS) else None,
    )


def kind_of(body: bytes) -> int | None:
    """Of which type a signature is, whatever else it says; None where that cannot be read."""
    reader = Reader(body)
    version = reader.whole(1)
    return reader.whole(1) if version in {4, 6} else None


def _verifies(key: KeyPacket, signature: Signature, digest: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

    names = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512(),
             "sha3_256": hashes.SHA3_256(), "sha3_512": hashes.SHA3_512()}  # fmt: skip
    by = utils.Prehashed(names[signature.hash_name])
    reader = Reader(signature.material)
    try:
        match public_key(key):
            case rsa.RSAPublicKey() as public:
                made = reader.mpi().rjust(public.key_size // 8, b"\0")
                public.verify(made, digest, padding.PKCS1v15(), by)
            case ed25519.Ed25519PublicKey() as public:
                # Two numbers in the older form, all bytes in the newer (§5.2.3.3, §5.2.3.4).
                is_older = key.algorithm == 22  # noqa: PLR2004
                parts = (
                    [reader.mpi().rjust(32, b"\0") for _ in range(2)]
                    if is_older
                    else [reader.rest()]
                )
                public.verify(b"".join(parts), digest)
            case ec.EllipticCurvePublicKey() as public:
                r, s = (int.from_bytes(reader.mpi(), "big") for _ in range(2))
                public.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(by))
            case _:
                return False
    except InvalidSignature:
        return False
    return True
