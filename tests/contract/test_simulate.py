"""Loads are played by the engine's own limits and quotas, and come to what those promise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tidegate.domain.declaration import Client, Consumer, Declaration, Grant, Provider
from tidegate.domain.limit import Limit
from tidegate.domain.operation import Operation
from tidegate.domain.quota import Quota, QuotaQueue
from tidegate.engine import EngineError, ExplainRequest
from tidegate.engine.simulate import LoadPlayed, Played, simulate
from tidegate.snapshot import compile_snapshot

HOUR_MS = 3_600_000
ALL = (("*", 1),)
NAMES = ("acme", "globex", "initech")


def declared(*quotas: Quota, limit: Limit | None = None) -> Declaration:
    provider = Provider(
        "pay", "Pay", ("https://pay.example",), (), (Operation("Get", "GET", "/x"),), quotas=quotas
    )
    return Declaration(
        clients=tuple(map(Client, NAMES)),
        consumers=(Consumer("shop", NAMES, limit=limit),),
        providers=(provider,),
        grants=(Grant("shop", "pay", ("Get",), name="reads", call_class="interactive"),),
    )


def load(per_second: float, client: str = "acme", kind: str = "poisson", **more: Any) -> LoadPlayed:
    call = ExplainRequest("shop", "GET", "/pay/x", client=client)
    arrival: dict[str, Any] = {"kind": kind, "per_second": per_second}
    return LoadPlayed(call, arrival, **({"until_ms": HOUR_MS} | more))


def play(declaration: Declaration, *loads: LoadPlayed, ms: int = HOUR_MS, seed: int = 1) -> Played:
    snapshot = compile_snapshot(declaration, 1, (), ())
    return simulate(snapshot, loads, duration_ms=ms, seed=seed, begins=1_795_766_400)


def test_an_hour_at_ten_times_a_quota_uses_it_and_refuses_the_rest():
    quota = Quota("minute", "log", 600, ALL, window_ms=60_000, queue=QuotaQueue(10_000, 1_000))
    played = play(declared(quota), load(100))
    tally, (used,) = played.clients["acme"], played.quotas
    assert tally.asked == pytest.approx(360_000, rel=0.02)
    assert tally.asked == tally.sent + sum(tally.refused.values())
    assert 0.95 <= used.used / used.allowed <= 1
    assert tally.wait_p99_ms <= 10_001
    assert set(tally.refused) <= {"quota `pay.minute` too_late", "quota `pay.minute` room_full"}


def test_the_same_seed_gives_the_same_play_and_another_one_another():
    quota = Quota("minute", "gcra", 600, ALL, 60_000, 60, queue=QuotaQueue(5_000, 100))
    first, again, other = (play(declared(quota), load(12), seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert first.clients["acme"].asked != other.clients["acme"].asked


def test_one_client_with_ten_times_the_calls_gets_no_more_than_the_others():
    quota = Quota("app", "log", 600, ALL, 60_000, scope="provider", queue=QuotaQueue(30_000, 1_000))
    rates = dict(zip(NAMES, (200, 20, 20), strict=True))
    played = play(declared(quota), *(load(rate, name) for name, rate in rates.items()))
    shares = [played.clients[name].sent for name in NAMES]
    jain = sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
    assert jain >= 0.98, shares
    assert played.quotas[0].connection is None


def test_limits_of_consumers_refuse_by_their_own_name():
    played = play(declared(limit=Limit(1, 1_000)), load(4, kind="constant"))
    tally = played.clients["acme"]
    assert tally.asked == 14_400
    assert set(tally.refused) == {"consumer `shop`"}
    assert tally.sent == pytest.approx(3_600, abs=2)
    assert played.quotas == []


def test_calls_at_once_count_for_as_long_as_they_take():
    quota = Quota("q", "concurrency", 2, ALL, queue=QuotaQueue(60_000, 1_000))
    played = play(declared(quota), load(1, kind="constant", takes_ms=1_000), ms=600_000)
    (used,) = played.quotas
    assert used.used / used.allowed == pytest.approx(0.5, abs=0.02)
    assert played.clients["acme"].waited == 0


def test_what_is_urgent_waits_less_and_bursts_come_at_once():
    quota = Quota("q", "log", 60, ALL, 60_000, queue=QuotaQueue(600_000, 1_000))
    bursts: dict[str, Any] = {"kind": "bursts", "calls": 150, "every_ms": HOUR_MS}
    patient = replace(load(1, call_class="batch"), arrival=bursts)
    urgent = load(0.05, from_ms=1_000, call_class="interactive")
    played = play(declared(quota), patient, urgent, ms=300_000)
    assert played.loads[0].asked_in[0] == 150
    assert played.loads[1].wait_p50_ms < played.loads[0].wait_p99_ms
    assert len(played.quotas[0].used_percent_in) == 60
    assert sum(played.loads[0].sent_in) <= 60 * 5


def test_a_load_that_is_not_granted_is_named_and_nothing_is_played():
    stranger = LoadPlayed(
        ExplainRequest("nobody", "GET", "/pay/x"), {"kind": "constant", "per_second": 1.0}, 1_000
    )
    played = play(declared(), load(1), stranger)
    assert [(number, why.split(":")[0]) for number, why in played.refused] == [
        (1, "unauthenticated")
    ]
    assert played.clients == {}


def test_a_play_without_end_is_refused():
    with pytest.raises(EngineError, match="calls"):
        play(declared(), load(1_000_000, kind="constant"))
    with pytest.raises(EngineError):
        play(declared(), load(1), ms=0)
