"""Make what a rule encrypts of what is declared, and to which key."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time
from pathlib import Path as FilePath

from tidegate.catalog.documents import read_bounded
from tidegate.catalog.encrypting_form import EncryptEntry, PgpEntry, ShapeEntry
from tidegate.catalog.encryption_shapes import encryption_shapes
from tidegate.catalog.openpgp import WrongCertificateError, read_certificate
from tidegate.catalog.recipient_keys import WrongKeyError, read_recipient_key
from tidegate.catalog.selectors import Selector
from tidegate.catalog.yaml_source import Path
from tidegate.domain.protection import Cbc, Encrypt, EncryptFile, Piece, RecipientKey, Seal

_Wrong = Callable[[Path, str, str], None]
_RSA = "RSA-OAEP-256"
_CERTIFICATE_BYTES_MAX = 256 * 1024
_OAEP_WORDS = {"SHA-256": "SHA256", "SHA-512": "SHA512"}
"""The hashes as providers name them."""


def encrypted(
    entry: EncryptEntry, path: Path, folder: FilePath, wrong: _Wrong
) -> Encrypt | Seal | EncryptFile | None:
    """Make the action; None where it cannot be made, which `wrong` is told."""
    if entry.pgp is not None:
        return _file_encrypted(entry.pgp, (*path, "pgp"), folder, wrong)
    form = "jwe" if entry.jwe is not None else "rsa_cbc"
    asked = entry.jwe or entry.rsa_cbc
    if asked is None:
        return None
    try:
        key = read_recipient_key(folder / asked.key, asked)
    except WrongKeyError as error:
        wrong((*path, form, "key"), str(error), error.hint)
        return None
    if entry.shape is None:
        return Encrypt(key)
    if entry.rsa_cbc is not None and key.alg != _RSA:
        wrong((*path, form, "key"), "the key is no RSA key", "others go with `jwe`")
        return None
    shape = encryption_shapes()[entry.shape] if isinstance(entry.shape, str) else entry.shape
    return _sealed(entry, shape, key, path, wrong)


def _file_encrypted(
    entry: PgpEntry, path: Path, folder: FilePath, wrong: _Wrong
) -> EncryptFile | None:
    try:
        content = read_bounded(folder / entry.key, _CERTIFICATE_BYTES_MAX)
        key = read_certificate(content, entry.fingerprint, int(datetime.now(UTC).timestamp()))
    except OSError as error:
        wrong((*path, "key"), f"the file cannot be read: {error.strerror or error}", "")
        return None
    except WrongCertificateError as error:
        wrong((*path, "key"), str(error), error.hint)
        return None
    declared = entry.expires and datetime.combine(entry.expires, time(), UTC)
    ends = min((end for end in (declared, key.expires) if end is not None), default=None)
    return EncryptFile(replace(key, file=entry.key, expires=ends))


def check_sealed(entry: EncryptEntry, selector: Selector, path: Path, wrong: _Wrong) -> None:
    """Say what is wrong with where something is encrypted as one."""
    if entry.pgp is not None and (selector.kind not in {"part", "file"} or selector.within):
        wrong((*path, "pgp"), "`pgp` encrypts files", "select one by `part NAME` or `file *`")
    if entry.shape is None:
        return
    if selector.kind != "body":
        message = "what is encrypted as one stands in a JSON body"
        wrong(
            (*path, "as"), message, "select it by `body $.…`, or encrypt each value: leave `as` out"
        )
    last = selector.steps[-1] if selector.steps else None
    if entry.into is not None and (last is None or last.name is None or last.index is not None):
        message = "only a member of an object can have another name"
        wrong((*path, "into"), message, "select one by its name, or leave `into` out")


def _sealed(
    entry: EncryptEntry, shape: ShapeEntry, key: RecipientKey, path: Path, wrong: _Wrong
) -> Seal | None:
    if shape.is_of_jwe != (entry.jwe is not None):
        has = "a JWE" if shape.is_of_jwe else "parts of `rsa_cbc`"
        wrong((*path, "as"), f"the shape holds {has}", "take another shape, or the other form")
        return None
    fingerprint = hashlib.sha256(base64.b64decode(key.spki)).hexdigest()
    kid = key.kid or (fingerprint if shape.kid else None)
    if kid is None and "kid" in {*shape.members.values(), *shape.request.values()}:
        wrong(
            (*path, "jwe", "kid"),
            "the shape says by what name the provider knows the key",
            "declare `kid`",
        )
        return None
    texts = {"key_fingerprint": fingerprint, "kid": kid or ""}
    cbc = None
    if entry.rsa_cbc is not None:
        cbc = Cbc(entry.rsa_cbc.oaep, shape.encoding or "hex")
        texts["oaep"] = _OAEP_WORDS[cbc.oaep]
    return Seal(
        key=key,
        members=tuple((name, _piece(piece, texts)) for name, piece in shape.members.items()),
        kid=kid,
        cbc=cbc,
        header=tuple(shape.header.items()),
        iat=shape.iat,
        request=tuple((name, texts[said]) for name, said in shape.request.items()),
        into=entry.into,
        may_be_absent=entry.absent == "allow",
    )


def _piece(said: str, texts: dict[str, str]) -> Piece:
    return Piece("text", texts[said]) if said in texts else Piece(said)
