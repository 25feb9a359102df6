"""Persons who were erased, named otherwise; names where none should be: neither gets out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.canaries import plant
from support.desk import Desk, desk
from support.servers import wait_until

from tidegate.cli import main

ADA = "ada.léontine-1815@example.com"
PHONE = "+49 30 1815-1852-77"
plant(ADA)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Ada was erased, by address and by number."""
    folder = tmp_path_factory.mktemp("subjects")
    with pytest.MonkeyPatch.context() as patch, desk(folder, patch) as made:
        for kind, identifier in (("email", ADA), ("phone", PHONE)):
            erase(made, folder / "whom.key", kind, identifier)
        yield made


def erase(scene: Desk, whom: Path, kind: str, identifier: str) -> None:
    whom.write_text(identifier)
    words = ("--client", "acme", "--from-file", str(whom), "--yes")
    assert main(("subject", "erase", kind, *words)) == 0
    wait_until(lambda: call(scene, [named(kind, identifier)]).status_code == 403)


def named(kind: str, identifier: str) -> str:
    return f"{kind}:" + "".join(f"%{byte:02X}" for byte in identifier.encode())


def call(scene: Desk, lines: list[str], *more: tuple[str, str], client: str = "acme"):
    subjects = [("Tidegate-Subject", line) for line in lines]
    head = [("Tidegate-Token", scene.installed.token), ("Tidegate-Client", client)]
    return httpx.post(
        f"{scene.running.url}/mailer/contacts",
        headers=[*head, *subjects, *more],
        json={},
        trust_env=False,
        timeout=20,
    )


def test_who_was_erased_is_found_under_any_spelling(scene: Desk):
    before = len(scene.provider.asked)
    apart = ADA.replace("é", "e\u0301")
    for lines in (
        [named("email", ADA)],
        [named("email", ADA.upper())],
        [named("email", f"  {ADA}\u00a0")],
        [named("email", apart)],
        ["email:ada.l%C3%A9ontine-1815@example.com"],
        ["email:%61da.l%c3%a9ontine-1815%40example.com"],
        ["customer:1", named("email", ADA)],
        [f"customer:1 ,, {named('email', ADA)}"],
        [f"email:grace@example.com,{named('email', ADA)}"],
        [named("phone", PHONE)],
        ["phone:+4930181518 5277"],
        ["phone:0049(30)1815185277"],
    ):
        answer = call(scene, lines)
        assert (answer.status_code, answer.json()["code"]) == (403, "suppressed"), lines
        assert "ontine" not in answer.text
        assert "1815185" not in answer.text
    assert len(scene.provider.asked) == before


def test_a_field_that_is_named_for_this_hop_alone_is_read_all_the_same(scene: Desk):
    before = len(scene.provider.asked)
    answer = call(scene, [named("email", ADA)], ("Connection", "tidegate-subject"))
    assert answer.json()["code"] == "suppressed"
    assert len(scene.provider.asked) == before


def test_what_cannot_be_read_is_refused_without_a_word_of_it(scene: Desk):
    before = len(scene.provider.asked)
    for lines in (
        ["email:zanzibar"],
        ["email:zanzibar@a@b"],
        ["Email:zanzibar@example.com"],
        ["email;zanzibar@example.com"],
        ["zanzibar"],
        ["customer:zanzibar%"],
        ["customer:zanzibar%zz"],
        ["customer:zanzibar%00"],
        ["customer:zanzibar%0d%0aTidegate-Subject:%20customer:2"],
        ["customer:zanzibar%ff%fe"],
        ["customer:" + "zanzibar" * 50],
        ["phone:zanzibar"],
        ["phone:+1"],
        [":zanzibar"],
        ["customer:1", "zanzibar"],
        [","],
        [""],
        [",".join(["customer:zanzibar"] * 17)],
        ["customer:1"] * 17,
    ):
        answer = call(scene, lines)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request"), lines
        assert "zanzibar" not in answer.text.lower()
    assert len(scene.provider.asked) == before


def test_neither_provider_nor_record_is_told_who_it_is(scene: Desk):
    whom = [named("email", ADA), "customer:c-1815-1852"]
    assert call(scene, whom, client="globex").status_code == 201
    assert call(scene, ["customer:c-1815-1852"]).status_code == 201
    scene.settle()
    for _, headers, body in scene.provider.asked:
        assert not [name for name in headers if name.startswith("tidegate")]
        assert "1815-1852" not in str((headers, body))
        assert "ontine" not in str(headers)
    with scene.installed.state() as state:
        records = [one for one in state.store.calls.recent(limit=1_000).calls if one.subjects]
    assert "c-1815-1852" not in str(records)
    of = {
        name: {index for one in records if one.client == name for index in one.subjects}
        for name in ("acme", "globex")
    }
    assert all(of.values())
    assert not of["acme"] & of["globex"], "one client's index says nothing of another's"
