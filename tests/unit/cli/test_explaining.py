"""`explain`: the engine's own decision, without a call."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def connected(applied, process):
    process("connect", "ledger", "--client", "acme", given=b"lk_1")
    return applied


def test_an_allowed_call_shows_each_step_and_the_grant(connected):
    ended = connected("explain", "shop", "get", "/ledger/v1/accounts?limit=3", "--client", "acme")
    assert ended.code == 0
    steps = [line.split()[0] for line in ended.out.splitlines() if " pass " in line]
    assert steps == [
        "listen",
        "authenticate",
        "route",
        "decide",
        "protect",
        "dial",
        "attach",
        "forward",
    ]
    assert ended.out.endswith("allowed by grants[0], to https://api.ledger.test\n")


def test_a_refused_call_shows_the_step_that_refuses_and_the_problem(connected):
    words = ("explain", "shop", "POST", "https://api.ledger.test/v1/transfers", "--client", "acme")
    ended = connected(*words)
    assert ended.code == 1
    assert "refuse" in ended.out
    assert ended.out.endswith("refused with 403 denied\n")
    told = json.loads(connected(*words, "--json").out)
    assert (told["allowed"], told["outcome"]) == (False, "denied")
    assert told["steps"][-1]["step"] == "decide"


def test_quotas_take_their_part_and_the_grant_still_is_what_allows(connected, environment):
    file = environment / "tidegate.yaml"
    quota = "    quotas: {account: {amount: 100, window: 1m, model: gcra}}\n"
    file.write_text(file.read_text().replace("  ledger:\n", "  ledger:\n" + quota))
    assert connected("apply").code == 0
    ended = connected("explain", "shop", "get", "/ledger/v1/accounts", "--client", "acme")
    assert "costs 1 of quota `account`" in ended.out
    assert ended.out.endswith("allowed by grants[0], to https://api.ledger.test\n")
