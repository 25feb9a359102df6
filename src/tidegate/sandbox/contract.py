"""What a sandboxed provider can be asked, how it checks the credential, and what it answers.

Made from an OpenAPI document: an operation answers with its document's example, else with a value
made from its schema. Made from operations alone (a preset without a document): with its own name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tidegate.catalog.openapi import Document, read_document, read_operations
from tidegate.catalog.openapi.document import as_list, as_mapping
from tidegate.domain.attach import (
    AttachBasic,
    AttachCookie,
    AttachHeader,
    AttachPart,
    AttachQuery,
)
from tidegate.domain.operation import Operation
from tidegate.sandbox.generate import generate

BEARER: tuple[AttachPart, ...] = (AttachHeader("Authorization", "token", "Bearer "),)
JSON = "application/json"
_ANYWHERE = "https://sandbox.invalid"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer's status, type and bytes; `content_type` None: it has no body."""

    status: int
    content_type: str | None = None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Contract:
    """One provider's side of an API. `answer` is pure: the same operation has the same answer."""

    title: str
    operations: tuple[Operation, ...]
    attach: tuple[AttachPart, ...]
    answer: Callable[[Operation], Answer]


def contract_from_document(path: Path, attach: tuple[AttachPart, ...] | None = None) -> Contract:
    """Read an OpenAPI 3 or Swagger 2 document; `attach` goes before the security it declares.

    Raises:
        OSError: the file cannot be read.
        ConfigErrors: what is wrong with the document.
    """
    document = read_document(path.read_bytes(), str(path))
    api = read_operations(document, origins=(_ANYWHERE,))
    described = _described(document, api.operations)

    @cache
    def answer(operation: Operation) -> Answer:
        return _answer(described[operation], document)

    declared = _declared_attach(document) if attach is None else attach
    return Contract(api.title or path.stem, api.operations, declared, answer)


def contract_from_operations(
    title: str, operations: tuple[Operation, ...], attach: tuple[AttachPart, ...]
) -> Contract:
    """Stand in for a provider of which only the operations are known."""

    def answer(operation: Operation) -> Answer:
        body = {"sandbox": title, "operation": operation.id}
        return Answer(200, JSON, json.dumps(body).encode())

    return Contract(title, operations, attach, answer)


def _described(
    document: Document, operations: tuple[Operation, ...]
) -> dict[Operation, Mapping[str, Any]]:
    """Find what the document says of each operation, under whichever base path it stands."""
    items = as_mapping(document.root.get("paths")) or {}
    cut = {template.partition("?")[0].partition("#")[0]: template for template in items}
    found: dict[Operation, Mapping[str, Any]] = {}
    for operation in operations:
        segments = operation.path.split("/")
        tails = ("/" + "/".join(segments[start:]) for start in range(1, len(segments)))
        for template in (cut[tail] for tail in tails if tail in cut):
            item = document.follow(items[template], ("paths", template))
            node = as_mapping(item.get(operation.method.lower()))
            if node is not None:
                found[operation] = node
                break
    return found


def _answer(described: Mapping[str, Any], document: Document) -> Answer:
    status, response = _success(described, document)
    if status in {204, 205, 304}:
        return Answer(status)
    content_type, media = _media(response, described, document)
    if content_type is None:
        return Answer(status)
    value = _example(media, document)
    if value is None and "schema" in media:
        value = generate(media["schema"], document)
    return Answer(status, content_type, _encoded(content_type, value))


def _success(described: Mapping[str, Any], document: Document) -> tuple[int, Mapping[str, Any]]:
    """The first success that the document names, else its default, as 200."""
    responses = as_mapping(described.get("responses")) or {}
    named = sorted(str(status) for status in responses if str(status)[:1] in {"2", "3"})
    chosen = named[0] if named else "default"
    if chosen not in responses:
        return 200, {}
    status = int(chosen) if chosen.isdigit() else 200
    return status, document.follow(responses[chosen], ("responses", chosen))


def _media(
    response: Mapping[str, Any], described: Mapping[str, Any], document: Document
) -> tuple[str | None, Mapping[str, Any]]:
    """The type to answer in, JSON before others, with its schema and examples."""
    if document.is_swagger:
        return _swagger_media(response, described, document)
    content = as_mapping(response.get("content")) or {}
    if not content:
        return None, {}
    chosen = next((kind for kind in content if _is_json(kind)), next(iter(content)))
    return _concrete(chosen), as_mapping(content[chosen]) or {}


def _swagger_media(
    response: Mapping[str, Any], described: Mapping[str, Any], document: Document
) -> tuple[str | None, Mapping[str, Any]]:
    if "schema" not in response:
        return None, {}
    produces = (
        as_list(described.get("produces")) or as_list(document.root.get("produces")) or [JSON]
    )
    chosen = str(next((kind for kind in produces if _is_json(str(kind))), produces[0]))
    examples = as_mapping(response.get("examples")) or {}
    media: dict[str, Any] = {"schema": response["schema"]}
    if chosen in examples:
        media["example"] = examples[chosen]
    return _concrete(chosen), media


def _example(media: Mapping[str, Any], document: Document) -> Any:
    if "example" in media:
        return media["example"]
    for example in (as_mapping(media.get("examples")) or {}).values():
        value = document.follow(example, ("examples",)).get("value")
        if value is not None:
            return value
    return None


def _encoded(content_type: str, value: Any) -> bytes:
    if _is_json(content_type):
        return json.dumps(value, default=str).encode()
    if isinstance(value, str):
        return value.encode()
    mapping = as_mapping(value)
    if content_type.startswith("application/x-www-form-urlencoded") and mapping is not None:
        return urlencode(mapping, doseq=True).encode()
    return b"" if value is None else json.dumps(value, default=str).encode()


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind in {JSON, "*/*", "application/*"} or kind.endswith("+json")


def _concrete(content_type: str) -> str:
    kind, slash, rest = content_type.partition("/")
    if "*" not in rest:
        return content_type
    return JSON if kind in {"*", "application"} else f"{kind}{slash}plain"


def _declared_attach(document: Document) -> tuple[AttachPart, ...]:
    """The first security scheme that a static credential can meet; bearer where none is named."""
    root = document.root
    schemes = as_mapping(root.get("securityDefinitions")) or as_mapping(
        (as_mapping(root.get("components")) or {}).get("securitySchemes")
    )
    for name, scheme in (schemes or {}).items():
        part = _attach(document.follow(scheme, ("securitySchemes", name)))
        if part is not None:
            return (part,)
    return BEARER


def _attach(scheme: Mapping[str, Any]) -> AttachPart | None:
    kind, place = scheme.get("type"), scheme.get("in")
    http = str(scheme.get("scheme", "")).lower()
    name = str(scheme.get("name", ""))
    if kind == "basic" or (kind == "http" and http == "basic"):
        return AttachBasic(username_field="username", password_field="password")  # noqa: S106
    if kind == "apiKey" and place == "header":
        return AttachHeader(name, "key")
    if kind == "apiKey" and place == "query":
        return AttachQuery(name, "key")
    if kind == "apiKey" and place == "cookie":
        return AttachCookie(name, "key")
    return BEARER[0] if kind in {"http", "oauth2", "openIdConnect"} else None
