"""Write what a document says of the requests and answers of some operations, for the engine to check by.

The form is described in docs/reference/snapshot.md. It holds what is asked for and no more: a document of
a thousand operations costs what the few cost that are checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate.catalog.openapi.described import Described, Description
from tidegate.catalog.openapi.document import Document, as_list, as_mapping
from tidegate.catalog.openapi.parameters import fields_of_form, parameters_of, shaped, written
from tidegate.catalog.openapi.schemas import Json, Schemas
from tidegate.catalog.yaml_source import Path

_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked about one operation."""

    description: Description
    requests: bool
    answers: bool


def describe(described: Described, wanted: Mapping[int, Wanted]) -> str:
    """Write it, by the operations' numbers; empty where nothing is asked.

    Raises:
        ConfigErrors: something of it cannot be checked by.
    """
    writer = _Writer(described.document)
    operations = {str(number): writer.operation(one) for number, one in wanted.items()}
    if not operations:
        return ""
    whole = {
        "operations": operations,
        "requests": writer.requests.defs,
        "answers": writer.answers.defs,
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class _Writer:
    def __init__(self, document: Document) -> None:
        self._document = document
        self.requests = Schemas(document, "request")
        self.answers = Schemas(document, "answer")

    def operation(self, wanted: Wanted) -> Json:
        one = wanted.description
        made: Json = {"path": one.template}
        path: Path = (*one.path, one.key)
        if wanted.requests:
            made |= self._request(one, path)
        if wanted.answers:
            made["answers"] = dict(self._answers(one.operation, path))
        return made

    def _request(self, one: Description, path: Path) -> Json:
        is_swagger = self._document.is_swagger
        parameters: list[Json] = []
        body: Json | None = None
        form: list[tuple[Mapping[str, Any], Path]] = []
        for parameter, place in parameters_of(self._document, one):
            if is_swagger and parameter.get("in") == "body":
                body = self._swagger_body(one.operation, parameter, place)
            elif is_swagger and parameter.get("in") == "formData":
                form.append((parameter, place))
            elif made := written(parameter, place, self.requests, swagger=is_swagger):
                parameters.append(made)
        if form:
            body = self._swagger_form(one.operation, form)
        elif not is_swagger and "requestBody" in one.operation:
            body = self._body(one.operation["requestBody"], (*path, "requestBody"))
        return {"parameters": parameters, "body": body}

    def _body(self, described: Any, path: Path) -> Json:
        known = self._document.follow(described, path)
        types = dict(self._contents(known, path, self.requests))
        return {"required": known.get("required") is True, "types": types}

    def _swagger_body(
        self, operation: Mapping[str, Any], parameter: Mapping[str, Any], path: Path
    ) -> Json:
        schema = self.requests.convert(parameter.get("schema", True), (*path, "schema"))
        types = self._types(operation, "consumes")
        return {
            "required": parameter.get("required") is True,
            "types": {one: {"schema": schema} if _is_json(one) else {} for one in types},
        }

    def _swagger_form(
        self, operation: Mapping[str, Any], form: list[tuple[Mapping[str, Any], Path]]
    ) -> Json:
        fields: list[Json] = []
        for parameter, path in form:
            described = {key: value for key, value in parameter.items() if key != "required"}
            schema = self.requests.convert(described, path)
            split = "repeat" if parameter.get("collectionFormat") == "multi" else ","
            field: Json = {"in": "form", "name": parameter.get("name")}
            field |= shaped(schema, split, self.requests)
            fields.append(field | ({"required": True} if parameter.get("required") is True else {}))
        types = self._types(operation, "consumes", _FORM, _MULTIPART)
        is_required = any("required" in field for field in fields)
        form_type: Json = {"form": fields, "closed": True}
        return {
            "required": is_required,
            "types": {one: form_type if one == _FORM else {} for one in types},
        }

    def _answers(self, operation: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Json]]:
        answers = as_mapping(operation.get("responses")) or {}
        for status, described in answers.items():
            if str(status).startswith("x-"):
                continue
            place: Path = (*path, "responses", status)
            known = self._document.follow(described, place)
            if self._document.is_swagger:
                types = self._swagger_contents(operation, known, place)
            else:
                types = dict(self._contents(known, place, self.answers))
            yield str(status).upper() if str(status) != "default" else "default", types

    def _swagger_contents(
        self, operation: Mapping[str, Any], known: Mapping[str, Any], path: Path
    ) -> Json:
        if "schema" not in known:
            return {}
        schema = self.answers.convert(known["schema"], (*path, "schema"))
        types = self._types(operation, "produces")
        return {one: {"schema": schema} if _is_json(one) else {} for one in types}

    def _contents(
        self, known: Mapping[str, Any], path: Path, schemas: Schemas
    ) -> Iterator[tuple[str, Json]]:
        contents = as_mapping(known.get("content")) or {}
        for name, described in contents.items():
            media_type, place = _bare(name), (*path, "content", name)
            media = self._document.follow(described or {}, place)
            if "schema" not in media or not (_is_json(media_type) or media_type == _FORM):
                yield media_type, {}
                continue
            schema = schemas.convert(media["schema"], (*place, "schema"))
            if media_type != _FORM:
                yield media_type, {"schema": schema}
                continue
            form = fields_of_form(schema, as_mapping(media.get("encoding")) or {}, schemas)
            yield media_type, {"form": form[0], "closed": form[1]} if form else {}

    def _types(self, operation: Mapping[str, Any], word: str, *usual: str) -> list[str]:
        """The media types of Swagger 2's `consumes` or `produces`, the operation's before the document's."""
        named = as_list(operation.get(word, self._document.root.get(word)))
        known = [_bare(one) for one in named if isinstance(one, str)]
        return known or list(usual) or ["application/json"]


def _bare(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _is_json(media_type: str) -> bool:
    """Whether it is JSON, or may be."""
    subtype = media_type.partition("/")[2]
    return subtype in {"json", "*"} or subtype.endswith("+json") or media_type == "application/*"
