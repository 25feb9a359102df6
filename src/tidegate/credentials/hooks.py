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
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from tidegate.credentials.xml_answers import XmlRefusedError, read_xml
from tidegate.domain.rotation import (
    CreateHook,
    Hook,
    Identify,
    JsonText,
    LastUsedHook,
    ListHook,
    NewField,
    ParameterValue,
)
from tidegate.domain.secret import Secret

_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]{0,31})\}")
_ID: Final = re.compile(r"[!-~]{1,512}")
_NUMBER: Final = re.compile(r"[0-9]{9,13}(\.[0-9]+)?")
_MILLISECONDS_FROM: Final = 10**11

Values = Mapping[str, ParameterValue]
Query = tuple[tuple[str, str], ...]


class UnknownValueError(Exception):
    """A hook has a placeholder whose value is not known, such as the id of the key in use."""


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


def fill(hook: Hook, values: Values, cursor: Query = ()) -> FilledHook:
    """Put the values in their places: each encoded for where it stands.

    `cursor` takes the place of the query's parameters of the same names.

    Raises:
        UnknownValueError: one of them is not known.
    """
    path = _PLACEHOLDER.sub(lambda found: quote(_one(values, found[1]), safe=""), hook.path)
    turned = {name for name, _ in cursor}
    query = [(name, _filled(text, values)) for name, text in hook.query if name not in turned]
    query += cursor
    accepted = "application/xml" if hook.answer == "xml" else "application/json"
    headers = [("Accept", accepted)]
    headers += [(name, _filled(text, values)) for name, text in hook.headers]
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


def _known(values: Values, name: str) -> ParameterValue:
    if name not in values:
        raise UnknownValueError(f"the value of `{{{name}}}` is not known")
    return values[name]


def _one(values: Values, name: str) -> str:
    value = _known(values, name)
    if isinstance(value, JsonText):
        return value.text
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
    value = _known(values, whole[1]) if whole else None
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, JsonText):
        return json.loads(value.text)
    return _filled(part, values)


def document_of(hook: Hook, body: bytes) -> Any:
    """Read an answer as what the hook says that it is.

    Raises:
        UnreadableError: it is something else.
    """
    if hook.answer == "xml":
        try:
            return read_xml(body)
        except XmlRefusedError as error:
            raise UnreadableError(f"the answer is not read as XML: {error}") from None
    return _json(body)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
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


def read_id(document: Any, pointer: str, pattern: str = "") -> str:
    """Read a key's id; `pattern` has one group, the id within what is there.

    Raises:
        UnreadableError: it is not where it should be, or could not stand in a path.
    """
    found = at(document, pointer)
    text = str(found) if isinstance(found, int | str) and not isinstance(found, bool) else ""
    if pattern:
        inner = re.fullmatch(pattern, text)
        text = (inner[1] or "") if inner else ""
    if not _ID.fullmatch(text):
        raise UnreadableError(f"the answer has no key's id at `{pointer}`")
    return text


def read_new(
    create: CreateHook, body: bytes, pattern: str = ""
) -> tuple[dict[str, Secret], str | None]:
    """Read the new credential's fields, and the key's id where the answer names it.

    Raises:
        UnreadableError: something is not where it should be.
    """
    document = document_of(create.hook, body)
    fields = {new.field: _read_field(document, new) for new in create.fields}
    return fields, read_id(document, create.id_at, pattern) if create.id_at else None


def _read_field(document: Any, new: NewField) -> Secret:
    found = at(document, new.at)
    if not isinstance(found, str) or not found:
        raise UnreadableError(f"the answer has no text at `{new.at}`")
    if new.decode == "text":
        return Secret(found)
    try:
        decoded = base64.b64decode(found, validate=True)
    except (binascii.Error, ValueError):
        raise UnreadableError(f"what is at `{new.at}` is no base64") from None
    if not new.inside:
        return Secret(decoded)
    inner = at(_json(decoded), new.inside)
    if not isinstance(inner, str) or not inner:
        raise UnreadableError(f"what is at `{new.at}` has no text at `{new.inside}`")
    return Secret(inner)


def read_keys(listing: ListHook, body: bytes, pattern: str = "") -> tuple[list[Key], Query]:
    """Read one page of keys, and what asks for the next; nothing where this was the last.

    Raises:
        UnreadableError: something is not where it should be.
    """
    document = document_of(listing.hook, body)
    items = at(document, listing.items_at) if listing.items_at else document
    if listing.hook.answer == "xml" and items == "":
        items = []
    if not isinstance(items, list):
        raise UnreadableError(f"the answer has no list at `{listing.items_at}`")
    keys = [
        Key(
            read_id(item, listing.id_at, pattern),
            name=_text(item, listing.name_at),
            suffix=_text(item, listing.suffix_at),
            last_used=read_moment(at(item, listing.last_used_at)) if listing.last_used_at else None,
            created=read_moment(at(item, listing.created_at)) if listing.created_at else None,
        )
        for item in cast("list[Any]", items)
    ]
    return keys, _next(listing, _text(document, listing.next_at))


def _next(listing: ListHook, cursor: str) -> Query:
    if not cursor:
        return ()
    if listing.next_as:
        return ((listing.next_as, cursor),)
    # An address: only its query is taken, so that the credential goes where it went before.
    try:
        return tuple(parse_qsl(urlsplit(cursor).query, keep_blank_values=True))
    except ValueError:
        raise UnreadableError("the next page's address cannot be read") from None


def read_last_used(hook: LastUsedHook, body: bytes) -> datetime | None:
    """Read when a key was used last; None for never.

    Raises:
        UnreadableError: what is there is no moment.
    """
    return read_moment(at(document_of(hook.hook, body), hook.at))


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
