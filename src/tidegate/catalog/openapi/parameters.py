"""Say how an operation's parameters are written on the wire, and what they may be.

A parameter is a text there: `split` says by what the items of an array are parted (`repeat`: the name
stands again for each), `object` that its members are named `name[member]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tidegate.catalog.openapi.described import Description
from tidegate.catalog.openapi.document import Document, as_list, as_mapping
from tidegate.catalog.openapi.schemas import Json, Schemas
from tidegate.catalog.yaml_source import Path

_NOT_PARAMETERS: Final = frozenset({"accept", "content-type", "authorization"})
"""Header parameters of these names mean nothing (OpenAPI 3.0 §4.7.12.2.1)."""
_COLLECTIONS: Final = {"csv": ",", "ssv": " ", "tsv": "\t", "pipes": "|", "multi": "repeat"}
_STYLES: Final = {"spaceDelimited": " ", "pipeDelimited": "|"}


def parameters_of(
    document: Document, description: Description
) -> Iterator[tuple[Mapping[str, Any], Path]]:
    """The parameters of an operation, with those of its path that it does not replace."""
    found: dict[tuple[str, str], tuple[Mapping[str, Any], Path]] = {}
    for holder, path in (
        (description.item, description.path),
        (description.operation, (*description.path, description.key)),
    ):
        for number, one in enumerate(as_list(holder.get("parameters"))):
            place: Path = (*path, "parameters", number)
            parameter = document.follow(one, place)
            found[str(parameter.get("in")), str(parameter.get("name"))] = (parameter, place)
    yield from found.values()


def written(
    parameter: Mapping[str, Any], path: Path, schemas: Schemas, *, swagger: bool
) -> Json | None:
    """One parameter as the engine reads it; None for what is none of the request's own."""
    place, name = parameter.get("in"), parameter.get("name")
    if place not in {"query", "header", "path"} or not isinstance(name, str):
        return None
    if place == "header" and name.lower() in _NOT_PARAMETERS:
        return None
    made: Json = {"in": place, "name": name.lower() if place == "header" else name}
    if parameter.get("required") is True:
        made["required"] = True
    if swagger:
        # What it may be stands in the parameter itself.
        described: Any = {key: value for key, value in parameter.items() if key != "required"}
    else:
        described = parameter.get("schema")
    if described is not None:
        made |= shaped(
            schemas.convert(described, path), _split(parameter, swagger=swagger), schemas
        )
    return made


def shaped(schema: Any, split: str, schemas: Schemas) -> Json:
    """What a parameter or a form's field may be, and how its parts are told apart."""
    kinds = schemas.kinds(schema)
    made: Json = {"schema": schema}
    if "array" in kinds or not kinds:
        made["split"] = split
    if "object" in kinds or not kinds:
        made["object"] = True
    return made


def style_split(style: object, explode: object) -> str:
    """By what an array's items are parted in a query or a form (OpenAPI 3.0 §4.7.12.3)."""
    explodes = style in {None, "form", "deepObject"} if explode is None else explode is True
    return "repeat" if explodes else _STYLES.get(str(style), ",")


def _split(parameter: Mapping[str, Any], *, swagger: bool) -> str:
    if swagger:
        return _COLLECTIONS.get(str(parameter.get("collectionFormat")), ",")
    if parameter.get("in") != "query":
        return ","
    return style_split(parameter.get("style"), parameter.get("explode"))


def fields_of_form(
    schema: Any, encodings: Mapping[str, Any], schemas: Schemas
) -> tuple[list[Json], bool] | None:
    """The fields of a form's converted schema, and whether there are no others; None: it names none."""
    known = schemas.resolved(schema)
    properties = as_mapping(known.get("properties"))
    if not properties or known.keys() & {"allOf", "anyOf", "oneOf"}:
        return None
    required = known.get("required", [])
    fields = [
        {
            "in": "form",
            "name": name,
            **({"required": True} if name in required else {}),
            **shaped(one, _form_split(as_mapping(encodings.get(name)) or {}), schemas),
        }
        for name, one in properties.items()
    ]
    return fields, known.get("additionalProperties") is False


def _form_split(encoding: Mapping[str, Any]) -> str:
    return style_split(encoding.get("style"), encoding.get("explode"))
