"""Judge the credential on a call as a provider does: all of its parts right, or a 401.

The parts are the very ones by which the gateway attaches (`tidegate.domain.attach`), so that a
sandbox asks for what the real provider asks for.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping

from starlette.requests import Request

from tidegate.domain.attach import (
    AttachBasic,
    AttachCookie,
    AttachHeader,
    AttachPart,
    AttachQuery,
    fields_of,
)
from tidegate.domain.secret import Secret
from tidegate.sandbox.received import Verdict

Fields = Mapping[str, Secret]


def invented_fields(parts: tuple[AttachPart, ...]) -> dict[str, Secret]:
    """Make up a credential that fits these parts."""
    return {name: Secret(f"sandbox_{secrets.token_hex(16)}") for name in fields_of(parts)}


def judge(
    request: Request, parts: tuple[AttachPart, ...], accounts: Mapping[str, Fields]
) -> tuple[Verdict, str | None]:
    """Say whether the call carries a right credential, and whose it is."""
    if not parts:
        return "not asked for", None
    shown = [_shown(request, part) for part in parts]
    if not any(shown):
        return "absent", None
    for account, fields in accounts.items():
        if all(
            _right(values, _expected(part, fields))
            for values, part in zip(shown, parts, strict=True)
        ):
            return "right", account
    return "wrong", None


def challenge(parts: tuple[AttachPart, ...]) -> str:
    """Word the `WWW-Authenticate` of a 401 for these parts."""
    if any(isinstance(part, AttachBasic) for part in parts):
        return 'Basic realm="sandbox"'
    return 'Bearer realm="sandbox"'


def _shown(request: Request, part: AttachPart) -> list[bytes]:
    """Every value that stands where the part's belongs; more than one is never right."""
    match part:
        case AttachHeader():
            return [v.encode("latin-1") for v in request.headers.getlist(part.name)]
        case AttachBasic():
            return [_decoded(v) for v in request.headers.getlist("authorization")]
        case AttachQuery():
            return [v.encode() for v in request.query_params.getlist(part.name)]
        case AttachCookie():
            value = request.cookies.get(part.name)
            return [] if value is None else [value.encode("latin-1")]


def _expected(part: AttachPart, fields: Fields) -> Secret:
    match part:
        case AttachHeader():
            return Secret(part.prefix.encode() + fields[part.field].reveal())
        case AttachBasic():
            username = _half(part.username_field, part.username, fields)
            return Secret(username + b":" + _half(part.password_field, part.password, fields))
        case AttachQuery() | AttachCookie():
            return fields[part.field]


def _half(field: str | None, fixed: str, fields: Fields) -> bytes:
    return fixed.encode() if field is None else fields[field].reveal()


def _right(shown: list[bytes], expected: Secret) -> bool:
    return len(shown) == 1 and Secret(shown[0]).matches(expected)


def _decoded(authorization: str) -> bytes:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return authorization.encode("latin-1")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return b""
