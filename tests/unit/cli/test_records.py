"""`calls` and `usage`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tidegate.domain.call import CallRecord, Gap

NOW_MS = int(time.time() * 1000)
ALLOWED = CallRecord(
    id="01A",
    at_ms=NOW_MS,
    client="acme",
    consumer="shop",
    provider="ledger",
    operation="GET /v1/accounts",
    method="GET",
    decision="allow",
    rule="grants[0]",
    revision=1,
    outcome="ok",
    detail=None,
    status=200,
    provider_status=200,
    sent_bytes=0,
    received_bytes=2048,
    total_us=17_900,
    provider_us=16_000,
    steps_us={"route": 4},
    tls_version="1.3",
    tls_group="X25519MLKEM768",
    address="192.0.2.1:443",
    http="1.1",
    retries=0,
    token="tok_1",
    connection="con_1",
    query=("limit",),
)
DENIED = replace(
    ALLOWED,
    id="01B",
    client="globex",
    operation="POST /v1/transfers",
    method="POST",
    decision="deny",
    rule=None,
    outcome="denied",
    detail="Consumer `shop` has no grant.",
    status=403,
    provider_status=None,
    total_us=90,
)


@pytest.fixture
def recorded(tidegate, state):
    state.store.calls.add([ALLOWED, DENIED])
    return tidegate


def test_what_it_took_to_get_an_answer_stands_below_the_call(tidegate, state):
    more = {"retries": 2, "breaker": "opened", "failover": "https://us.ledger.test", "hedge": "won"}
    state.store.calls.add([replace(ALLOWED, **more)])
    _, below = tidegate("calls").out.splitlines()
    assert below.strip() == (
        "2 repeats, answered by https://us.ledger.test, second request won, breaker opened"
    )


def test_calls_stand_in_columns_and_a_refusal_says_why(recorded):
    first, second, why = recorded("calls").out.splitlines()
    assert re.split(r" {2,}", first)[1:] == [
        "ok", "200", "shop", "acme", "ledger", "GET /v1/accounts", "17.9 ms",
    ]  # fmt: skip
    assert first.index("ledger") == second.index("ledger")
    assert why.strip() == DENIED.detail


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["--client", "acme"], ["01A"]),
        (["--consumer", "shop"], ["01A", "01B"]),
        (["--provider", "mail"], []),
        (["--outcome", "denied"], ["01B"]),
        (["-n", "1"], ["01B"]),
    ],
)
def test_calls_are_filtered(recorded, words, ids):
    lines = recorded("calls", "--json", *words).out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids


def test_a_call_cannot_steer_the_terminal(tidegate, state):
    nasty = replace(DENIED, detail="\x1b[2J\x1b]0;pwned\x07 \u202egnp\n200 ok", operation="\x9b31m")
    state.store.calls.add([nasty])
    out = tidegate("calls").out
    assert not set(out) & set("\x1b\x07\x9b\u202e")
    assert "\\x1b[2J" in out
    assert len(out.splitlines()) == 2


def test_follow_goes_on_with_new_calls_until_it_is_interrupted(recorded, state):
    # A shell that runs the tests in the background has interrupts ignored, by all below it.
    with subprocess.Popen(
        [
            "env",
            "--default-signal=INT",
            sys.executable,
            "-m",
            "tidegate.cli",
            "calls",
            "--follow",
            "--json",
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert [json.loads(following.stdout.readline())["id"] for _ in range(2)] == ["01A", "01B"]
        state.store.calls.add([replace(ALLOWED, id="01C")])
        assert json.loads(following.stdout.readline())["id"] == "01C"
        following.send_signal(signal.SIGINT)
        assert following.wait(30) == 130


def test_usage_sums_by_client_provider_and_operation_and_tells_gaps(recorded, state):
    state.store.calls.add_gap(Gap(NOW_MS, NOW_MS - 50, 100, "the engine ended without closing"))
    ended = recorded("usage")
    lines = ended.out.splitlines()
    assert "acme    ledger    GET /v1/accounts        1   1        0       0" in lines[1]
    assert "2.0 KiB" in lines[1]
    assert "at most 100 calls" in ended.err
    told = json.loads(recorded("usage", "--since", "2h", "--json").out)
    assert [one["refused"] for one in told["usage"]] == [0, 1]
    assert told["gaps"][0]["events_max"] == 100


def test_usage_looks_back_only_so_far(recorded):
    assert json.loads(recorded("usage", "--since", "2999-01-01", "--json").out)["usage"] == []


def test_usage_says_what_stored_answers_would_have_cost(tidegate, state, environment):
    file = environment / "tidegate.yaml"
    priced = "auth: bearer\n    price: 0.002 EUR\n    prices: {'* /v1/accounts/*': 1.50 EUR}\n"
    file.write_text(file.read_text().replace("auth: bearer\n", priced))
    assert tidegate("apply").code == 0
    hit = replace(ALLOWED, cache="hit", provider_status=None)
    one = {"operation": "GET /v1/accounts/{id}"}
    calls = [
        ALLOWED,
        replace(hit, id="01B"),
        replace(hit, id="01C", cache="collapsed"),
        replace(hit, id="01D", **one),
        # Asked and confirmed, or in place of a provider that failed: nothing was saved.
        replace(ALLOWED, id="01E", cache="revalidated"),
        replace(hit, id="01F", cache="stale", detail="provider_unreachable: away"),
    ]
    state.store.calls.add(calls)
    told = json.loads(tidegate("usage", "--json").out)["usage"]
    assert [(row["saved"], row["worth"]) for row in told] == [
        (2, {"amount": "0.004", "currency": "EUR"}),
        (1, {"amount": "1.50", "currency": "EUR"}),
    ]
    assert tidegate("usage").out.splitlines()[-1] == "worth 1.504 EUR"
