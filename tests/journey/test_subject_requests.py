"""Somebody asks what was sent about them, and to be forgotten: from the consumer's call to the evidence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.canaries import plant
from support.desk import Desk, desk
from support.servers import wait_until

from tidegate.cli import main

ADA = "ada.lovelace-1815@example.com"
GRACE = "grace.hopper-1906@example.com"
plant(ADA)
plant(GRACE)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with desk(tmp_path, monkeypatch) as made:
        yield made


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main(words)
    return code, capsys.readouterr().out


def by_file(folder: Path, identifier: str) -> tuple[str, str]:
    file = folder / "whom.key"
    file.write_text(identifier)
    return "--from-file", str(file)


def test_what_was_sent_about_somebody_is_found_by_any_spelling(
    scene: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    assert scene.send(f"email:{ADA}", body={"email": "x"}).status_code == 201
    assert scene.send(f"email:{ADA.upper()}", "/plain/notes").status_code == 201
    assert scene.send(f"email:{GRACE}").status_code == 201
    assert scene.send(None).status_code == 201
    scene.settle()
    words = ("--client", "acme", *by_file(tmp_path, f"  {ADA.title()}\n"))
    code, out = asked(capsys, "subject", "find", "email", *words, "--json")
    assert code == 0
    found = json.loads(out)
    assert [(one["provider"], one["operation"], one["count"]) for one in found["sent"]] == [
        ("mailer", "AddContact", 1),
        ("plain", "AddPlain", 1),
    ]
    assert ADA not in out


def test_the_header_goes_no_further(scene: Desk):
    scene.send(f"email:{ADA}, customer:c-%2C1")
    (_, headers, _) = scene.provider.asked[0]
    assert not [name for name in headers if name.startswith("tidegate-")]
    assert ADA not in str(headers)


def test_erasing_asks_those_alone_that_were_sent_something(
    scene: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    scene.send(f"email:{ADA}")
    scene.send(f"email:{ADA}", "/plain/notes")
    scene.send(f"email:{GRACE}", "/other/o/contacts")
    scene.settle()
    evidence = tmp_path / "evidence.json"
    words = ("email", "--client", "acme", *by_file(tmp_path, ADA))
    code, out = asked(capsys, "subject", "erase", *words)
    assert code == 0
    assert "would ask" in out
    assert not scene.provider.bodies("/forget"), "without --yes nobody is asked"
    code, out = asked(capsys, "subject", "erase", *words, "--yes", "--to", str(evidence))
    assert code == 1, "one provider has to be asked by hand"
    (body,) = scene.provider.bodies("/forget")
    assert json.loads(body) == {"who": {"email": ADA}}
    assert not scene.provider.bodies("/o/forget"), "it was never sent anything about Ada"
    document = json.loads(evidence.read_text())
    outcomes = {step["provider"]: step["outcome"] for step in document["providers"]}
    assert outcomes == {"mailer": "erased", "plain": "by_hand"}
    assert "dpo@plain.example" in evidence.read_text()
    assert hashlib.sha256(evidence.read_bytes()).hexdigest() in out
    with scene.installed.state() as state:
        (call,) = [s["call"] for s in document["providers"] if s["call"]]
        wait_until(lambda: call in {one.id for one in state.store.calls.recent(limit=100).calls})
        record = next(one for one in state.store.calls.recent(limit=100).calls if one.id == call)
        assert (record.consumer, record.client) == ("privacy-desk", "acme")
        assert all(
            token.revoked_at for token in state.tokens.list() if token.consumer == "privacy-desk"
        )


def test_after_it_nothing_more_is_sent_until_somebody_lifts_it(
    scene: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    scene.send(f"email:{ADA}")
    scene.settle()
    words = ("email", "--client", "acme", *by_file(tmp_path, ADA))
    assert asked(capsys, "subject", "erase", *words, "--yes")[0] == 0
    wait_until(lambda: scene.send(f"email:{ADA}").status_code == 403)
    refused = scene.send(f"email:{GRACE},email:{ADA}")
    problem = refused.json()
    assert (problem["code"], problem["rule"]) == ("suppressed", "clients.acme.suppressed")
    assert ADA not in refused.text
    assert scene.send(f"email:{GRACE}").status_code == 201
    assert scene.send(f"email:{ADA}", client="globex").status_code == 201, "another client's"
    assert asked(capsys, "subject", "lift", *words)[0] == 0
    wait_until(lambda: scene.send(f"email:{ADA}").status_code == 201)
    _, out = asked(capsys, "subject", "requests", "--client", "acme", "--json")
    assert [one["act"] for one in json.loads(out)] == ["erase", "lift"]


def test_a_client_that_reports_lets_it_through_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with desk(tmp_path, monkeypatch, acme=", suppressed: report") as scene:
        scene.send(f"email:{ADA}")
        scene.settle()
        words = ("email", "--client", "acme", *by_file(tmp_path, ADA))
        assert asked(capsys, "subject", "erase", *words, "--yes")[0] == 0

        def reported() -> bool:
            assert scene.send(f"email:{ADA}").status_code == 201
            scene.settle()
            with scene.installed.state() as state:
                recent = state.store.calls.recent(limit=100).calls
            return any("suppressed" in (one.detail or "") for one in recent)

        wait_until(reported)


@pytest.mark.parametrize(("status", "outcome"), [(404, "nothing_there"), (500, "failed")])
def test_what_the_provider_says_is_what_the_evidence_says(
    scene: Desk,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    status: int,
    outcome: str,
):
    scene.provider.forgets = status
    scene.send(f"email:{ADA}")
    scene.settle()
    words = ("email", "--client", "acme", *by_file(tmp_path, ADA))
    code, _ = asked(capsys, "subject", "erase", *words, "--yes")
    assert code == (1 if outcome == "failed" else 0)
    _, out = asked(capsys, "subject", "requests", "--client", "acme", "--json")
    (request,) = json.loads(out)
    (step,) = json.loads(request["document"])["providers"]
    assert (step["outcome"], step["status"]) == (outcome, status)


def test_evidence_that_was_altered_is_not_shown_as_evidence(
    scene: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    import sqlite3

    words = ("email", "--client", "acme", *by_file(tmp_path, ADA))
    assert asked(capsys, "subject", "erase", *words, "--yes")[0] == 0
    _, out = asked(capsys, "subject", "requests", "--client", "acme", "--json")
    id_ = json.loads(out)[0]["id"]
    assert asked(capsys, "subject", "evidence", id_, "--client", "globex")[0] == 1
    assert asked(capsys, "subject", "evidence", id_, "--client", "acme")[0] == 0
    with sqlite3.connect(scene.installed.database) as database:
        database.execute(
            "UPDATE subject_requests SET document = replace(document, 'erase', 'lift')"
        )
    assert asked(capsys, "subject", "evidence", id_, "--client", "acme")[0] == 1
