"""`limits`: where every limit stands, as the running gateway says it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gate import home

from tidegate.app.control import Control, Question
from tidegate.cli import main

BUCKETS = [
    {"scope": "client", "name": "acme", "client": None, "amount": 600, "window_ms": 60_000,
     "burst": 600, "left": 12, "concurrency": None, "in_flight": 0, "refused": 3},
    {"scope": "consumer", "name": "shop", "client": "globex", "amount": None, "window_ms": None,
     "burst": None, "left": None, "concurrency": 20, "in_flight": 7, "refused": 0},
    {"scope": "grant", "name": "reads", "client": "acme", "amount": 150, "window_ms": 30_000,
     "burst": 10, "left": 0, "concurrency": 5, "in_flight": 5, "refused": 9},
]  # fmt: skip
QUOTAS = [
    {"provider": "stripe", "quota": "account", "connection": "con_1", "part": None, "model": "log",
     "describe": "100 in 1 s", "limit": 100, "used": 40, "left": 60, "reset_ms": 900,
     "closed_ms": None, "in_flight": 2, "waiting": 5, "queued": {"normal": 4, "batch": 1}, "client": "acme",
     "connection_name": "default"},
    {"provider": "github", "quota": "core", "connection": "con_2", "part": None, "model": "window",
     "describe": "5000 in 1 h", "limit": 5000, "used": 5000, "left": 0, "reset_ms": 120_000,
     "closed_ms": 61_000, "in_flight": 0, "waiting": 0, "queued": {}, "client": "globex",
     "connection_name": "bot"},
]  # fmt: skip


@pytest.fixture(autouse=True)
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    place = home(tmp_path)
    place.prepare()
    monkeypatch.setenv("TIDEGATE_HOME", str(place.data))
    control = Control(place.control)
    told = {"quotas": QUOTAS, "consumer_side": BUCKETS}
    control.answers("limits", Question, lambda _: told)
    control.start()
    yield
    control.stop()


def test_every_limit_is_shown_with_what_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["limits"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    quotas = (
        "stripe account 100 in 1 s, log acme default 100 40 60 900 ms 5 2",
        "github core 5000 in 1 h, window globex bot 5,000 5,000 0 closed 1 m 0 0",
    )
    assert all(row.split() in rows for row in quotas)
    assert ["client", "acme", "all", "600/m", "600", "12", "-", "3"] in rows
    assert ["consumer", "shop", "globex", "-", "-", "-", "7", "of", "20", "0"] in rows
    assert ["grant", "reads", "acme", "150/30s", "10", "0", "5", "of", "5", "9"] in rows


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["limits", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_is_what_the_gateway_says(capsys: pytest.CaptureFixture[str]):
    assert told(capsys) == {"quotas": QUOTAS, "consumer_side": BUCKETS}


def test_one_client_or_provider_can_be_asked_for(capsys: pytest.CaptureFixture[str]):
    acme = told(capsys, "--client", "acme")
    assert [one["name"] for one in acme["consumer_side"]] == ["acme", "reads"]
    assert [one["provider"] for one in acme["quotas"]] == ["stripe"]
    github = told(capsys, "--provider", "github")
    assert github["consumer_side"] == []
    assert [one["quota"] for one in github["quotas"]] == ["core"]
