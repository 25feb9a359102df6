"""What becomes of a field, as the engine reads it."""

from __future__ import annotations

import base64
from typing import Any

from tidegate.domain.protection import (
    Action,
    Encrypt,
    EncryptFile,
    Generalise,
    Hash,
    Mask,
    PgpKey,
    RecipientKey,
    Seal,
    Tokenise,
)

_Json = dict[str, Any]


def action_json(action: Action, at: str) -> str | _Json:  # noqa: PLR0911 - one for each action
    """Say what becomes of a field, as the engine reads it."""
    match action:
        case Mask():
            return {"mask": {"keep": action.keep}}
        case Generalise(to="geo"):
            return {"generalise": {"geo": action.decimals}}
        case Generalise():
            return {"generalise": action.to}
        case Hash():
            return {"hash": _hash(action, at)}
        case Tokenise(how="ff1"):
            return {"tokenise": {"how": "ff1", "field": action.field, "root": action.root}}
        case Tokenise():
            # Left out where it is not so: engines that know of no such keys read the rest.
            person = {"subject_key": True} if action.subject_key else {}
            return {"tokenise": {"how": action.how, "field": action.field} | person}
        case Encrypt(key=key):
            return {"encrypt": _recipient(key)}
        case Seal():
            return {"seal": _seal(action)}
        case EncryptFile(key=key):
            return {"pgp": _pgp(key)}
        case _:
            return action.kind


def _recipient(key: RecipientKey) -> _Json:
    # An engine of before knows no other content algorithm, and no word for it.
    enc = {} if key.enc == "A256GCM" else {"enc": key.enc}
    return {"alg": key.alg, "kid": key.kid, "spki": key.spki, "until": _until(key), **enc}


def _seal(action: Seal) -> _Json:
    members = [
        (name, {"text": piece.text} if piece.kind == "text" else piece.kind)
        for name, piece in action.members
    ]
    return {
        "by": _by(action),
        "members": members,
        **({"into": action.into} if action.into is not None else {}),
        **({"may_be_absent": True} if action.may_be_absent else {}),
        **({"headers": action.request} if action.request else {}),
    }


def _by(action: Seal) -> _Json:
    key, cbc = action.key, action.cbc
    if cbc is not None:
        form = {"spki": key.spki, "oaep": cbc.oaep, "encoding": cbc.encoding, "until": _until(key)}
        return {"cbc": form}
    header = {"header": dict(action.header)} if action.header else {}
    iat = {"iat": action.iat} if action.iat else {}
    return {"jwe": {**_recipient(key), "kid": action.kid, **header, **iat}}


def _pgp(key: PgpKey) -> _Json:
    subkey: _Json = {"fingerprint": key.subkey, "spki": base64.b64encode(key.spki).decode()}
    if key.kdf is not None:
        curve, hash_number, cipher = key.kdf
        subkey["kdf"] = {"curve": curve.hex(), "hash": hash_number, "cipher": cipher}
    return {"subkey": subkey, "cipher": key.cipher, "until": _until(key)}


def _until(key: RecipientKey | PgpKey) -> int | None:
    return None if key.expires is None else int(key.expires.timestamp())


def _hash(action: Hash, at: str) -> _Json:
    """A step about telephone numbers says what those are that say no country."""
    phone: str | _Json = "refused"
    if action.calling_code is not None:
        phone = {"of": action.calling_code}
    elif action.international:
        phone = "international"
    return {
        "steps": [{"phone": phone} if step == "phone" else step for step in action.steps],
        **({"already_hashed": True} if action.already_hashed else {}),
        **({} if action.keyed is None else {"keyed": action.keyed, "field": action.field or at}),
    }
