"""What a document declares of requests is named as policies name it; what no selector can say is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.catalog import load
from tidegate.catalog.declared_places import declared_places
from tidegate.catalog.selectors import ANY, Step, read_selector, written

DECLARED = """\
version: 1
clients: {acme: {}}
providers:
  api: {openapi: api.json, origin: https://api.test, auth: none}
"""
PERSON = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "readOnly": True},
        "email": {"type": "string", "format": "email"},
        "home": {"$ref": "#/components/schemas/Address"},
        "cards": {"type": "array", "items": {"type": "object", "properties": {"number": {}}}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object"},
        "boss": {"$ref": "#/components/schemas/Person"},
        "x-y": {"type": "boolean"},
        "bad\u001b[31m": {"type": "string"},
        'it\'s "so"': {"type": "string"},
    },
}
ADDRESS = {"allOf": [{"properties": {"city": {"type": "string"}}}, {"properties": {"zip": {}}}]}


def places(folder: Path, operation: dict[str, Any], **more: Any) -> dict[str, Any]:
    document = {
        "openapi": "3.0.3",
        "info": {"title": "", "version": ""},
        "paths": {"/x": {"post": {"operationId": "Post", "responses": {}} | operation}},
        "components": {"schemas": {"Person": PERSON, "Address": ADDRESS}},
    }
    (folder / "api.json").write_text(json.dumps(document | more))
    file = folder / "tidegate.yaml"
    file.write_text(DECLARED)
    (provider,) = load(file).providers
    found = declared_places(file, provider, {0})
    return {one.at: one for one in found[0]}


def body(kind: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Person"}
    return {"requestBody": {"content": {kind: {"schema": schema}}}}


def test_a_document_of_json_is_named_to_its_leaves(tmp_path: Path):
    found = places(tmp_path, body("application/json; charset=utf-8"))
    assert set(found) == {
        "body $.email",
        "body $.home.city",
        "body $.home.zip",
        "body $.cards[*].number",
        "body $.tags[*]",
        "body $.metadata[*]",
        "body $.free",
        "body $.boss",
        "body $['x-y']",
    }
    assert found["body $.email"].format == "email"
    assert found["body $.free"].kinds == {"object"}
    assert found["body $.boss"].kinds == frozenset()


def test_forms_and_queries_are_named_with_keys_in_brackets(tmp_path: Path):
    query = {"in": "query", "schema": {"type": "array", "items": {"type": "string"}}}
    parameters = [
        query | {"name": "expand[]"},
        query | {"name": "q"},
        {"in": "header", "name": "X"},
    ]
    operation = body("application/x-www-form-urlencoded") | {"parameters": parameters}
    found = places(tmp_path, operation)
    assert {"query expand[]", "query q", "form email", "form home[city]"} <= set(found)
    assert "form cards[*][number]" in found
    assert found["form tags"].repeats
    assert found["query q"].repeats


def test_parts_of_a_form_with_files_are_named_as_they_are(tmp_path: Path):
    found = places(tmp_path, body("multipart/form-data"))
    assert {"part email", "part home", "part cards", "part tags", "part free"} <= set(found)
    assert found["part email"].format == "email"
    assert found["part tags"].repeats
    assert not found["part home"].repeats
    assert not any("[" in at for at in found)


def test_a_swagger_document_is_named_too(tmp_path: Path):
    whole = {
        "swagger": "2.0",
        "paths": {
            "/x": {
                "post": {
                    "operationId": "Post",
                    "responses": {},
                    "parameters": [
                        {"in": "formData", "name": "email", "type": "string", "format": "email"},
                        {"in": "body", "name": "b", "schema": {"properties": {"a": {}}}},
                    ],
                }
            }
        },
    }
    document = {"openapi": None} | whole
    (tmp_path / "unused").touch()
    found = places(
        tmp_path, {}, **{k: v for k, v in document.items() if k != "openapi"}, openapi=""
    )
    assert set(found) == {"form email", "body $.a"}
    assert found["form email"].format == "email"


@pytest.mark.parametrize(
    ("kind", "steps", "text"),
    [
        ("body", (), "body $"),
        ("body", (Step("a"), ANY, Step("b c")), "body $.a[*]['b c']"),
        ("body", (Step("it's"),), 'body $["it\'s"]'),
        ("body", (Step('it\'s "so"'),), None),
        ("body", (Step("a\\b"),), None),
        ("body", (Step("a\nb"),), None),
        ("body", (Step("\u202ea"),), None),
        ("form", (Step("a"), ANY, Step("")), "form a[*][]"),
        ("form", (Step("a]"),), "form a]"),
        ("query", (Step("*"),), None),
        ("query", (Step(" a"),), None),
    ],
)
def test_a_selector_is_written_as_it_is_read(kind: Any, steps: tuple[Step, ...], text: str | None):
    assert written(kind, steps) == text
    if text is not None:
        assert read_selector(text).steps == steps
