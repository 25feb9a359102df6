"""`tidegate protect`: what a provider would get, and which operations have a policy."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support import samples

from tidegate.cli import main
from tidegate.domain.call import ShapeRecord
from tidegate.store import Store

DECLARED = """version: 1
clients: {acme: {}}
consumers: {shop: {clients: [acme]}}
providers:
  crm:
    origin: https://api.crm.example
    auth: bearer
    operations: {PostPeople: POST /people, GetPerson: "GET /people/{id}", Delete: "DELETE /people/{id}"}
grants:
  - {consumer: shop, provider: crm, operations: [PostPeople, GetPerson]}
protection:
  - operations: [crm:PostPeople]
    purpose: sales
    fields:
      - {at: form email, category: contact.email, do: {mask: 4}}
      - {at: body $.email, category: contact.email, do: allow}
      - {at: form note, do: drop}
"""
FORM = (
    "POST https://api.crm.example/people\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"
)

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    (tmp_path / "tidegate.yaml").write_text(DECLARED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEGATE_HOME", str(tmp_path / "home"))

    def protect(*words: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(["protect", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return protect


def test_a_sample_is_shown_before_and_after(run: Run):
    code, out, _ = run("try", "-", stdin=f"{FORM}email=jane@example.com&note=hello\r\n".encode())
    assert code == 0
    (email,) = (line for line in out.splitlines() if line.startswith("form email"))
    assert "jane@example.com" in email
    assert "************.com" in email
    assert "mask: form email (contact.email)" in email
    (note,) = (line for line in out.splitlines() if line.startswith("form note"))
    assert "nothing" in note
    assert "goes out by protection[0], for sales" in out


def test_all_that_would_be_refused_is_shown_at_once(run: Run):
    code, out, _ = run("try", "-", stdin=f"{FORM}email=a&phone=1&fax=2".encode())
    assert code == 1
    assert out.count("refused") == 3
    assert "undeclared_field" in out


def test_a_body_alone_is_tried_for_a_named_operation(run: Run, tmp_path: Path):
    (tmp_path / "body.json").write_text('{"email": "jane@example.com"}\n')
    code, out, _ = run("try", "body.json", "--operation", "crm:PostPeople", "--json")
    assert (code, json.loads(out)["after"]["body"]) == (0, '{"email":"jane@example.com"}')


def test_what_has_no_policy_is_shown_to_be_weak(run: Run):
    code, out, _ = run("try", "-", stdin=b"GET /crm/people/7?a=1 HTTP/1.1\n\n")
    assert code == 0
    assert "no policy is for crm:GetPerson" in out


@pytest.mark.parametrize(
    ("words", "stdin", "said"),
    [
        (("try", "nowhere.http"), b"", "cannot be read"),
        (("try", "-"), b"", "the first line is not `METHOD URL`"),
        (("try", "-"), b"GET /x\nno field\n\n", "a header field is not"),
        (("try", "-", "--operation", "crm:Nothing"), b"", "no operation is called"),
        (("try", "-", "--operation", "nobody:X"), b"", "no provider `nobody`"),
        (("list", "nobody"), b"", "no provider `nobody`"),
    ],
)
def test_what_is_no_sample_is_told(run: Run, words: tuple[str, ...], stdin: bytes, said: str):
    code, _, err = run(*words, stdin=stdin)
    assert code == 1
    assert said in err


def test_a_sample_of_an_operation_that_is_not_there_is_refused(run: Run):
    code, out, _ = run("try", "-", stdin=b"PATCH https://api.crm.example/people\n\n")
    assert code == 1
    assert "unknown_operation" in out


def test_an_operation_whose_shapes_were_learned_is_shown_to_be_ready_for_a_draft(
    run: Run, tmp_path: Path
):
    seen = replace(
        samples.call(1),
        client="acme",
        provider="crm",
        operation="GetPerson",
        shapes=(ShapeRecord("query a", "string", 3, {}),),
    )
    (tmp_path / "home").mkdir(mode=0o700)
    with Store.open(f"sqlite:///{tmp_path}/home/tidegate.db") as store:
        store.calls.add([seen])
    lines = {line.split()[0]: line for line in run("list", "--all")[1].splitlines()}
    assert "none, shapes learned" in lines["crm:GetPerson"]
    assert "shapes" not in lines["crm:Delete"]
    rows = json.loads(run("list", "--all", "--json")[1])
    assert [row["operation"] for row in rows if row["shapes"]] == ["GetPerson"]


def test_operations_are_listed_with_their_policies(run: Run):
    code, out, err = run("list")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0
    assert "protection[0]" in lines["crm:PostPeople"]
    assert "contact.email" in lines["crm:PostPeople"]
    assert "none" in lines["crm:GetPerson"]
    assert "crm:Delete" not in lines
    assert "1 operation without a policy; `tidegate protect suggest` drafts them" in err
    rows = json.loads(run("list", "--all", "--json")[1])
    assert [(row["operation"], row["weak"]) for row in rows] == [
        ("PostPeople", False),
        ("GetPerson", True),
        ("Delete", True),
    ]
