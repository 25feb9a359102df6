"""`tidegate rotate` replaces a key by hook or by hand, and `tidegate credentials` says which are due."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tidegate.app import Home, Services, load_declaration, services
from tidegate.cli.failures import exit_code_of
from tidegate.domain.rotation import RotationState
from tidegate.domain.secret import Secret
from tidegate.sandbox import KeyServer

from .test_rotation import declared

Installed = Callable[[KeyServer, str], Services]


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer() as started:
        yield started


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    data, key = tmp_path / "data", tmp_path / "keys" / "root.key"
    monkeypatch.setenv("TIDEGATE_HOME", str(data))
    monkeypatch.setenv("TIDEGATE_ROOT_KEY_FILE", str(key))
    home = Home(data, key, f"sqlite:///{data}/tidegate.db")
    with services(home) as state:

        def make(server: KeyServer, text: str) -> Services:
            file = tmp_path / "tidegate.yaml"
            file.write_text(text)
            state.make_root_key()
            declaration = load_declaration(file)
            state.apply(declaration, author="test", note="")
            for name, value in (("default", server.make().value), ("admin", server.manager)):
                fields = {"token": Secret(value)}
                state.connections.connect(declaration, "api", "acme", name, fields, {})
            return state

        yield make


def text_for(server: KeyServer, folder: Path, rotation: str) -> str:
    ca = folder / "ca.pem"
    ca.write_text(server.ca_pem)
    return declared(server, ca, rotation)


def test_by_hook_until_the_overlap_runs(
    install: Installed, server: KeyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    state = install(server, text_for(server, tmp_path, "overlap_class: A"))
    (old,) = server.alive()
    words = ["rotate", "api", "--client", "acme"]
    assert exit_code_of(words) == 0
    said = capsys.readouterr()
    for word in ("created", "tested", "promoted", "draining", "revoked", "done"):
        assert word in said.out
    (alive,) = server.alive()
    assert alive.id != old.id
    assert alive.value not in said.out + said.err
    (row,) = state.store.rotations.all()
    assert row.state is RotationState.DONE


def test_by_hand_with_a_key_from_a_file(
    install: Installed, server: KeyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    text = text_for(server, tmp_path, "overlap_class: D").replace(
        "rotate_every: 30d", "steps: [Open it.]"
    )
    state = install(server, text)
    mine = server.make("by a person")
    file = tmp_path / "key"
    file.write_text(f"{mine.value}\n")
    words = ["rotate", "api", "--client", "acme"]
    assert exit_code_of([*words, "--from-file", str(file)]) == 0
    file.unlink()
    said = capsys.readouterr()
    assert "1. Open it." in said.err
    assert "end the old key" in said.err
    assert "--confirm" in said.err
    assert mine.value not in said.out + said.err
    connection = state.store.connections.find("acme", "api", "default")
    assert connection is not None
    assert state.vault.open(connection)["token"].reveal() == mine.value.encode()
    assert exit_code_of([*words, "--confirm"]) == 0
    (row,) = state.store.rotations.all()
    assert row.state is RotationState.DONE
    assert state.store.sealed.versions(connection.id) == (2,)
    assert exit_code_of([*words, "--confirm"]) == 1


def test_a_credential_that_was_only_entered_is_overdue_until_it_is_rotated(
    install: Installed, server: KeyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    install(server, text_for(server, tmp_path, "overlap_class: A"))
    assert exit_code_of(["credentials", "--json"]) == 1
    printed = capsys.readouterr()
    assert not printed.err, printed.err[-900:]
    found = json.loads(printed.out)
    assert {one["due"] for one in found} == {"overdue"}
    assert exit_code_of(["rotate", "api", "--client", "acme"]) == 0
    capsys.readouterr()
    exit_code_of(["credentials", "--json"])
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert (found["default"]["due"], found["default"]["age_days"]) == ("ok", 0)
    assert (found["default"]["class"], found["default"]["age_max_days"]) == ("A", 90)
    assert found["admin"]["due"] == "overdue"
    assert exit_code_of(["credentials"]) == 1
    assert "overdue" in capsys.readouterr().out
