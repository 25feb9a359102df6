"""Say what differs between two declarations, place by place, for a person to read.

Used by `plan`, by the log of a running gateway and by the list of revisions. Two declarations are
equal exactly when there are no changes, so that "nothing would change" can be relied on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from enum import StrEnum
from typing import Any, cast

from tidegate.domain.attach import AttachBasic, AttachCookie, AttachHeader, AttachPart, AttachQuery
from tidegate.domain.declaration import Client, Consumer, Declaration, Denial, Grant, Provider
from tidegate.domain.operation import Operation
from tidegate.domain.protection import Protection

_READ_MAX = 2000
"""Longer texts were not written by hand."""
_Item = Client | Consumer | Provider | Grant | Denial | Operation | Protection


class ChangeKind(StrEnum):
    """What became of a place in the declaration."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: where, and what stood there before and stands there after."""

    path: str
    kind: ChangeKind
    before: str | None = None
    after: str | None = None


def changes(old: Declaration | None, new: Declaration) -> list[Change]:
    """List what differs from `old`, or everything where there is no old one."""
    old = old or Declaration()
    return [
        change
        for section in fields(Declaration)
        for change in _section(section.name, getattr(old, section.name), getattr(new, section.name))
    ]


def _section(path: str, old: Any, new: Any) -> Iterator[Change]:
    return _fields(path, old, new) if is_dataclass(new) else _items(path, old, new)


def _items(path: str, old: Sequence[_Item], new: Sequence[_Item]) -> Iterator[Change]:
    before, after = _keyed(old), _keyed(new)
    for key in [key for key in before if key not in after]:
        yield Change(f"{path}.{key}", ChangeKind.REMOVED, before=_summary(before[key]))
    for key, item in after.items():
        if key not in before:
            yield Change(f"{path}.{key}", ChangeKind.ADDED, after=_summary(item))
        elif item != before[key]:
            yield from _fields(f"{path}.{key}", before[key], item)
    kept_before = [key for key in before if key in after]
    kept_after = [key for key in after if key in before]
    if kept_before != kept_after:
        yield Change(f"{path} (order)", ChangeKind.CHANGED, _moved(kept_before), _moved(kept_after))


def _keyed(items: Sequence[_Item]) -> dict[str, _Item]:
    """Name each item by what it is about; a second one of the same name gets a number."""
    seen = Counter[str]()
    keyed: dict[str, _Item] = {}
    for item in items:
        key = _key(item)
        seen[key] += 1
        keyed[key if seen[key] == 1 else f"{key} #{seen[key]}"] = item
    return keyed


def _key(item: _Item) -> str:
    match item:
        case Grant():
            # Not by its name: that is its place in the list, and changes when one is put before it.
            return f"{item.consumer} → {item.provider}"
        case Denial():
            return item.provider
        case Operation():
            return item.id
        case _:
            return item.name


def _fields(path: str, old: Any, new: Any) -> Iterator[Change]:
    for entry in fields(old):
        before, after = getattr(old, entry.name), getattr(new, entry.name)
        if before == after:
            continue
        place = f"{path}.{entry.name}"
        if entry.name == "operations" and isinstance(old, Provider):
            yield from _items(place, before, after)
        elif is_dataclass(before) and is_dataclass(after):
            yield from _fields(place, before, after)
        else:
            yield Change(place, ChangeKind.CHANGED, _text(before), _text(after))


def _summary(item: _Item) -> str:  # noqa: PLR0911 (one for each kind of item)
    match item:
        case Client():
            return ", ".join(part for part in (item.title, item.region) if part)
        case Consumer():
            return f"for {_text(item.clients)}"
        case Provider():
            return f"{_text(item.origins)}, {len(item.operations):,} operations"
        case Grant():
            mode = "" if item.mode == "enforce" else f", {_report(item.enforce_from)}"
            return f"{_text(item.operations)}{_scope(item.clients)}{mode}"
        case Denial():
            return f"{_text(item.operations)}{_scope(item.consumers + item.clients)}: {item.reason}"
        case Operation():
            return f"{item.method} {item.path}"
        case Protection():
            return _policy(item)


def _policy(policy: Protection) -> str:
    until = f", {_report(policy.report_until)}" if policy.report_until else ""
    operations = ", ".join(":".join(one) for one in policy.operations)
    return f"{operations}, {len(policy.fields)} fields for {policy.purpose}{_asked(policy)}{until}"


def _asked(policy: Protection) -> str:
    asked = policy.consent
    if asked is None:
        return ""
    without = "left out" if asked.drops else "refused"
    return f", consent of {asked.max_age_s // 86_400} days or {without}"


def _report(enforce_from: date | None) -> str:
    return "report" if enforce_from is None else f"report until {enforce_from}"


def _scope(names: tuple[str, ...]) -> str:
    return f" for {_text(names)}" if names else ""


def _moved(keys: list[str], shown_max: int = 5) -> str:
    more = ", …" if len(keys) > shown_max else ""
    return ", ".join(keys[:shown_max]) + more


def _text(value: Any) -> str:
    match value:
        case None | () | "":
            return "none"
        case bool():
            return "yes" if value else "no"
        case str() if "\n" in value or len(value) > _READ_MAX:
            # Certificates and schemas are told apart by a digest; nobody reads them in a difference.
            return f"sha256:{hashlib.sha256(value.encode()).hexdigest()[:16]}"
        case tuple():
            return ", ".join(map(_element, cast("tuple[object, ...]", value)))
        case _:
            return str(value)


def _element(element: Any) -> str:
    match element:
        case (str() as name, str() as value):
            return f"{name}: {value}"
        case AttachHeader() | AttachBasic() | AttachQuery() | AttachCookie():
            return _attach(element)
        case _ if is_dataclass(element):
            return _plain(element)
        case _:
            return str(element)


def _attach(part: AttachPart) -> str:
    if isinstance(part, AttachBasic):
        user = f"<{part.username_field}>" if part.username_field else part.username
        password = f"<{part.password_field}>" if part.password_field else part.password
        return f"basic {user}:{password}"
    prefix = getattr(part, "prefix", "")
    return f"{part.kind} {part.name}: {prefix}<{part.field}>"


def _plain(element: Any) -> str:
    pairs = ((entry.name, getattr(element, entry.name)) for entry in fields(element))
    return " ".join(f"{name}={value}" for name, value in pairs if value)
