"""Schemas and answers that are made to keep a check busy: it ends in time, and others are served meanwhile."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.checked import DOCUMENT, Checked, checked, code_of

LEVELS = 40


def costly() -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    this = {"$ref": "#/components/schemas/Thread"}
    branch: dict[str, Any] = {"type": "object", "properties": {"x": this}}
    document["components"]["schemas"]["Person"] = {
        "type": "object",
        "properties": {
            "thread": {"$ref": "#/components/schemas/Thread"},
            "slow": {"type": "string", "pattern": "^(a+)+$"},
            "doubled": {"$ref": "#/components/schemas/Level0"},
            "one_of_many": {"enum": [f"v{number}" for number in range(50_000)]},
        },
    }
    document["components"]["schemas"]["Thread"] = {
        "anyOf": [branch | {"required": ["y"]}, branch | {"required": ["z"]}, {"type": "string"}]
    }
    for level in range(LEVELS):
        following = {"$ref": f"#/components/schemas/Level{level + 1}"}
        document["components"]["schemas"][f"Level{level}"] = {"anyOf": [following, following]}
    document["components"]["schemas"][f"Level{LEVELS}"] = {"type": "string"}
    return document


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    folder = tmp_path_factory.mktemp("bounds")
    with checked(folder, "schema: {responses: enforce}", costly()) as gate:
        yield gate


def thread(levels: int) -> Any:
    made: Any = {"leaf": 1}
    for _ in range(levels):
        made = {"x": made}
    return made


@pytest.mark.parametrize(
    "answer",
    [
        {"thread": thread(60)},
        {"slow": "a" * 500_000 + "!"},
        {"doubled": 1},
        {"one_of_many": "none of them"},
        {"more": [[number] for number in range(90_000)], "doubled": 1},
    ],
    ids=["alternatives within alternatives", "pattern", "doubling", "enum", "wide"],
)
def test_a_check_that_would_take_for_ever_ends(gate: Checked, answer: dict[str, Any]):
    begun = time.monotonic()
    refused = gate.answered(json.dumps(answer, separators=(",", ":")).encode())
    assert code_of(refused) == (502, "response_rejected")
    # Hours without bounds, so that this is no measurement.
    assert time.monotonic() - begun < 20
    assert gate.answered(b"{}").status_code == 200
