"""Find where in requests a property of a document's schema stands, as selectors of `protection`.

A schema is walked as far as it is used: through references, compositions, lists and maps. One that is
within itself has places without end; then none is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tidegate.catalog.errors import did_you_mean, shown
from tidegate.catalog.openapi.described import Described, Description
from tidegate.catalog.openapi.document import as_list, as_mapping, pointer_parts
from tidegate.catalog.openapi.parameters import parameters_of
from tidegate.catalog.yaml_source import Path

SCHEMAS_MAX: Final = 50_000
"""How many schemas are walked through for one property."""
_FORM: Final = "application/x-www-form-urlencoded"
_PARTS: Final = "multipart/form-data"
_COMPOSED: Final = ("allOf", "anyOf", "oneOf")
_SHORT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class NoPropertyError(ValueError):
    """There is no such place; `hint` says what would be right."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def places_of(text: str, described: Described, operations: Iterable[Description]) -> list[str]:
    """The places of `SCHEMA.PROPERTY` in the bodies of operations, as selectors, each once.

    Raises:
        NoPropertyError: the document has no such schema or property, or no body holds it.
        ConfigErrors: a reference of the document leads nowhere.
    """
    schemas = _schemas(described)
    schema, name = _parted(text, schemas)
    walk = _Walk(described, schema, name)
    found = list(dict.fromkeys(one for each in operations for one in walk.operation(each)))
    if walk.cycles & walk.held_in:
        raise NoPropertyError(
            f"{shown(schema)} can be within itself, so that {shown(name)} has places without end",
            "select it by `body`, with a query such as `$..email`",
        )
    if found:
        return found
    if walk.properties and not walk.has_property:
        known = sorted(walk.properties)
        message = f"the schema {shown(schema)} has no property {shown(name)} where it is used"
        raise NoPropertyError(message, did_you_mean(name, known, otherwise=_listed(known)))
    raise NoPropertyError(f"no request of these operations has {shown(text)}")


def _schemas(described: Described) -> Mapping[str, Any]:
    root = described.document.root
    if described.document.is_swagger:
        return as_mapping(root.get("definitions")) or {}
    components = as_mapping(root.get("components")) or {}
    return as_mapping(components.get("schemas")) or {}


def _parted(text: str, schemas: Mapping[str, Any]) -> tuple[str, str]:
    """Either may have dots; the longest name that a schema has is the schema's."""
    at = len(text)
    while (at := text.rfind(".", 0, at)) > 0:
        if text[:at] in schemas:
            return text[:at], text[at + 1 :]
    schema = text.rpartition(".")[0]
    raise NoPropertyError(
        f"the document has no schema {shown(schema)}", did_you_mean(schema, schemas)
    )


def _listed(names: list[str]) -> str:
    return f"it has {', '.join(f'`{name}`' for name in names[:10])}" if names else ""


@dataclass(slots=True)
class _Walk:
    described: Described
    schema: str
    name: str
    has_property: bool = False
    properties: set[str] = field(default_factory=set[str])
    cycles: set[str] = field(default_factory=set[str])
    held_in: set[str] = field(default_factory=set[str])
    """Schemas that the property was found in, at whatever depth."""
    _left: int = SCHEMAS_MAX
    _stack: list[str] = field(default_factory=list[str])

    def operation(self, one: Description) -> Iterator[str]:
        document, path = self.described.document, (*one.path, one.key)
        for parameter, place in parameters_of(document, one):
            if document.is_swagger and parameter.get("in") == "body":
                yield from self._places("body", parameter.get("schema"), place)
        if document.is_swagger or "requestBody" not in one.operation:
            return
        body = document.follow(one.operation["requestBody"], (*path, "requestBody"))
        for media_type, media in (as_mapping(body.get("content")) or {}).items():
            bare = media_type.partition(";")[0].strip().lower()
            kind = {_FORM: "form", _PARTS: "part"}.get(bare, "body" if _is_json(bare) else None)
            if kind is not None:
                here = (*path, "requestBody", "content", media_type)
                yield from self._places(kind, document.follow(media, here).get("schema"), here)

    def _places(self, kind: str, schema: Any, path: Path) -> Iterator[str]:
        write = {"body": _in_body, "form": _in_form, "part": _in_parts}[kind]
        yield from (write(steps) for steps in self._schema(schema, (), path, wanted=False))

    def _schema(
        self, schema: Any, steps: tuple[str | None, ...], path: Path, *, wanted: bool
    ) -> Iterator[tuple[str | None, ...]]:
        """Steps to the property; None is each child of a list or a map."""
        known = as_mapping(schema)
        self._left -= 1
        if known is None:
            return
        if self._left < 0:
            raise NoPropertyError(f"more than {SCHEMAS_MAX:,} schemas would have to be read for it")
        if isinstance(reference := known.get("$ref"), str):
            yield from self._referred(reference, steps, path, wanted=wanted)
        for one in (one for word in _COMPOSED for one in as_list(known.get(word))):
            yield from self._schema(one, steps, path, wanted=wanted)
        properties = as_mapping(known.get("properties")) or {}
        if wanted:
            self.properties.update(properties)
        for key, one in properties.items():
            if wanted and key == self.name:
                self.has_property = True
                self.held_in.update(self._stack)
                yield (*steps, key)
            yield from self._schema(one, (*steps, key), path, wanted=False)
        for word in ("items", "additionalProperties"):
            yield from self._schema(known.get(word), (*steps, None), path, wanted=False)

    def _referred(
        self, reference: str, steps: tuple[str | None, ...], path: Path, *, wanted: bool
    ) -> Iterator[tuple[str | None, ...]]:
        name = pointer_parts(reference)[-1]
        if name in self._stack:
            self.cycles.add(name)
            return
        self._stack.append(name)
        target = self.described.document.look_up(reference, path)
        yield from self._schema(target, steps, path, wanted=wanted or name == self.schema)
        self._stack.pop()


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


def _in_body(steps: tuple[str | None, ...]) -> str:
    return f"body {_json_path(steps)}"


def _json_path(steps: tuple[str | None, ...]) -> str:
    written = ["$"]
    for step in steps:
        if step is None:
            written.append("[*]")
        elif _SHORT.fullmatch(step):
            written.append(f".{step}")
        else:
            escaped = step.replace("\\", "\\\\").replace("'", "\\'")
            written.append(f"['{escaped}']")
    return "".join(written)


def _in_form(steps: tuple[str | None, ...]) -> str:
    first, *rest = ("*" if step is None else step for step in steps)
    return f"form {first}{''.join(f'[{step}]' for step in rest)}"


def _in_parts(steps: tuple[str | None, ...]) -> str:
    first, *rest = steps
    inside = f" {_json_path(tuple(rest))}" if rest else ""
    return f"part {first or '*'}{inside}"
