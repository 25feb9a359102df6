"""A made value is one that the schema accepts, and making it always ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tidegate.catalog.openapi import Document, read_document
from tidegate.sandbox.contract import contract_from_document
from tidegate.sandbox.generate import generate

from .conftest import SHOP

GITHUB = Path(__file__).parents[3] / "node_modules/@octokit/openapi/generated/api.github.com.json"


def document(schemas: dict[str, Any] | None = None) -> Document:
    root = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {}}
    root["components"] = {"schemas": schemas or {}}
    return read_document(json.dumps(root).encode(), "test.json")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "minLength": 30},
        {"type": "string", "format": "date-time", "maxLength": 20},
        {"type": "string", "format": "email"},
        {"type": ["null", "integer"]},
        {"type": "integer", "minimum": 7},
        {"type": "integer", "exclusiveMinimum": 7},
        {"type": "integer", "maximum": -3},
        {"type": "number", "exclusiveMaximum": 0},
        {"type": "integer", "minimum": 10, "maximum": 20, "multipleOf": 7},
        {"type": "boolean"},
        {"type": "null"},
        {"const": {"a": [1]}},
        {"enum": ["b", "c"]},
        {"type": "array", "items": {"type": "integer"}, "minItems": 3},
        {"type": "array", "items": {"type": "integer"}, "maxItems": 0},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
        {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "integer"}}},
        {"properties": {"a": {"type": "integer"}}},
        {"allOf": [{"properties": {"a": {"type": "integer"}}}, {"required": ["a"]}]},
        {"oneOf": [{"type": "integer"}, {"type": "string"}]},
        {"type": "object", "properties": {"a": True}, "anyOf": [{"required": ["a"]}]},
        {"type": "object", "default": {"a": 1}},
        True,
        {},
    ],
    ids=str,
)
def test_value_is_accepted_by_its_schema(schema: Any):
    jsonschema.Draft202012Validator(schema).validate(generate(schema, document()))


def test_old_exclusive_bounds_are_kept():
    assert generate({"type": "integer", "minimum": 7, "exclusiveMinimum": True}, document()) == 8


def test_examples_go_before_everything():
    assert generate({"type": "string", "example": "ord_1", "enum": ["x"]}, document()) == "ord_1"
    assert generate({"type": "string", "examples": ["ord_2"]}, document()) == "ord_2"


def test_schema_that_leads_back_into_itself_ends_there():
    node = {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string"},
            "next": {"$ref": "#/components/schemas/Node"},
            "children": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}},
        },
    }
    made = generate({"$ref": "#/components/schemas/Node"}, document({"Node": node}))
    assert made == {"name": "text", "children": []}


def test_choice_that_leads_back_takes_the_one_that_ends():
    tree = {"oneOf": [{"$ref": "#/components/schemas/Tree"}, {"type": "integer"}]}
    assert generate({"$ref": "#/components/schemas/Tree"}, document({"Tree": tree})) == 1


def test_depth_is_bounded():
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(200):
        schema = {"type": "object", "required": ["deeper"], "properties": {"deeper": schema}}
    made, depth = generate(schema, document()), 0
    while made:
        made, depth = made.get("deeper"), depth + 1
    assert depth <= 17


def test_write_only_properties_are_not_answered():
    read = read_document(SHOP.encode(), "shop.yaml")
    made = generate({"$ref": "#/components/schemas/Order"}, read)
    assert set(made) == {"id", "state", "lines"}
    assert made["lines"] == [10, 10]


def test_every_operation_of_a_thousand_has_an_answer():
    contract = contract_from_document(GITHUB)
    assert len(contract.operations) > 1_000
    for operation in contract.operations:
        answer = contract.answer(operation)
        if answer.content_type == "application/json":
            json.loads(answer.body)
        if "{" not in operation.path and operation.method == "GET" and answer.status == 200:
            assert answer.body, operation


def test_swagger_2_documents_answer_by_their_examples(tmp_path: Path):
    described = {
        "swagger": "2.0",
        "info": {"title": "Old", "version": "1"},
        "host": "old.test",
        "basePath": "/api",
        "produces": ["application/json"],
        "securityDefinitions": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
        "paths": {
            "/a": {
                "get": {
                    "responses": {
                        "200": {
                            "description": "",
                            "schema": {"type": "object"},
                            "examples": {"application/json": {"a": 1}},
                        }
                    }
                }
            }
        },
    }
    path = tmp_path / "old.json"
    path.write_text(json.dumps(described))
    contract = contract_from_document(path)
    (operation,) = contract.operations
    assert operation.path == "/api/a"
    assert contract.answer(operation).body == b'{"a": 1}'
    assert [part.kind for part in contract.attach] == ["header"]
