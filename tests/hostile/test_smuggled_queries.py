"""Consumers that try to get data past the rules for a GraphQL request's variables: none reaches the provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.smuggling import SECRET, Scene, scene_under

POLICY = """
protection:
  - operations: ["there:POST /{name}"]
    purpose: sales
    fields:
      - {at: graphql id, do: allow}
      - {at: graphql $.input.email, category: contact.email, do: {mask: 2}}
      - {at: graphql $.input.note, do: allow}
      - {at: graphql (first), do: allow}
"""
MUTATION = "mutation M($input: In!) { make(input: $input) { id } }"
EMAIL = {"input": {"email": SECRET}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene_under(POLICY, tmp_path_factory.mktemp("queries")) as scene:
        yield scene


def post(scene: Scene, document: Any) -> httpx.Response:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return scene.post(content, {"Content-Type": "application/json"}, path="/graphql")


def queried(text: str, **more: Any) -> dict[str, Any]:
    return {"query": text} | more


def test_variables_go_by_their_rules_and_the_query_as_it_is(scene: Scene):
    before = len(scene.reader.seen)
    asked = queried(MUTATION, variables=EMAIL, operationName="M")
    assert post(scene, asked).status_code == 200
    sent = json.loads(scene.reader.seen[before].body)
    assert sent == asked | {"variables": {"input": {"email": "***********87"}}}
    assert post(scene, queried("{ people(first: 10) { id } }")).status_code == 200


REQUESTS: dict[str, Any] = {
    "a text": queried(f'{{ make(email: "{SECRET}") {{ id }} }}'),
    "a block of text": queried(f'{{ make(email: """{SECRET}""") {{ id }} }}'),
    "a text in an input object": queried(f'{{ make(input: {{email: "{SECRET}"}}) {{ id }} }}'),
    "a text in a list": queried(f'{{ make(emails: [["{SECRET}"]]) {{ id }} }}'),
    "a text of a directive": queried(f'{{ make @tag(name: "{SECRET}") {{ id }} }}'),
    "a variable's default": queried(f'query Q($id: ID = "{SECRET}") {{ make(id: $id) {{ id }} }}'),
    "a text in a fragment": queried(
        f'{{ ...F }} fragment F on Q {{ make(email: "{SECRET}") {{ id }} }}'
    ),
    "a text with an escape": queried('{ make(first: "\\u006aane.doe.1987") { id } }'),
    "a word": queried("{ make(name: jane_doe_1987) { id } }"),
    "a number": queried("{ make(born: 19870523) { id } }"),
    "a comment": queried(f"{{ make # {SECRET}\n {{ id }} }}"),
    "after the query": queried(f'{{ make {{ id }} }} "{SECRET}"'),
    "a description of a type": queried(f'{{ make {{ id }} }} """{SECRET}""" type T {{ a: Int }}'),
    "an operation that is not there": queried(MUTATION, operationName=SECRET),
    "an operation that is a list": queried(MUTATION, operationName=[SECRET]),
    "a variable without a rule": queried(MUTATION, variables={"name": SECRET}),
    "a variable in other letters": queried(MUTATION, variables={"ID": SECRET}),
    "variables as a text": queried(MUTATION, variables=json.dumps({"id": SECRET})),
    "variables as a list": queried(MUTATION, variables=[{"id": SECRET}]),
    "an extension": queried(MUTATION, extensions={"note": SECRET}),
    "another member": queried(MUTATION, note=SECRET),
    "a query that is persisted": {"extensions": {"persistedQuery": {"sha256Hash": SECRET}}},
    "a query by its name": {"id": SECRET, "variables": EMAIL},
    "two in a list": [queried("{ a }"), queried(f'{{ make(email: "{SECRET}") {{ id }} }}')],
    "one in a list": [queried(MUTATION, variables=EMAIL)],
    "a query twice": b'{"query":"{ a }","query":"{ make(email: \\"jane.doe.1987\\") { id } }"}',
    "variables twice": b'{"query":"{ a }","variables":{},"variables":{"name":"jane.doe.1987"}}',
    "a query that is no text": {"query": {"text": SECRET}},
    "no query but text": SECRET,
    "an argument twice": queried(f'{{ make(first: 1, first: "{SECRET}", last: "x") {{ id }} }}'),
    "in an argument that has a rule": queried(
        f'mutation M($input: In!) {{ make(input: $input, first: "{SECRET}") {{ id }} }}',
        variables=EMAIL,
    ),
    "in another variable": queried(
        MUTATION, variables={"input": {"email": SECRET, "note": SECRET}}
    ),
    "a query that is deep": queried("{a" * 200 + f'(email: "{SECRET}")' + "}" * 200),
    "a list that is deep": queried("{a(b:" + "[" * 50_000 + f'"{SECRET}"' + "]" * 50_000 + ")}"),
}


@pytest.mark.parametrize("trick", REQUESTS)
def test_a_trick_with_a_query_brings_nothing_to_the_provider(scene: Scene, trick: str):
    before = len(scene.reader.seen)
    answer = post(scene, REQUESTS[trick])
    assert answer.json()["code"] in {"undeclared_field", "unparseable"}
    assert len(scene.reader.seen) == before
    assert SECRET not in answer.text
