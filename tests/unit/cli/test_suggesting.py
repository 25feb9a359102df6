"""`tidegate protect suggest` and `shapes` without traffic: of a document, or refused with what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DECLARED = """version: 1
clients: {acme: {}}
consumers: {shop: {clients: [acme]}}
providers:
  crm: {openapi: crm.json, origin: https://api.crm.example, auth: bearer}
  mail: {origin: https://mail.example, auth: bearer, operations: {Send: POST /send}, observe: true}
grants:
  - {consumer: shop, provider: crm, operations: [PostPeople, PutNote]}
"""
POLICY = """protection:
  - {operations: ["crm:PutNote"], purpose: notes}
"""
PERSON = {
    "properties": {
        "email": {"type": "string", "format": "email"},
        "x: y # z": {"type": "string"},
        "total": {"type": "number"},
    }
}


def operation(name: str, schema: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"operationId": name, "requestBody": {"content": content}, "responses": {}}


Ran = Callable[..., Any]


@pytest.fixture
def run(environment: Path, tidegate: Ran) -> Ran:
    document = {
        "openapi": "3.0.3",
        "info": {"title": "", "version": ""},
        "paths": {
            "/people": {"post": operation("PostPeople", PERSON), "put": operation("Put", PERSON)},
            "/notes": {"put": operation("PutNote", PERSON)},
        },
    }
    (environment / "crm.json").write_text(json.dumps(document))
    (environment / "tidegate.yaml").write_text(DECLARED + POLICY)
    return lambda *words: tidegate("protect", *words)


def test_a_document_alone_makes_a_draft_of_what_is_granted(run: Ran, tidegate: Ran):
    ended = run("suggest", "crm")
    assert ended.code == 0
    assert "drafted 1 policy" in ended.err
    assert '- operations: ["crm:PostPeople"]' in ended.out
    assert "crm:Put" not in ended.out.replace("crm:PostPeople", "")
    assert '{at: "body $.email", category: contact.email, do: allow}  # only in the' in ended.out
    assert """{at: "body $['x: y # z']", do: allow}""" in ended.out
    assert "purpose: TODO" in ended.out
    Path("draft.yaml").write_text(ended.out)
    Path("tidegate.yaml").write_text(DECLARED + POLICY + "include: [draft.yaml]\n")
    refused = tidegate("check")
    assert (refused.code, "put the purpose in the place of `TODO`" in refused.err) == (1, True)
    Path("draft.yaml").write_text(ended.out.replace("TODO", "sales"))
    assert tidegate("check").code == 0


def test_a_draft_is_written_to_a_new_file_alone(run: Ran):
    assert run("suggest", "crm:PostPeople", "--purpose", "sales", "--out", "draft.yaml").code == 0
    written = Path("draft.yaml").read_text()
    assert "purpose: sales\n" in written
    ended = run("suggest", "crm:PostPeople", "--out", "draft.yaml")
    assert (ended.code, "already" in ended.err) == (1, True)
    assert Path("draft.yaml").read_text() == written


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("suggest", "nobody"), "there is no provider `nobody`"),
        (("suggest", "crm:Nothing"), "no operation is called `Nothing`"),
        (("suggest", "crm:PutNote"), "each of these operations has a policy already"),
        (("suggest", "mail"), "`observe: true` at `providers.mail`"),
        (("suggest", "crm", "--client", "nobody"), "client `nobody` is not declared"),
        (("suggest", "crm", "--purpose", "To Sell"), "`To Sell` is not a dotted word"),
        (("suggest", "crm", "--out", "no/folder/draft.yaml"), "cannot be written"),
        (("shapes", "nobody"), "there is no provider `nobody`"),
        (("shapes", "--client", "nobody"), "client `nobody` is not declared"),
    ],
)
def test_what_cannot_be_drafted_is_told(run: Ran, words: tuple[str, ...], said: str):
    ended = run(*words)
    assert (ended.code, said in ended.err) == (1, True), ended.err


def test_there_are_no_shapes_where_nothing_was_observed(run: Ran):
    ended = run("shapes")
    assert (ended.code, "none" in ended.err) == (0, True)
    assert json.loads(run("shapes", "crm:PostPeople", "--json").out) == []
