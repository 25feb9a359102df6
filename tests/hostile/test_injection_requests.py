"""Requests that the API does not take: what a consumer that was taken over could make a provider believe.

The provider never sees them, and no value of theirs comes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.checked import Checked, checked, code_of

SECRET = "anna.s3cret@example.com"
ENFORCED = "schema: {requests: enforce, unknown: reject, body_max: 64KiB}"
REFUSED = (422, "schema_violation")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    with checked(tmp_path_factory.mktemp("requests"), ENFORCED) as gate:
        yield gate


def order(**changes: Any) -> dict[str, Any]:
    return {"item": "ABC-1", "quantity": 2} | changes


@pytest.mark.parametrize(
    "options",
    [
        {"json": order()},
        {"json": order(note=None, parts=[order()], labels={"any": "text"})},
        {"data": {"item": "ABC-1", "quantity": "2"}},
        {"json": order(), "params": {"dry_run": "true"}, "headers": {"X-Tier": "gold"}},
    ],
)
def test_what_the_document_says_passes(gate: Checked, options: dict[str, Any]):
    gate.provider.status = "201 Created"
    before = len(gate.provider.seen)
    assert gate.call("POST", "/orders", **options).status_code == 201
    assert len(gate.provider.seen) == before + 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"json": order(quantity=SECRET)}, "body /quantity: `type` asks for integer"),
        ({"json": order(quantity=100)}, "body /quantity: `exclusiveMaximum`"),
        ({"json": order(item=SECRET)}, "body /item: `pattern`"),
        ({"json": {"item": "ABC-1"}}, "body: `required` asks for `quantity`"),
        ({"json": order(**{SECRET: 1})}, "body: `additionalProperties`"),
        ({"json": order(parts=[order(labels={SECRET: 1})])}, "body /parts/0/labels/*: `type`"),
        ({"json": [SECRET]}, "body: `type` asks for object"),
        ({"data": {"item": "ABC-1", "quantity": SECRET}}, "body quantity: `type`"),
        ({"data": {"item": ["ABC-1", "ABC-2"], "quantity": "1"}}, "body item: `duplicate`"),
        ({"data": {"item": "ABC-1", "quantity": "1", SECRET: "1"}}, "body parameter 3: `unknown`"),
        ({"json": order(), "params": {"dry_run": SECRET}}, "query dry_run: `type`"),
        ({"json": order(), "params": {SECRET: "1"}}, "query parameter 1: `unknown`"),
        ({"json": order(), "params": [("dry_run", "true"), ("dry_run", "false")]}, "query dry_run: `duplicate`"),
        ({"json": order(), "headers": {"X-Tier": SECRET}}, "header x-tier: `enum`"),
        ({"content": b"", "headers": {"Content-Type": "application/json"}}, "body: `required`"),
        ({"content": SECRET.encode(), "headers": {"Content-Type": "text/plain"}}, "body: `content-type`"),
        ({"content": SECRET.encode()}, "body: `content-type`"),
    ],
)  # fmt: skip
def test_what_the_document_does_not_say_is_refused_by_place_and_not_by_value(
    gate: Checked, options: dict[str, Any], said: str
):
    before = len(gate.provider.seen)
    answer = gate.call("POST", "/orders", **options)
    assert code_of(answer) == REFUSED
    problem = answer.json()
    assert said in problem["detail"]
    assert problem["rule"] == "providers.there.schema.requests"
    assert "s3cret" not in answer.text
    assert len(gate.provider.seen) == before


@pytest.mark.parametrize(
    "body",
    [
        b'{"item":"ABC-1","quantity":1,"quantity":2}',
        b'{"item":"ABC-1","quantity":1,"\\u0071uantity":2}',
        b'\xef\xbb\xbf{"item":"ABC-1","quantity":1}',
        '{"item":"ABC-1","quantity":1}'.encode("utf-16"),
        b'{"item":"ABC-1","quantity":1} {}',
        b'{"item":"ABC-1","quantity":1,"note":"\\ud800"}',
        b'{"item":"ABC-1","quantity":01}',
        b'{"item":"ABC-1","quantity":NaN}',
        b"[" * 100_000,
        b'{"parts":' * 70 + b"1" + b"}" * 70,
        b" " * 70_000 + b"{}",
    ],
    ids=[
        "twice", "twice by escape", "mark", "utf-16", "more", "lone surrogate", "01", "NaN", "open",
        "deep", "large",
    ],
)  # fmt: skip
def test_json_that_two_parsers_read_differently_is_refused(gate: Checked, body: bytes):
    answer = gate.call(
        "POST", "/orders", content=body, headers={"Content-Type": "application/json"}
    )
    assert code_of(answer) == REFUSED


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json; charset=utf-7"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "application/json, text/plain"},
    ],
)
def test_a_body_that_says_it_is_read_in_another_way_is_refused(
    gate: Checked, headers: dict[str, str]
):
    answer = gate.call("POST", "/orders", content=b'{"item":"ABC-1","quantity":1}', headers=headers)
    assert code_of(answer) == REFUSED


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/people/7", 200),
        ("/people/7?expand=orders&expand=address&limit=50", 200),
        ("/people/7?expand[]=orders", 200),
        ("/people/x", 422),
        ("/people/1%20OR%201=1", 422),
        ("/people/7?limit=51", 422),
        ("/people/7?limit=1&limit=2", 422),
        ("/people/7?expand=secrets", 422),
        ("/people/7?limit[$gt]=1", 422),
    ],
)
def test_parameters_are_held_against_their_schemas(gate: Checked, path: str, status: int):
    gate.provider.status, gate.provider.body = "200 OK", b'{"id":7}'
    answer = gate.call("GET", path)
    assert answer.status_code == status
    assert status == 200 or code_of(answer) == REFUSED


def test_a_body_where_none_is_declared_is_refused(gate: Checked):
    answer = gate.call("GET", "/people/1", content=b"{}")
    assert code_of(answer) == REFUSED
