"""`plan`, `apply`, `revisions` and `rollback`."""

from __future__ import annotations

import json
from pathlib import Path


def edit(folder: Path, old: str, new: str) -> None:
    file = folder / "tidegate.yaml"
    file.write_text(file.read_text().replace(old, new))


def test_plan_changes_nothing_and_exits_with_2_when_something_would(tidegate):
    for _ in range(2):
        ended = tidegate("plan")
        assert ended.code == 2
        assert "+ providers.ledger" in ended.out
        assert ended.out.endswith("6 changes from nothing applied yet\n")


def test_plan_exits_with_0_once_applied(applied):
    ended = applied("plan")
    assert (ended.code, ended.out) == (0, "0 changes from revision 1\n")


def test_plan_shows_what_stood_there_and_what_would(applied, environment: Path):
    edit(environment, '"GET *"', '"GET *", POST /v1/transfers')
    assert applied("plan").out == (
        "  ~ grants.shop → ledger.operations\n"
        "      - GET *\n"
        "      + GET *, POST /v1/transfers\n"
        "1 change from revision 1\n"
    )
    (change,) = json.loads(applied("plan", "--json").out)["changes"]
    assert (change["kind"], change["after"]) == ("changed", "GET *, POST /v1/transfers")


def test_of_a_thousand_new_operations_some_stand_for_all(applied, environment: Path):
    many = ", ".join(f"GET /v2/{number}" for number in range(1000))
    edit(environment, "POST /v1/transfers]", f"POST /v1/transfers, {many}]")
    ended = applied("plan")
    assert "988 more in providers.ledger.operations" in ended.out
    assert len(ended.out.splitlines()) < 40


def test_apply_makes_a_revision_only_of_something_new(applied, environment: Path):
    assert applied("apply").out == "nothing to change\n"
    edit(environment, "Acme GmbH", "Acme AG")
    assert applied("apply", "--note", "new name").out == "applied as revision 2\n"
    listed = json.loads(applied("revisions", "--json").out)
    assert [(one["number"], one["note"]) for one in listed] == [(1, ""), (2, "new name")]
    assert all(one["author"] and one["at"].endswith("+00:00") for one in listed)
    shown = applied("revisions", "show", "2").out
    assert "- Acme GmbH" in shown
    assert "+ Acme AG" in shown


def test_a_rollback_is_a_new_revision(applied, environment: Path):
    edit(environment, "Acme GmbH", "Acme AG")
    applied("apply")
    assert applied("rollback", "1").out == "applied revision 1 again, as revision 3\n"
    assert applied("rollback", "1").out.startswith("nothing to change")
    assert [one["number"] for one in json.loads(applied("revisions", "--json").out)] == [1, 2, 3]
    assert applied("plan").code == 2


def test_a_revision_without_an_author_name_still_has_one(tidegate, monkeypatch):
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("getpass.getuser", nameless)
    tidegate("apply")
    (only,) = json.loads(tidegate("revisions", "--json").out)
    assert only["author"].startswith("user ")
