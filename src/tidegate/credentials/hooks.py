"""Fill a provider's hooks, and read what it answers. Pure: who sends it is somebody else's.

An answer may hold a new key, so nothing of it reaches an error: what cannot be read is called
unreadable, and by which pointer it was looked for.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

from tidegate.domain.rotation import CreateHook, Hook, Identify, LastUsedHook, ListHook
from tidegate.domain.secret import Secret

_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")
_ID: Final = re.compile(r"[!-~]{1,512}")
_NUMBER: Final = re.compile(r"[0-9]{9,13}(\.[0-9]+)?")
_MILLISECONDS_FROM: Final = 10**11

Values = Mapping[str, str | tuple[str, ...]]


class UnreadableError(Exception):
    """The provider answered what the hook does not foresee. The message holds no part of it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the provider lists it: never the key itself."""

    id: str
    name: str = ""
    suffix: str = ""
    last_used: datetime | None = None
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class FilledHook:
    """A request without the credential that it is made with."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def fill(hook: Hook, values: Values, cursor: tuple[str, str] | None = None) -> FilledHook:
    """Put the values in their places: each encoded for where it stands."""
    path = _PLACEHOLDER.sub(lambda found: quote(_one(values, found[1]), safe=""), hook.path)
    query = [(name, _filled(text, values)) for name, text in hook.query]
    query += [cursor] if cursor else []
    headers = [("Accept", "application/json"), *hook.headers]
    body = b""
    if hook.body is not None:
        document = _fill_document(json.loads(hook.body), values)
        if hook.encoding == "form":
            headers.append(("Content-Type", "application/x-www-form-urlencoded"))
            body = urlencode(document, doseq=True).encode()
        else:
            headers.append(("Content-Type", "application/json"))
            body = json.dumps(document, ensure_ascii=False).encode()
    return FilledHook(hook.method, path, urlencode(query), tuple(headers), body)


def _one(values: Values, name: str) -> str:
    value = values[name]
    return ",".join(value) if isinstance(value, tuple) else value


def _filled(text: str, values: Values) -> str:
    return _PLACEHOLDER.sub(lambda found: _one(values, found[1]), text)


def _fill_document(part: Any, values: Values) -> Any:
    if isinstance(part, dict):
        entries = cast("dict[str, Any]", part)
        return {name: _fill_document(inner, values) for name, inner in entries.items()}
    if isinstance(part, list):
        return [_fill_document(inner, values) for inner in cast("list[Any]", part)]
    if not isinstance(part, str):
        return part
    whole = _PLACEHOLDER.fullmatch(part)
    if whole and isinstance(value := values[whole[1]], tuple):
        return list(value)
    return _filled(part, values)


def document_of(body: bytes) -> Any:
    """Read a JSON answer.

    Raises:
        UnreadableError: it is none.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableError("the answer is no JSON") from None


def at(document: Any, pointer: str) -> Any:
    """Follow a JSON Pointer (RFC 6901); None where it leads nowhere."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = cast("dict[str, Any]", document).get(name)
        elif isinstance(document, list) and name.isdecimal():
            items = cast("list[Any]", document)
            document = items[int(name)] if int(name) < len(items) else None
        else:
            return None
    return document


def read_id(document: Any, pointer: str) -> str:
    """Read a key's id.

    Raises:
        UnreadableError: it is not where it should be, or could not stand in a path.
    """
    found = at(document, pointer)
    text = str(found) if isinstance(found, int | str) and not isinstance(found, bool) else ""
    if not _ID.fullmatch(text):
        raise UnreadableError(f"the answer has no key's id at `{pointer}`")
    return text


def read_new(create: CreateHook, body: bytes) -> tuple[dict[str, Secret], str | None]:
    """Read the new credential's fields, and the key's id where the answer names it.

    Raises:
        UnreadableError: something is not where it should be.
    """
    document = document_of(body)
    fields: dict[str, Secret] = {}
    for new in create.fields:
        found = at(document, new.at)
        if not isinstance(found, str) or not found:
            raise UnreadableError(f"the answer has no text at `{new.at}`")
        if new.decode == "base64":
            try:
                fields[new.field] = Secret(base64.b64decode(found, validate=True))
            except (binascii.Error, ValueError):
                raise UnreadableError(f"what is at `{new.at}` is no base64") from None
        else:
            fields[new.field] = Secret(found)
    return fields, read_id(document, create.id_at) if create.id_at else None


def read_keys(listing: ListHook, body: bytes) -> tuple[list[Key], str]:
    """Read one page of keys, and the cursor of the next; empty where this was the last.

    Raises:
        UnreadableError: something is not where it should be.
    """
    document = document_of(body)
    items = at(document, listing.items_at) if listing.items_at else document
    if not isinstance(items, list):
        raise UnreadableError(f"the answer has no list at `{listing.items_at}`")
    keys = [
        Key(
            read_id(item, listing.id_at),
            name=_text(item, listing.name_at),
            suffix=_text(item, listing.suffix_at),
            last_used=read_moment(at(item, listing.last_used_at)) if listing.last_used_at else None,
            created=read_moment(at(item, listing.created_at)) if listing.created_at else None,
        )
        for item in cast("list[Any]", items)
    ]
    return keys, _text(document, listing.next_at)


def read_last_used(hook: LastUsedHook, body: bytes) -> datetime | None:
    """Read when a key was used last; None for never.

    Raises:
        UnreadableError: what is there is no moment.
    """
    return read_moment(at(document_of(body), hook.at))


def read_moment(value: Any) -> datetime | None:
    """Read ISO 8601, RFC 5322 or seconds or milliseconds since 1970; nothing means never.

    Raises:
        UnreadableError: it is none of them.
    """
    if value in {None, "", "N/A"} if isinstance(value, str | None) else False:
        return None
    text = str(value)
    try:
        if _NUMBER.fullmatch(text):
            number = float(text)
            number = number / 1_000 if number >= _MILLISECONDS_FROM else number
            return datetime.fromtimestamp(number, UTC)
        moment = parsedate_to_datetime(text) if "," in text else datetime.fromisoformat(text)
    except (ValueError, TypeError, OverflowError):
        raise UnreadableError("a moment in the answer is in no known form") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def id_in_field(identify: Identify, fields: Mapping[str, Secret]) -> str | None:
    """Take the key's id out of the credential itself; None where it is not in there."""
    if not identify.field or identify.field not in fields:
        return None
    text = fields[identify.field].reveal().decode("utf-8", "replace")
    if not identify.pattern:
        return text if _ID.fullmatch(text) else None
    found = re.fullmatch(identify.pattern, text)
    return found[1] if found and _ID.fullmatch(found[1] or "") else None


def _text(document: Any, pointer: str) -> str:
    found = at(document, pointer) if pointer else None
    return found if isinstance(found, str) else ""
