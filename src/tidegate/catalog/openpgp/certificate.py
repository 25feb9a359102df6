"""Judge an OpenPGP certificate: whether files can be encrypted to it, by which of its keys, and how long.

It is known by its fingerprint, which the declaration pins. What it says of itself counts only where its
primary key signed it; a revocation counts whoever made it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from tidegate.catalog.openpgp.keys import (
    ECDH,
    RSA,
    KeyPacket,
    curve_of,
    public_key,
    read_key,
)
from tidegate.catalog.openpgp.packets import (
    MALFORMED,
    WrongCertificateError,
    packets,
    unarmored,
)
from tidegate.catalog.openpgp.signatures import (
    BINDING,
    CERTIFICATIONS,
    DIRECT,
    ENCRYPTS,
    REVOCATIONS,
    Signature,
    kind_of,
    read_signature,
)
from tidegate.domain.protection import PgpKey

_SIGNATURE, _PRIMARY, _SUBKEY, _USER_ID, _ATTRIBUTE = 2, 6, 14, 13, 17
_SECRET: Final = frozenset({5, 7})
_IGNORED: Final = frozenset({10, 12, 21})
_AES256: Final = 9
_RSA_BITS_MIN: Final = 2048
_KDF_HASHES: Final = frozenset({8, 9, 10})
_KDF_CIPHERS: Final = frozenset({7, 8, 9})

__all__ = ["WrongCertificateError", "read_certificate"]


@dataclass(slots=True)
class _Part:
    """A key, a user's name or an attribute, with the signatures that stand after it."""

    kind: int
    body: bytes
    signatures: list[bytes] = field(default_factory=list[bytes])


def read_certificate(content: bytes, fingerprint: str | None, now: int) -> PgpKey:
    """Return the key of a certificate that files are encrypted to; `now` is in Unix seconds.

    Raises:
        WrongCertificateError: it cannot be read, is another one, or is one that nobody should encrypt to.
    """
    primary, parts = _parts(unarmored(content))
    own = primary.fingerprint.hex().upper()
    if fingerprint is not None and fingerprint != own:
        raise WrongCertificateError(
            "the file holds another key than the declared one",
            f"its fingerprint is `{own}`: find out by whom it was replaced, then write it here",
        )
    said = _self_signature(primary, parts, now)
    ends = _end(primary, said)
    if ends is not None and ends <= now:
        raise WrongCertificateError(
            "the key has expired", "ask the provider for a newer export of it"
        )
    subkey, binding = _encrypting(primary, parts, now)
    both = [end for end in (ends, _end(subkey, binding)) if end is not None]
    return PgpKey(
        fingerprint=own,
        subkey=subkey.fingerprint.hex().upper(),
        spki=_spki(subkey),
        cipher="AES-256" if _AES256 in said.preferred else "AES-128",
        kdf=_kdf(subkey),
        expires=datetime.fromtimestamp(min(both), UTC) if both else None,
    )


def _parts(data: bytes) -> tuple[KeyPacket, list[_Part]]:
    parts: list[_Part] = []
    for kind, body in packets(data):
        if kind in _SECRET:
            raise WrongCertificateError(
                "the file holds a private key", "keep the public key alone in it"
            )
        if kind in _IGNORED:
            continue
        if kind == _SIGNATURE and parts:
            parts[-1].signatures.append(body)
        elif kind == _PRIMARY and parts:
            raise WrongCertificateError("the file holds several keys", "export the one alone")
        elif kind == _PRIMARY or (parts and kind in {_SUBKEY, _USER_ID, _ATTRIBUTE}):
            parts.append(_Part(kind, body))
        else:
            raise WrongCertificateError(MALFORMED, "it does not begin with a public key")
    if not parts:
        raise WrongCertificateError(MALFORMED, "it is empty")
    return read_key(parts[0].body), parts


def _self_signature(primary: KeyPacket, parts: list[_Part], now: int) -> Signature:
    """What the primary key says of itself: directly, or with the newest of its names (§5.2.3.10)."""
    _refuse_revoked(parts[0], "the key is revoked")
    direct = _valid(parts[0], frozenset({DIRECT}), primary, primary.hashed, now)
    named = [
        signature
        for part in parts
        if part.kind == _USER_ID and not _is_revoked(part)
        for signature in _valid(part, CERTIFICATIONS, primary, primary.hashed + _hashed(part), now)
    ]
    found = max(direct or named, key=lambda one: one.created, default=None)
    if found is None:
        hint = "it is not signed by itself, or by a hash that is not safe: ask for a newer export"
        raise WrongCertificateError("nothing that the key says of itself can be verified", hint)
    return found


def _encrypting(primary: KeyPacket, parts: list[_Part], now: int) -> tuple[KeyPacket, Signature]:
    """The newest subkey that is for encryption, with what binds it."""
    hint = "ask the provider for a newer export, with a subkey for encryption"
    usable: list[tuple[KeyPacket, Signature]] = []
    why = "the key has no subkey for encryption"
    for part in parts:
        if part.kind != _SUBKEY:
            continue
        subkey = read_key(part.body)
        bindings = _valid(part, frozenset({BINDING}), primary, primary.hashed + subkey.hashed, now)
        binding = max(bindings, key=lambda one: one.created, default=None)
        if binding is None or not (binding.flags or 0) & ENCRYPTS:
            continue
        ends = _end(subkey, binding)
        if _is_revoked(part):
            why = "the key's subkey for encryption is revoked"
        elif ends is not None and ends <= now:
            why = "the key's subkey for encryption has expired"
        elif (unfit := _unfit(subkey)) is not None:
            why = unfit
        else:
            usable.append((subkey, binding))
    if not usable:
        raise WrongCertificateError(why, hint)
    return max(usable, key=lambda one: one[0].created)


def _unfit(subkey: KeyPacket) -> str | None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = public_key(subkey)
    is_known = subkey.algorithm in RSA or subkey.algorithm == ECDH
    if key is None or not is_known:
        return (
            "nothing can be encrypted to a key of this kind: RSA, Curve25519 and NIST's curves do"
        )
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS_MIN:
        return f"the key's subkey for encryption has {key.key_size} bits: RSA needs 2048 or more"
    kdf = _kdf(subkey)
    if subkey.algorithm == ECDH and kdf is None:
        return "the key's subkey for encryption derives keys in a way that is not known"
    return None


def _valid(
    part: _Part, kinds: frozenset[int], by: KeyPacket, about: bytes, now: int
) -> list[Signature]:
    read = (read_signature(body) for body in part.signatures if kind_of(body) in kinds)
    return [one for one in read if one is not None and one.is_by(by, about, now)]


def _is_revoked(part: _Part) -> bool:
    return any(kind_of(body) in REVOCATIONS for body in part.signatures)


def _refuse_revoked(part: _Part, why: str) -> None:
    if _is_revoked(part):
        raise WrongCertificateError(why, "ask the provider for the one that came after it")


def _hashed(part: _Part) -> bytes:
    return b"\xb4" + len(part.body).to_bytes(4, "big") + part.body


def _end(key: KeyPacket, said: Signature) -> int | None:
    return key.created + said.key_expires_after if said.key_expires_after else None


def _spki(subkey: KeyPacket) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = public_key(subkey)
    if key is None:
        raise WrongCertificateError(MALFORMED)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _kdf(subkey: KeyPacket) -> tuple[bytes, int, int] | None:
    """Of a key that is agreed with: its curve, and how keys are derived (§11.5); None where that is not known."""
    if subkey.algorithm != ECDH:
        return None
    oid, reader = curve_of(subkey)
    reader.mpi()
    parameters = reader.take(reader.whole(1))
    is_known = len(parameters) == 3 and parameters[0] == 1  # noqa: PLR2004
    if not is_known or parameters[1] not in _KDF_HASHES or parameters[2] not in _KDF_CIPHERS:
        return None
    return oid, parameters[1], parameters[2]
