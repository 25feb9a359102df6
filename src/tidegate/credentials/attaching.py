"""Put a credential on a call of Tidegate's own, as the engine does on a consumer's."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from tidegate.domain.attach import AttachBasic, AttachCookie, AttachHeader, AttachPart, AttachQuery
from tidegate.domain.secret import Secret


def attached(
    parts: Sequence[AttachPart], fields: Mapping[str, Secret]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the headers and the query's parts that carry the credential. Both are secret."""
    headers: list[tuple[str, str]] = []
    cookies: list[str] = []
    query: list[str] = []
    for part in parts:
        match part:
            case AttachHeader():
                headers.append((part.name, part.prefix + _text(fields, part.field)))
            case AttachBasic():
                halves = (
                    part.username
                    if part.username_field is None
                    else _text(fields, part.username_field),
                    part.password
                    if part.password_field is None
                    else _text(fields, part.password_field),
                )
                joined = base64.b64encode(":".join(halves).encode()).decode()
                headers.append(("Authorization", f"Basic {joined}"))
            case AttachQuery():
                query.append(
                    f"{quote(part.name, safe='')}={quote(_text(fields, part.field), safe='')}"
                )
            case AttachCookie():
                cookies.append(f"{part.name}={_text(fields, part.field)}")
    if cookies:
        headers.append(("Cookie", "; ".join(cookies)))
    return headers, query


def _text(fields: Mapping[str, Secret], name: str) -> str:
    return fields[name].reveal().decode()
