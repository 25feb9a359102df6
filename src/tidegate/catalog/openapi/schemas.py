"""Bring a document's schemas into one form: JSON Schema 2020-12, whatever the document's version.

OpenAPI 3.0 and Swagger 2 have `nullable`, `exclusiveMinimum: true` and references whose neighbours do not
count; 3.1 is JSON Schema itself. Words that say nothing about validity are left out, which makes a document
a fraction of its size. References stay references, so that what contains itself may. Where the dialect
leaves room, an API's own answers decide: with a `discriminator`, `oneOf` means `anyOf`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NoReturn

from tidegate.catalog.errors import ConfigErrors, did_you_mean, shown
from tidegate.catalog.kinds import kind
from tidegate.catalog.openapi.document import (
    REFERENCE_HOPS_MAX,
    Document,
    as_list,
    as_mapping,
    pointer_parts,
)
from tidegate.catalog.yaml_source import Path

Json = dict[str, Any]
Side = Literal["request", "answer"]

SCHEMAS_MAX: Final = 200_000
"""How many schemas, parts included, may be needed of one document."""

_TYPES: Final = ("null", "boolean", "object", "array", "number", "string", "integer")
_COUNTS: Final = frozenset(
    {
        "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
        "minContains", "maxContains",
    }
)  # fmt: skip
_NUMBERS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_ONE: Final = (
    "items",
    "additionalProperties",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
)
_SEVERAL: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("properties", "patternProperties", "dependentSchemas")
_PLAIN: Final[Mapping[str, type]] = {
    "enum": list,
    "const": object,
    "pattern": str,
    "uniqueItems": bool,
    "dependentRequired": dict,
}
_WHOLE: Final = frozenset({"$ref", "enum", "const", "not", "if", *_SEVERAL})
"""With one of these, a schema has more to say about null than its `type`."""


class Schemas:
    """Schemas of one side of a document: what is read-only asks nothing of a request."""

    def __init__(self, document: Document, side: Side) -> None:
        self.defs: dict[str, Any] = {}
        """Everything that is referred to, by the names that `$ref` has after `#/$defs/`."""
        self._document = document
        self._side: Side = side
        self._is_old = document.is_swagger or str(document.root.get("openapi", "")).startswith(
            "3.0"
        )
        self._waiting: list[tuple[str, Any, Path]] = []
        self._count = 0

    def convert(self, schema: Any, path: Path) -> Any:
        """Bring one schema into the form, and what it refers to into `defs`.

        Raises:
            ConfigErrors: it cannot be checked by, or a reference leads nowhere or out of the document.
        """
        made = self._schema(schema, path)
        while self._waiting:
            name, waiting, place = self._waiting.pop()
            self.defs[name] = self._schema(waiting, place)
        return made

    def kinds(self, schema: Any, hops: int = 16) -> frozenset[str]:
        """The types that a converted schema names, in itself or in its alternatives."""
        known = self.resolved(schema)
        if hops == 0:
            return frozenset()
        types = known.get("type", ())
        found = frozenset([types] if isinstance(types, str) else types)
        for word in ("allOf", "anyOf", "oneOf"):
            for one in known.get(word, ()):
                found |= self.kinds(one, hops - 1)
        return found

    def resolved(self, schema: Any) -> Json:
        """A converted schema, or what it refers to."""
        known = as_mapping(schema)
        for _ in range(REFERENCE_HOPS_MAX):
            if known is None or "$ref" not in known:
                break
            name = str(known["$ref"]).rpartition("/")[2]
            known = as_mapping(self.defs.get(name.replace("~1", "/").replace("~0", "~")))
        return dict(known or {})

    def _schema(self, schema: Any, path: Path) -> Any:
        self._count += 1
        if self._count > SCHEMAS_MAX:
            hint = "name fewer operations under `schema: {operations: …}`"
            self._refuse(path, f"more than {SCHEMAS_MAX:,} schemas would be checked by", hint)
        if isinstance(schema, bool):
            return schema
        known = as_mapping(schema)
        if known is None:
            self._refuse(path, f"a schema is a mapping, not {kind(schema)}")
        reference = known.get("$ref")
        if isinstance(reference, str):
            made: Json = {"$ref": self._referred(reference, path)}
            if not self._is_old:
                made |= self._words(known, path)
        else:
            made = self._words(known, path)
        is_nullable = known.get("nullable") is True or known.get("x-nullable") is True
        return _or_null(made) if is_nullable else made

    def _referred(self, reference: str, path: Path) -> str:
        target = self._document.look_up(reference, path)
        inner = tuple(pointer_parts(reference))
        name = inner[-1] if inner[:-1] in _USUAL_PLACES else "/" + "/".join(inner)
        if name not in self.defs:
            self.defs[name] = True
            self._waiting.append((name, target, inner))
        return "#/$defs/" + name.replace("~", "~0").replace("/", "~1")

    def _words(self, known: Mapping[str, Any], path: Path) -> Json:
        made: Json = {}
        for word, value in known.items():
            if value is not None or word == "const":
                self._read(made, word, value, (*path, word))
        if "discriminator" in known and "oneOf" in made:
            made.setdefault("anyOf", made.pop("oneOf"))
        for bound in ("Minimum", "Maximum"):
            if made.get(f"exclusive{bound}") is True:
                limit = made.pop(bound.lower(), None)
                made.pop(f"exclusive{bound}")
                made |= {} if limit is None else {f"exclusive{bound}": limit}
            elif made.get(f"exclusive{bound}") is False:
                made.pop(f"exclusive{bound}")
        self._drop_unasked(known, made)
        return made

    def _drop_unasked(self, known: Mapping[str, Any], made: Json) -> None:
        """Read-only properties are required of answers alone, write-only ones of requests.

        So says OpenAPI 3.0 §4.7.24.2.
        """
        mark = "readOnly" if self._side == "request" else "writeOnly"
        described = as_mapping(known.get("properties")) or {}
        asked = [
            name
            for name in made.get("required", ())
            if (as_mapping(described.get(name)) or {}).get(mark) is not True
        ]
        if "required" in made:
            made["required"] = asked

    def _read(self, made: Json, word: str, value: Any, path: Path) -> None:
        """Read one word of a schema into the form; a word that says nothing about validity is left out."""
        if word == "type":
            self._type(made, value, path)
        elif word == "required":
            # `required: true` at a property is of drafts long gone, and says nothing.
            if isinstance(value, list):
                made[word] = [name for name in as_list(value) if isinstance(name, str)]
        elif word in _COUNTS:
            self._count_of(made, word, value, path)
        elif word in _NUMBERS:
            self._number(made, word, value, path)
        elif word in _PLAIN:
            if not isinstance(value, _PLAIN[word]):
                self._refuse(path, f"`{word}` cannot be {kind(value)}")
            made[word] = value
        else:
            self._parts(made, word, value, path)

    def _parts(self, made: Json, word: str, value: Any, path: Path) -> None:
        """Read a word whose value is schemas."""
        if word in _ONE:
            if not (word == "items" and isinstance(value, list)):
                made[word] = self._schema(value, path)
        elif word in _SEVERAL:
            if not as_list(value):
                self._refuse(path, f"`{word}` is a list of schemas, not {kind(value)}")
            made[word] = [self._schema(one, (*path, at)) for at, one in enumerate(as_list(value))]
        elif word in _NAMED:
            named = as_mapping(value)
            if named is None:
                self._refuse(path, f"`{word}` is a mapping of schemas, not {kind(value)}")
            made[word] = {name: self._schema(one, (*path, name)) for name, one in named.items()}

    def _type(self, made: Json, value: Any, path: Path) -> None:
        types = [value] if isinstance(value, str) else as_list(value)
        if types in (["file"], ["any"]):
            return
        unknown = next((one for one in types if one not in _TYPES), None)
        if unknown is not None or not types:
            hint = did_you_mean(str(unknown), _TYPES)
            self._refuse(path, f"{shown(str(unknown))} is no type of a schema", hint)
        made["type"] = types[0] if len(types) == 1 else types

    def _count_of(self, made: Json, word: str, value: Any, path: Path) -> None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or value < 0 or int(value) != value:
            self._refuse(path, f"`{word}` is a whole number, not {kind(value)}")
        made[word] = int(value)

    def _number(self, made: Json, word: str, value: Any, path: Path) -> None:
        is_flag = isinstance(value, bool) and word.startswith("exclusive")
        if not is_flag and (isinstance(value, bool) or not isinstance(value, int | float)):
            self._refuse(path, f"`{word}` is a number, not {kind(value)}")
        if word == "multipleOf" and value <= 0:
            self._refuse(path, "`multipleOf` is above zero")
        made[word] = value

    def _refuse(self, path: Path, message: str, hint: str = "") -> NoReturn:
        hint = hint or "correct the document, or leave the operations out that use this"
        raise ConfigErrors([self._document.error(path, message, hint)])


_USUAL_PLACES: Final = (("components", "schemas"), ("definitions",))


def _or_null(made: Json) -> Json:
    if not made:
        return made
    if "type" in made and not _WHOLE & made.keys():
        types = made["type"]
        made["type"] = list(
            dict.fromkeys([*([types] if isinstance(types, str) else types), "null"])
        )
        return made
    return {"anyOf": [{"type": "null"}, made]}
