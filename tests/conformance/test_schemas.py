"""Schemas mean to the engine what they mean to Python's `jsonschema`; published documents are read."""

from __future__ import annotations

import json
import os
import random  # noqa: TID251 - seeded, so that a failure can be had again
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tidegate.catalog import read_document, read_operations
from tidegate.catalog.openapi import describe
from tidegate.catalog.openapi.describing import Wanted
from tidegate.engine import _wire

PACKAGES = Path(__file__).parents[2] / "node_modules"
CASES = int(os.environ.get("TIDEGATE_PROPERTY_CASES", "3000"))
SEED = int(os.environ.get("TIDEGATE_TEST_SEED", "20261128"))
DOCUMENTS = [
    "@octokit/openapi/generated/api.github.com.json",
    "@figma/rest-api-spec/openapi/openapi.yaml",
    "@netlify/open-api/dist/swagger.json",
    "shipengine-openapi/openapi.json",
]
TEXTS = ["", "a", "ab", "abc", "A1", "ü"]
NAMES = ["a", "b", "c"]


def some_schema(chance: random.Random, depth: int) -> Any:
    def inner() -> Any:
        return some_schema(chance, depth - 1)

    if chance.random() < 0.06:
        return chance.random() < 0.6
    made: dict[str, Any] = {}
    leaves = {
        "type": lambda: chance.choice(
            [
                "null",
                "boolean",
                "object",
                "array",
                "number",
                "string",
                "integer",
                ["string", "null"],
            ]
        ),
        "enum": lambda: [some_value(chance, 1) for _ in range(chance.randint(1, 4))],
        "const": lambda: some_value(chance, 1),
        "minimum": lambda: chance.choice([0, 1, 1.5]),
        "exclusiveMaximum": lambda: chance.choice([2, 2.5]),
        "multipleOf": lambda: chance.choice([1, 2, 0.5]),
        "minLength": lambda: chance.randint(0, 2),
        "maxLength": lambda: chance.randint(1, 3),
        "pattern": lambda: chance.choice(["^a", "b$", "^[a-z]+$", "\\d"]),
        "minItems": lambda: chance.randint(0, 2),
        "maxItems": lambda: chance.randint(1, 3),
        "uniqueItems": lambda: True,
        "required": lambda: chance.sample(NAMES, chance.randint(0, 2)),
        "minProperties": lambda: chance.randint(0, 2),
        "maxProperties": lambda: chance.randint(1, 2),
        "dependentRequired": lambda: {chance.choice(NAMES): [chance.choice(NAMES)]},
    }
    within = {
        "items": inner,
        "prefixItems": lambda: [inner(), inner()],
        "contains": inner,
        "properties": lambda: {name: inner() for name in chance.sample(NAMES, 2)},
        "patternProperties": lambda: {"^[ab]$": inner()},
        "additionalProperties": inner,
        "propertyNames": lambda: {"maxLength": chance.randint(1, 2)},
        "dependentSchemas": lambda: {chance.choice(NAMES): inner()},
        "allOf": lambda: [inner(), inner()],
        "anyOf": lambda: [inner(), inner()],
        "oneOf": lambda: [inner(), inner()],
        "not": inner,
        "$ref": lambda: "#/$defs/" + chance.choice(NAMES),
    }
    words = list(leaves.items()) + (list(within.items()) if depth > 0 else [])
    for word, value in chance.sample(words, min(len(words), chance.randint(1, 4))):
        made[word] = value()
    if depth > 0 and chance.random() < 0.1:
        made |= {"if": inner(), "then": inner(), "else": inner()}
    return made


def some_value(chance: random.Random, depth: int) -> Any:
    leaf = chance.choice([None, True, False, 0, 1, 2, 3, -1, 0.5, 1.0, 1.5, 2.0, 2.5, *TEXTS])
    kind = chance.randrange(4 if depth > 0 else 2)
    if kind == 2:
        return [some_value(chance, depth - 1) for _ in range(chance.randint(0, 3))]
    if kind == 3:
        names = chance.sample([*NAMES, "dd"], chance.randint(0, 3))
        return {name: some_value(chance, depth - 1) for name in names}
    return leaf


def test_the_engine_says_what_jsonschema_says():
    chance = random.Random(SEED)
    both = {True: 0, False: 0}
    for case in range(CASES):
        # References lead to schemas without any, so that both ways of ending a circle are not compared.
        defs = {name: some_schema(chance, 0) for name in NAMES}
        schema = some_schema(chance, 3)
        if isinstance(schema, bool):
            continue
        schema["$defs"] = defs
        validator: Any = jsonschema.Draft202012Validator(schema)
        for _ in range(4):
            value = some_value(chance, 3)
            expected = validator.is_valid(value)
            told = _wire.misfit(json.dumps(schema), json.dumps(value).encode())
            assert (told is None) is expected, f"case {case}: {schema} {value} {told}"
            both[expected] += 1
    assert min(both.values()) > CASES / 10


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_schema_of_a_published_document_is_a_schema_that_the_engine_reads(name: str):
    file = PACKAGES / name
    api = read_operations(read_document(file.read_bytes(), file.name))
    wanted = {
        number: Wanted(one, requests=True, answers=True)
        for number, one in enumerate(api.described.operations.values())
    }
    described = json.loads(describe(api.described, wanted))
    assert len(described["operations"]) == len(api.described.operations)
    for side in ("requests", "answers"):
        schema = {"$defs": described[side]}
        jsonschema.Draft202012Validator.check_schema(schema)
        assert _wire.misfit(json.dumps(schema), b"{}") is None


def test_an_answer_as_github_documents_it_fits_and_a_bent_one_does_not():
    file = PACKAGES / DOCUMENTS[0]
    document = read_document(file.read_bytes(), file.name)
    api = read_operations(document)
    one = api.described.operations["GET", "/repos/{}/{}/issues/{}"]
    described = json.loads(describe(api.described, {0: Wanted(one, requests=False, answers=True)}))
    schema = described["operations"]["0"]["answers"]["200"]["application/json"]["schema"]
    whole = json.dumps(schema | {"$defs": described["answers"]})
    answers: Any = document.follow(one.operation["responses"]["200"], ())
    content = answers["content"]["application/json"]
    first = next(iter(content["examples"].values()))
    example = dict(document.follow(document.follow(first, ())["value"], ()))
    example = example.get("value", example)
    assert _wire.misfit(whole, json.dumps(example).encode()) is None
    bent = example | {"number": "<script>"}
    assert _wire.misfit(whole, json.dumps(bent).encode()) == "body /number: `type` asks for integer"
