"""Name the places that a document declares in an operation's requests, as selectors of policies name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from tidegate.catalog.openapi.described import Description
from tidegate.catalog.openapi.document import Document, as_list, as_mapping
from tidegate.catalog.openapi.parameters import parameters_of
from tidegate.catalog.selectors import ANY, Step, WrongSelectorError, read_selector, written
from tidegate.catalog.yaml_source import Path

PLACES_MAX: Final = 1_000
"""A policy has no more rules."""
_DEPTH_MAX: Final = 12
_SCHEMAS_MAX: Final = 20_000
"""How many schemas are followed: alternatives of alternatives have no end that anybody reads."""
_FORM: Final = "application/x-www-form-urlencoded"
_PARTS: Final = "multipart/form-data"
_Kind = Literal["body", "form", "part", "query"]
_NOTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class DeclaredPlace:
    """A place where a request may have something: of which types, in which format. `repeats`: in a list."""

    at: str
    kinds: frozenset[str]
    format: str = ""
    repeats: bool = False


def places_of(document: Document, description: Description) -> tuple[DeclaredPlace, ...]:
    """The places of one operation's queries, JSON bodies, forms and parts, in the document's order.

    Raises:
        ConfigErrors: a reference leads nowhere or out of the document.
    """
    return tuple(_Places(document).of(description))


class _Places:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._found: dict[str, DeclaredPlace] = {}
        self._left = _SCHEMAS_MAX

    def of(self, one: Description) -> list[DeclaredPlace]:
        for parameter, path in parameters_of(self._document, one):
            name, where = parameter.get("name"), parameter.get("in")
            inner = parameter if self._document.is_swagger else parameter.get("schema", {})
            if not isinstance(name, str):
                continue
            if where == "body":
                self._schema("body", (), parameter.get("schema", {}), path, ())
            elif where == "query":
                self._named("query", name, inner, path)
            elif where == "formData":
                self._named("form", name, inner, path)
        if not self._document.is_swagger and "requestBody" in one.operation:
            path: Path = (*one.path, one.key, "requestBody")
            body = self._document.follow(one.operation["requestBody"], path)
            for name, media in (as_mapping(body.get("content")) or _NOTHING).items():
                self._content(name, media, (*path, "content", name))
        return list(self._found.values())

    def _content(self, media_type: str, media: Any, path: Path) -> None:
        kind = media_type.partition(";")[0].strip().lower()
        subtype = kind.partition("/")[2]
        schema = self._document.follow(media or {}, path).get("schema", {})
        if subtype in {"json", "*"} or subtype.endswith("+json"):
            self._schema("body", (), schema, (*path, "schema"), ())
        elif kind == _FORM:
            self._schema("form", (), schema, (*path, "schema"), ())
        elif kind == _PARTS:
            self._form_parts(schema, (*path, "schema"), ())

    def _form_parts(self, schema: Any, path: Path, within: tuple[int, ...]) -> None:
        """Each part as a whole: what is within one is written in a form that the part says of itself."""
        known = self._followed(schema, path)
        if id(known) in within or len(within) > _DEPTH_MAX:
            return
        for step, inner, place in self._parts(known, path):
            if step is None:
                self._form_parts(inner, place, (*within, id(known)))
            elif step != ANY:
                one = self._followed(inner, place)
                repeats = "items" in one
                if repeats:
                    one = self._followed(one["items"], (*place, "items"))
                self._put_value("part", (step,), one, repeats=repeats)

    def _named(self, kind: _Kind, name: str, schema: Any, path: Path) -> None:
        """A parameter, whose name may have keys in brackets."""
        try:
            steps = read_selector(f"{kind} {name}").steps or ()
        except WrongSelectorError:
            return
        if "*" not in name:
            self._schema(kind, steps, schema, path, ())

    def _schema(
        self,
        kind: _Kind,
        steps: tuple[Step, ...],
        schema: Any,
        path: Path,
        within: tuple[int, ...],
    ) -> None:
        known = self._followed(schema, path)
        self._left -= 1
        if id(known) in within or len(within) > _DEPTH_MAX or self._left < 0:
            # What contains itself is told as deep as it was followed.
            self._put(kind, steps, frozenset(), "", repeats=False)
            return
        below = (*within, id(known))
        parts = list(self._parts(known, path))
        for step, inner, place in parts:
            if step == ANY and kind != "body" and self._is_flat(inner, place):
                # Items of a form's list stand under the list's own name.
                self._put(kind, steps, frozenset({"string"}), "", repeats=True)
            else:
                self._schema(kind, (*steps, *([step] if step else ())), inner, place, below)
        if not parts:
            self._put_value(kind, steps, known, repeats=False)

    def _parts(
        self, known: Mapping[str, Any], path: Path
    ) -> Iterator[tuple[Step | None, Any, Path]]:
        """What a schema is made of: a step down to each, or None for another schema of the same place."""
        for name, one in (as_mapping(known.get("properties")) or _NOTHING).items():
            place = (*path, "properties", name)
            if self._followed(one, place).get("readOnly") is not True:
                yield Step(name), one, place
        for word in ("items", "additionalProperties"):
            inner = known.get(word)
            if as_mapping(inner) or (inner is True and "properties" not in known):
                yield ANY, inner, (*path, word)
        for word in ("allOf", "anyOf", "oneOf"):
            for number, one in enumerate(as_list(known.get(word))):
                yield None, one, (*path, word, number)

    def _is_flat(self, schema: Any, path: Path) -> bool:
        return next(self._parts(self._followed(schema, path), path), None) is None

    def _followed(self, schema: Any, path: Path) -> Mapping[str, Any]:
        return _NOTHING if isinstance(schema, bool) else self._document.follow(schema, path)

    def _put_value(
        self, kind: _Kind, steps: tuple[Step, ...], known: Mapping[str, Any], *, repeats: bool
    ) -> None:
        types = known.get("type", ())
        kinds = [types] if isinstance(types, str) else as_list(types)
        said = known.get("format")
        form = said if isinstance(said, str) else ""
        self._put(kind, steps, frozenset(map(str, kinds)), form, repeats=repeats)

    def _put(
        self,
        kind: _Kind,
        steps: tuple[Step, ...],
        kinds: frozenset[str],
        form: str,
        *,
        repeats: bool,
    ) -> None:
        at = written(kind, steps)
        if at is None or len(self._found) >= PLACES_MAX:
            return
        before = self._found.get(at, DeclaredPlace(at, frozenset()))
        self._found[at] = DeclaredPlace(
            at, before.kinds | kinds, before.format or form, before.repeats or repeats
        )
