"""Requests and answers are held against the provider's document, reported or enforced, between real ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.checked import Checked, checked, code_of
from support.running import wait_until

from tidegate.app import load_declaration
from tidegate.domain.call import CallRecord
from tidegate.engine import ExplainRequest, explain
from tidegate.snapshot import compile_snapshot

PERSON = b'{"id":1,"name":"Ann","ssn":"078-05-1120","replies":[{"id":2,"ssn":"x"}]}'


@pytest.fixture(scope="module")
def reporting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    declared = (
        "schema: {requests: report, responses: report, unknown: reject}\n"
        '    answers: {mode: report, html: refuse, keep: ["$.id"]}'
    )
    with checked(tmp_path_factory.mktemp("report"), declared) as gate:
        yield gate


def record_of(gate: Checked, answer: httpx.Response) -> CallRecord:
    """The record of the call that was answered so."""
    calls, found = gate.passage.gateway.state.store.calls, list[CallRecord]()

    def is_there() -> bool:
        known = answer.headers["tidegate-call"]
        found[:] = [one for one in calls.recent().calls if one.id == known]
        return bool(found)

    wait_until(is_there)
    return found[0]


def test_what_is_only_reported_passes_as_it_came_and_is_on_record(reporting: Checked):
    body = b'{"id":"<b>", "id2":1}'
    reporting.provider.body = body
    answer = reporting.call("GET", "/people/x", params={"what": "1"})
    assert (answer.status_code, answer.content) == (200, body)
    assert "x-content-type-options" not in answer.headers
    record = record_of(reporting, answer)
    assert record.outcome == "ok"
    assert record.schema is not None
    for said in (
        "request query parameter 1: `unknown`",
        "answer body /id: `type` asks for integer",
        "answer body: `html`",
    ):
        assert said in record.schema
    assert "check" in record.steps_us


def test_a_large_answer_passes_where_it_is_only_reported(reporting: Checked):
    body = b'{"id":1,"a":"' + b"a" * 2_000_000 + b'"}'
    answer = reporting.answered(body)
    assert answer.content == body
    record = record_of(reporting, answer)
    assert "answer body: `bounds` asks for 1048576 bytes at most" in (record.schema or "")
    assert (record.outcome, record.received_bytes) == ("ok", len(body))


def test_a_minimised_answer_is_stored_so_and_hits_are_the_same(tmp_path: Path):
    declared = (
        'cache: {ttl: 1m}\n    answers: {keep: ["$.id", "$.name", "$.replies[*].id"], html: escape}'
    )
    with checked(tmp_path, declared) as gate:
        gate.provider.body = PERSON
        first, again = gate.call("GET", "/people/1"), gate.call("GET", "/people/1")
        for answer in (first, again):
            assert answer.json() == {"id": 1, "name": "Ann", "replies": [{"id": 2}]}
        assert "hit" in again.headers["cache-status"]
        assert len(gate.provider.seen) == 1
        # Errors are for somebody to read.
        gate.provider.status = "404 Not Found"
        assert gate.call("GET", "/people/2").json()["ssn"] == "078-05-1120"


def test_what_is_refused_is_not_stored(tmp_path: Path):
    with checked(tmp_path, "cache: {ttl: 1m}\n    schema: {responses: enforce}") as gate:
        assert code_of(gate.answered(b'{"id":"1"}')) == (502, "response_rejected")
        assert gate.answered(b'{"id":1}').json() == {"id": 1}
        assert gate.answered(b'{"id":2}').json() == {"id": 1}


def test_operations_of_which_nothing_is_declared_pass_as_they_did(tmp_path: Path):
    declared = "schema: {operations: {GetPerson: {requests: enforce, responses: enforce}}}"
    with checked(tmp_path, declared) as gate:
        gate.provider.body, gate.provider.media_type = b"<html>", "text/html"
        answer = gate.call("POST", "/orders?x=1", json={"any": 1})
        assert (answer.status_code, answer.content) == (200, b"<html>")
        assert "x-content-type-options" not in answer.headers
        assert code_of(gate.call("GET", "/people/x")) == (422, "schema_violation")


def test_events_are_not_held_back(tmp_path: Path):
    with checked(
        tmp_path, "answers: {types: [application/json, text/event-stream], html: escape}"
    ) as gate:
        answer = gate.answered(b"data: <b>\n\n", "text/event-stream")
        assert (answer.status_code, answer.content) == (200, b"data: <b>\n\n")


def test_explain_shows_what_a_call_is_held_against(reporting: Checked):
    declaration = load_declaration(reporting.passage.gateway.file)
    snapshot = compile_snapshot(
        declaration,
        1,
        reporting.passage.gateway.state.store.tokens.all(),
        reporting.passage.gateway.state.store.connections.all(),
    )
    told = explain(snapshot, ExplainRequest("app", "POST", "/there/orders"))
    lines = [step.detail for step in told.steps if step.step == "check"]
    assert "2 parameters, body `application/json`, `application/x-www-form-urlencoded`" in lines[0]
    assert "only `$.id` is passed on" in lines[2]


def test_a_snapshot_holds_only_the_schemas_that_are_checked_by(tmp_path: Path):
    with checked(tmp_path, "schema: {operations: {GetPerson: {responses: report}}}") as gate:
        (provider,) = load_declaration(gate.passage.gateway.file).providers
        assert provider.checking is not None
        described = json.loads(provider.checking.schemas)
        assert list(described["answers"]) == ["Person"]
        assert described["requests"] == {}
        assert len(described["operations"]) == 1
