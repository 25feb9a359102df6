"""Read one event, as the engine spooled it, into a call record.

The spool may have been written by another version of the engine: fields that are not known here are
passed over, and those that a record may lack are filled. An event without the rest is unreadable.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any, Final, cast

from pydantic import TypeAdapter, ValidationError

from tidegate.domain.call import CallRecord, FieldRecord, ShapeRecord, WouldRecord

_AS_WRITTEN: Final = TypeAdapter(CallRecord)
_PARTS: Final[dict[str, TypeAdapter[Any]]] = {
    "sent": TypeAdapter(tuple[FieldRecord, ...]),
    "withheld": TypeAdapter(tuple[FieldRecord, ...]),
    "would": TypeAdapter(WouldRecord | None),
    "shapes": TypeAdapter(tuple[ShapeRecord, ...]),
}
_FIELDS: Final = tuple(
    entry.name for entry in fields(CallRecord) if entry.name not in {*_PARTS, "weak"}
)
_REQUIRED: Final = frozenset(
    entry.name
    for entry in fields(CallRecord)
    if entry.default is MISSING and "None" not in str(entry.type)
)


class UnreadableEventError(Exception):
    """What stands in the spool is no event. The message holds none of it."""


def read_event(line: bytes) -> CallRecord:
    """Read one JSON line.

    Raises:
        UnreadableEventError: it is no JSON object, or lacks what every record has.
    """
    try:
        return _AS_WRITTEN.validate_json(line)
    except ValidationError:
        return _read_leniently(line)


def _read_leniently(line: bytes) -> CallRecord:
    """Read what another version wrote; it takes twice as long."""
    try:
        event: object = json.loads(line)
    except ValueError:
        raise UnreadableEventError("it is not JSON") from None
    if not isinstance(event, dict):
        raise UnreadableEventError("it is not an object")
    values = cast("dict[str, Any]", event)
    if missing := _REQUIRED - values.keys():
        raise UnreadableEventError(f"it has no {', '.join(sorted(missing))}")
    known = {name: values.get(name) for name in _FIELDS}
    known["query"] = tuple(values.get("query") or ())
    known["weak"] = values.get("weak") is True
    for name, part in _PARTS.items():
        if name in values:
            try:
                known[name] = part.validate_python(values[name])
            except ValidationError:
                raise UnreadableEventError(f"its `{name}` is not that of a record") from None
    return CallRecord(**cast("dict[str, Any]", known))
