"""Read a file with the key that a provider publishes for values that are encrypted to it."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Final, cast

from tidegate.catalog.documents import read_bounded
from tidegate.catalog.encrypting_form import JweEntry, KeyEntry
from tidegate.domain.protection import RecipientKey

_BYTES_MAX: Final = 64 * 1024
_RSA_BITS_MIN: Final = 2048
_FOR_RSA: Final = "RSA-OAEP-256"
_FOR_CURVES: Final = ("ECDH-ES", "ECDH-ES+A256KW")
_CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_PRIVATE: Final = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


class WrongKeyError(Exception):
    """A file that holds no such key; `hint` says what would do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def read_recipient_key(path: Path, entry: KeyEntry) -> RecipientKey:
    """Return the public key in a file, with the algorithm that is bound to it.

    Raises:
        WrongKeyError: it cannot be read, is no public key, or is not the one that is declared.
    """
    try:
        content = read_bounded(path, _BYTES_MAX)
    except OSError as error:
        reason = error.strerror or str(error)
        raise WrongKeyError(f"the file cannot be read: {reason}") from None
    if b"PRIVATE KEY" in content:
        raise WrongKeyError("the file holds a private key", "keep the public key alone in it")
    is_pem = content.lstrip().startswith(b"-----BEGIN")
    key, said, ends = _from_pem(content) if is_pem else _from_jwk(content)
    jwk = _public_jwk(key)
    thumbprint = _thumbprint(jwk)
    if entry.thumbprint is not None and entry.thumbprint != thumbprint:
        raise WrongKeyError(
            "the file holds another key than the declared one",
            f"its thumbprint is `{thumbprint}`: find out by whom it was replaced, then write it here",
        )
    asked = entry if isinstance(entry, JweEntry) else JweEntry(key=entry.key)
    declared = entry.expires and datetime.combine(entry.expires, time(), UTC)
    return RecipientKey(
        file=entry.key,
        alg=_algorithm(jwk, asked.alg or said.get("alg")),
        kid=asked.kid or said.get("kid"),
        spki=base64.b64encode(_spki(key)).decode(),
        thumbprint=thumbprint,
        expires=min((end for end in (declared, ends) if end is not None), default=None),
        enc=asked.enc,
    )


def _from_pem(content: bytes) -> tuple[Any, dict[str, str], datetime | None]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        if b"BEGIN CERTIFICATE" in content:
            certificate = x509.load_pem_x509_certificate(content)
            return certificate.public_key(), {}, certificate.not_valid_after_utc
        return load_pem_public_key(content), {}, None
    except ValueError:
        raise WrongKeyError("the file holds no public key in PEM") from None


def _from_jwk(content: bytes) -> tuple[Any, dict[str, str], datetime | None]:
    from joserfc import jwk
    from joserfc.errors import JoseError

    wrong = WrongKeyError(
        "the file holds neither PEM nor a JWK", "of a key set, write the one key into a file"
    )
    try:
        read = json.loads(content)
    except ValueError:
        raise wrong from None
    if not isinstance(read, dict):
        raise wrong
    found = cast("dict[str, Any]", read)
    if "kty" not in found:
        raise wrong
    if _PRIVATE & found.keys():
        raise WrongKeyError("the file holds a private key", "keep the public key alone in it")
    if found.get("use", "enc") != "enc":
        raise WrongKeyError("the key is for signatures", "take the one with `use: enc`")
    try:
        key = jwk.import_key(found)
        said = {name: str(found[name]) for name in ("alg", "kid") if name in found}
        return cast("Any", key).public_key, said, None
    except (JoseError, ValueError, TypeError, AttributeError, KeyError):
        raise WrongKeyError("the file's JWK is no public key") from None


def _public_jwk(key: Any) -> dict[str, str]:
    """Say what makes the key out, in the members of RFC 7638 §3.2 and RFC 8037 §2."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519

    match key:
        case rsa.RSAPublicKey():
            if key.key_size < _RSA_BITS_MIN:
                raise WrongKeyError(f"the key has {key.key_size} bits", "RSA needs 2048 or more")
            numbers = key.public_numbers()
            return {"e": _whole(numbers.e), "kty": "RSA", "n": _whole(numbers.n)}
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            size = (key.curve.key_size + 7) // 8
            point = key.public_numbers()
            crv = _CURVES[key.curve.name]
            return {"crv": crv, "kty": "EC", "x": _whole(point.x, size), "y": _whole(point.y, size)}
        case x25519.X25519PublicKey():
            return {"crv": "X25519", "kty": "OKP", "x": _base64url(key.public_bytes_raw())}
        case _:
            raise WrongKeyError(
                "nothing can be encrypted to a key of this kind",
                "RSA, P-256, P-384, P-521 and X25519 do",
            )


def _algorithm(jwk: dict[str, str], named: str | None) -> str:
    fitting = (_FOR_RSA,) if jwk["kty"] == "RSA" else _FOR_CURVES
    if named is not None and named not in fitting:
        raise WrongKeyError(
            f"`{named}` does not go with the key, or is not safe",
            f"it goes with {' or '.join(f'`{one}`' for one in fitting)}",
        )
    return named or fitting[0]


def _spki(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638 §3: of the members in their order, without a space."""
    text = json.dumps(jwk, sort_keys=True, separators=(",", ":"))
    return _base64url(hashlib.sha256(text.encode()).digest())


def _whole(number: int, size: int | None = None) -> str:
    return _base64url(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
