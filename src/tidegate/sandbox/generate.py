"""Make a value that a schema would accept, where a document gives no example.

Pure and always the same for the same schema. Bounded twice: optional properties stop at a few
levels, everything stops at `DEPTH_MAX`; a schema that leads back into itself ends there. Patterns
are not solved: a text with a `pattern` and no example is just a text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tidegate.catalog.openapi import Document
from tidegate.catalog.openapi.document import as_list, as_mapping

DEPTH_MAX = 16
OPTIONAL_DEPTH_MAX = 4
ITEMS_MAX = 16
_TEXT_MAX = 4_096

Schema = Mapping[str, Any]

_TEXTS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "someone@example.test",
    "hostname": "host.example.test",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.test/",
    "url": "https://example.test/",
    "uri-reference": "/somewhere",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "byte": "c29tZXRoaW5n",
}


_COMBINING = frozenset({"allOf", "oneOf", "anyOf"})


class _Nothing:
    """No value: the schema leads back into itself, or too deep."""


_NOTHING = _Nothing()


def generate(schema: Any, document: Document) -> Any:
    """Make a value for the schema; None where there is none to make."""
    value = _Generator(document).value(schema, frozenset(), 0)
    return None if value is _NOTHING else value


class _Generator:
    def __init__(self, document: Document) -> None:
        self._document = document

    def value(self, schema: Any, open_refs: frozenset[str], depth: int) -> Any:  # noqa: PLR0911
        """Make a value. `open_refs` are the references being made further up."""
        flat, refs = self._flattened(schema, open_refs)
        if flat is None or depth > DEPTH_MAX:
            return _NOTHING
        given = _given(flat)
        if given is not _NOTHING:
            return given
        match _type(flat):
            case "object":
                return self._object(flat, refs, depth)
            case "array":
                return self._array(flat, refs, depth)
            case "string":
                return _text(flat)
            case "integer" | "number" as kind:
                return _number(flat, whole=kind == "integer")
            case "boolean":
                return True
            case _:
                return None

    def _object(self, flat: Schema, refs: frozenset[str], depth: int) -> dict[str, Any]:
        required = [name for name in as_list(flat.get("required")) if isinstance(name, str)]
        properties = as_mapping(flat.get("properties")) or {}
        made: dict[str, Any] = {}
        for name in dict.fromkeys([*properties, *required]):
            described = properties.get(name, True)
            if (as_mapping(described) or {}).get("writeOnly") is True:
                continue
            if name not in required and depth >= OPTIONAL_DEPTH_MAX:
                continue
            value = self.value(described, refs, depth + 1)
            if value is not _NOTHING:
                made[name] = value
        return made

    def _array(self, flat: Schema, refs: frozenset[str], depth: int) -> list[Any]:
        prefix = [self.value(item, refs, depth + 1) for item in as_list(flat.get("prefixItems"))]
        wanted = min(max(_bound(flat, "minItems", 0), 0 if prefix else 1), ITEMS_MAX)
        if flat.get("maxItems") == 0:
            return []
        item = self.value(flat.get("items", True), refs, depth + 1)
        items = [*prefix, *[item] * (wanted - len(prefix))]
        return [item for item in items if item is not _NOTHING]

    def _flattened(
        self, schema: Any, open_refs: frozenset[str]
    ) -> tuple[Schema | None, frozenset[str]]:
        """Resolve references, join `allOf`, take the first possible of `oneOf` and `anyOf`."""
        node = as_mapping(schema)
        if node is None:
            return (None if schema is False else {}), open_refs
        reference = node.get("$ref")
        if isinstance(reference, str):
            if reference in open_refs or len(open_refs) > DEPTH_MAX:
                return None, open_refs
            target = self._document.follow({"$ref": reference}, ())
            return self._flattened(target, open_refs | {reference})
        flat: Schema | None = {k: v for k, v in node.items() if k not in _COMBINING}
        refs = open_refs
        for part in as_list(node.get("allOf")):
            joined, part_refs = self._flattened(part, open_refs)
            if joined is None:
                return None, refs
            flat, refs = _joined(flat, joined), refs | part_refs
        for choice in ("oneOf", "anyOf"):
            alternatives = as_list(node.get(choice))
            if not alternatives or _given(flat) is not _NOTHING:
                continue
            taken, taken_refs = self._first_possible(alternatives, open_refs)
            if taken is None:
                return None, refs
            flat, refs = _joined(flat, taken), refs | taken_refs
        return flat, refs

    def _first_possible(
        self, alternatives: list[Any], open_refs: frozenset[str]
    ) -> tuple[Schema | None, frozenset[str]]:
        for alternative in alternatives:
            flat, refs = self._flattened(alternative, open_refs)
            if flat is not None:
                return flat, refs
        return None, open_refs


def _joined(one: Schema, other: Schema) -> Schema:
    """Two schemas that both hold; what they say of the same thing, the first says."""
    properties = {
        **(as_mapping(other.get("properties")) or {}),
        **(as_mapping(one.get("properties")) or {}),
    }
    required = [*as_list(one.get("required")), *as_list(other.get("required"))]
    joined = {**other, **one}
    if properties:
        joined["properties"] = properties
    if required:
        joined["required"] = required
    return joined


def _given(flat: Schema) -> Any:
    """The value that the schema itself names, if it does."""
    if "example" in flat:
        return flat["example"]
    examples = as_list(flat.get("examples"))
    if examples:
        return examples[0]
    if "const" in flat:
        return flat["const"]
    if "default" in flat and flat["default"] is not None:
        return flat["default"]
    enum = as_list(flat.get("enum"))
    return enum[0] if enum else _NOTHING


def _type(flat: Schema) -> str:
    declared = flat.get("type")
    if isinstance(declared, str):
        return declared
    kinds = [kind for kind in as_list(declared) if kind != "null"]
    if kinds:
        return str(kinds[0])
    if "properties" in flat or "additionalProperties" in flat or "required" in flat:
        return "object"
    if "items" in flat or "prefixItems" in flat:
        return "array"
    return "null" if declared == ["null"] else "string"


def _text(flat: Schema) -> str:
    text = _TEXTS.get(str(flat.get("format")), "text")
    shortest = min(_bound(flat, "minLength", 0), _TEXT_MAX)
    return text.ljust(shortest, "x")[: _bound(flat, "maxLength", _TEXT_MAX)]


def _number(flat: Schema, *, whole: bool) -> float:
    step = _limit(flat, "multipleOf") or (1 if whole else None)
    least, above = _lower(flat)
    most, below = _upper(flat)
    candidate: float = 1 if whole else 1.5
    if least is not None and (candidate < least or (above and candidate == least)):
        candidate = least + (step or 0.5) if above else least
    if most is not None and (candidate > most or (below and candidate == most)):
        candidate = most - (step or 0.5) if below else most
    if step:
        nearest = math.ceil(candidate / step) * step
        candidate = (
            nearest if most is None or nearest <= most else math.floor(candidate / step) * step
        )
    return int(candidate) if whole or float(candidate).is_integer() else candidate


def _lower(flat: Schema) -> tuple[float | None, bool]:
    """The least value, and whether it is itself too small (3.0 and 3.1 say so differently)."""
    exclusive = _limit(flat, "exclusiveMinimum")
    if exclusive is not None:
        return exclusive, True
    return _limit(flat, "minimum"), flat.get("exclusiveMinimum") is True


def _upper(flat: Schema) -> tuple[float | None, bool]:
    exclusive = _limit(flat, "exclusiveMaximum")
    if exclusive is not None:
        return exclusive, True
    return _limit(flat, "maximum"), flat.get("exclusiveMaximum") is True


def _limit(flat: Schema, name: str) -> float | None:
    value = flat.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _bound(flat: Schema, name: str, otherwise: int) -> int:
    value = flat.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
