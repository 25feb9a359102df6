"""`schema` and `answers` become each operation's rules, or the mistake is told where it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tidegate.catalog import ConfigErrors, load
from tidegate.domain.checking import Checking

DECLARED = """\
version: 1
clients: {{acme: {{}}}}
consumers: {{shop: {{clients: [acme]}}}}
providers:
  api:
    openapi: api.json
    origin: https://api.test
    auth: none
    {checks}
grants: [{{consumer: shop, provider: api, operations: ["*"]}}]
"""


def document(schema: Any, version: str = "3.0.3") -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    described = {
        "operationId": "Put",
        "requestBody": {"content": content},
        "responses": {"200": {"description": "", "content": content}},
    }
    get = {"operationId": "Get", "responses": {"200": {"description": ""}}}
    return {
        "openapi": version,
        "info": {"title": "", "version": ""},
        "paths": {"/x": {"put": described, "get": get}},
        "components": {"schemas": {"Tree": schema}},
    }


def checking(folder: Path, checks: str, described: dict[str, Any] | None = None) -> Checking:
    file = folder / "tidegate.yaml"
    file.write_text(DECLARED.format(checks=checks))
    (folder / "api.json").write_text(json.dumps(described or document({"type": "object"})))
    (provider,) = load(file).providers
    assert provider.checking is not None
    return provider.checking


def read(folder: Path, schema: Any, version: str = "3.0.3") -> tuple[Any, Any]:
    """A schema as requests and as answers are held against it."""
    found = json.loads(
        checking(
            folder, "schema: {requests: enforce, responses: report}", document(schema, version)
        ).schemas
    )
    (operation,) = [one for one in found["operations"].values() if one["body"]]
    return (
        operation["body"]["types"]["application/json"]["schema"],
        operation["answers"]["200"]["application/json"]["schema"],
    )


def test_rules_hold_for_all_operations_and_differ_where_that_is_said(tmp_path: Path):
    found = checking(
        tmp_path,
        "schema: {requests: report, operations: {Get: {requests: off}}}\n"
        "    answers: {html: escape, operations: {'PUT *': {html: allow, keep: ['$.id']}}}",
    )
    put, get = (found.rules[number] for number in found.of if number is not None)
    by_requests = {one.requests: one for one in (put, get)}
    assert by_requests["report"].keep == ("$.id",)
    assert (by_requests["off"].html, by_requests["off"].keep) == ("escape", ())


def test_an_operation_without_rules_has_none(tmp_path: Path):
    found = checking(tmp_path, "schema: {operations: {Put: {responses: enforce}}}")
    assert sorted(found.of, key=str) == [0, None]
    assert list(json.loads(found.schemas)["operations"]) == [str(found.of.index(0))]


def test_types_may_stand_alone(tmp_path: Path):
    found = checking(tmp_path, "answers: [application/json, image/*]")
    assert found.rules[0].types == ("application/json", "image/*")
    assert found.schemas == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        (
            {"type": "string", "enum": ["a"], "nullable": True},
            {"anyOf": [{"type": "null"}, {"type": "string", "enum": ["a"]}]},
        ),
        (
            {"type": "number", "minimum": 1, "exclusiveMinimum": True, "exclusiveMaximum": False},
            {"type": "number", "exclusiveMinimum": 1},
        ),
        (
            {"oneOf": [{"type": "object"}], "discriminator": {"propertyName": "kind"}},
            {"anyOf": [{"type": "object"}]},
        ),
        ({"type": "string", "description": "x", "example": "y", "x-z": 1}, {"type": "string"}),
    ],
)
def test_what_older_versions_say_is_said_in_one_form(tmp_path: Path, old: Any, new: Any):
    assert read(tmp_path, old)[0] == new


def test_neighbours_of_a_reference_count_since_3_1(tmp_path: Path):
    beside = {
        "type": "object",
        "properties": {"a": {"$ref": "#/components/schemas/Tree", "maxLength": 1}},
    }
    old, new = read(tmp_path, beside)[0], read(tmp_path, beside, "3.1.0")[0]
    assert old["properties"]["a"] == {"$ref": "#/$defs/Tree"}
    assert new["properties"]["a"] == {"$ref": "#/$defs/Tree", "maxLength": 1}


def test_each_side_requires_what_is_its_own(tmp_path: Path):
    schema = {
        "required": ["id", "secret", "name"],
        "properties": {"id": {"readOnly": True}, "secret": {"writeOnly": True}, "name": {}},
    }
    request, answer = read(tmp_path, schema)
    assert request["required"] == ["secret", "name"]
    assert answer["required"] == ["id", "name"]


@pytest.mark.parametrize(
    ("checks", "said", "hint"),
    [
        ("schema: {requests: enforced}", "`enforced`", "`enforce`"),
        ("schema: {request: enforce}", "request", "`requests`"),
        ("schema: {body_max: 11MiB}", "bodies that are looked into are held in memory", "10MiB"),
        ("schema: {operations: {Gett: {requests: report}}}", "no operation is called `Gett`", "`Get`"),
        ("answers: [json]", "`json` is no media type", "application/json"),
        ("answers: {keep: [id]}", "`id` is no JSONPath", "$"),
        ("answers: {operations: {Putt: {html: escape}}}", "no operation is called `Putt`", "`Put`"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_stands(tmp_path: Path, checks: str, said: str, hint: str):
    with pytest.raises(ConfigErrors) as refused:
        checking(tmp_path, checks)
    (error,) = refused.value.errors
    assert said in error.message
    assert hint in error.hint
    assert error.line >= 9


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"$ref": "other.json#/x"}, "leaves the document"),
        ({"$ref": "https://evil.test/x"}, "leaves the document"),
        ({"$ref": "#/components/schemas/None"}, "leads to nothing"),
        ({"type": "strng"}, "is no type of a schema"),
        ({"minLength": "3"}, "`minLength` is a whole number"),
        ({"multipleOf": 0}, "`multipleOf` is above zero"),
        ({"properties": []}, "`properties` is a mapping of schemas"),
        ({"allOf": {}}, "`allOf` is a list of schemas"),
        ({"items": "x"}, "a schema is a mapping"),
    ],
)
def test_a_document_that_cannot_be_checked_by_is_told(tmp_path: Path, schema: Any, said: str):
    with pytest.raises(ConfigErrors) as refused:
        read(tmp_path, schema)
    assert said in refused.value.errors[0].message
    assert refused.value.errors[0].file.endswith("api.json")


def test_it_is_read_only_where_something_is_checked_by_it(tmp_path: Path):
    checking(tmp_path, "answers: {html: escape}", document({"$ref": "https://evil.test/x"}))


def test_without_a_document_there_is_nothing_to_hold_against(tmp_path: Path):
    file = tmp_path / "tidegate.yaml"
    text = DECLARED.format(checks="schema: {requests: report}")
    file.write_text(text.replace("openapi: api.json", "operations: [GET /x]"))
    with pytest.raises(ConfigErrors) as refused:
        load(file)
    assert "there is no document" in refused.value.errors[0].message


def test_swagger_2_is_read(tmp_path: Path):
    described = {
        "swagger": "2.0",
        "info": {"title": "", "version": ""},
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "paths": {
            "/x": {
                "post": {
                    "parameters": [
                        {"in": "body", "name": "b", "required": True, "schema": {"$ref": "#/definitions/A"}},
                        {
                            "in": "query", "name": "ids", "type": "array", "collectionFormat": "multi",
                            "items": {"type": "integer"},
                        },
                    ],
                    "responses": {"200": {"description": "", "schema": {"$ref": "#/definitions/A"}}},
                },
                "put": {
                    "consumes": ["application/x-www-form-urlencoded"],
                    "parameters": [{"in": "formData", "name": "f", "type": "file", "required": True}],
                    "responses": {"default": {"description": ""}},
                },
            }
        },
        "definitions": {"A": {"type": "object", "properties": {"a": {"x-nullable": True, "type": "string"}}}},
    }  # fmt: skip
    found = json.loads(
        checking(tmp_path, "schema: {requests: enforce, responses: report}", described).schemas
    )
    post, put = sorted(found["operations"].values(), key=lambda one: len(one["parameters"]))[::-1]
    assert post["body"] == {
        "required": True,
        "types": {"application/json": {"schema": {"$ref": "#/$defs/A"}}},
    }
    assert post["parameters"] == [
        {
            "in": "query",
            "name": "ids",
            "schema": {"type": "array", "items": {"type": "integer"}},
            "split": "repeat",
        }
    ]
    assert found["requests"]["A"]["properties"]["a"]["type"] == ["string", "null"]
    form = put["body"]["types"]["application/x-www-form-urlencoded"]
    assert (form["closed"], form["form"][0]["name"]) == (True, "f")
    assert put["answers"] == {"default": {}}
