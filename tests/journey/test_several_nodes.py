"""Several gateways count a provider's quota together: real processes, a real store, a strict provider."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from support.servers import wait_until
from support.strict import bucket, log, strict
from support.valkey import Valkey, call_all, nodes, valkey

from tidegate.domain.limit import Limit
from tidegate.domain.quota import Quota, QuotaQueue

ALL = (("*", 1),)
SOON = QuotaQueue(wait_ms=5_000, length=1_000)


def at(server: Valkey, count: int) -> dict[str, object]:
    return {"nodes": count, "socket": str(server.socket)}


@pytest.mark.parametrize("count", [1, 2, 4])
def test_however_many_nodes_there_are_no_more_go_than_may(tmp_path: Path, count: int):
    quota = Quota("q", "log", 60, ALL, window_ms=3_600_000)
    with (
        valkey() as server,
        strict() as provider,
        nodes(tmp_path, provider.url, at(server, count), quota, count=count) as gateways,
    ):
        seen = call_all(gateways, 60, refused_max=10)
    assert provider.calls == 60
    assert sum(one[200] for one in seen) == 60


def test_one_node_may_use_what_others_do_not(tmp_path: Path):
    quota = Quota("q", "log", 60, ALL, window_ms=3_600_000)
    with (
        valkey() as server,
        strict() as provider,
        nodes(tmp_path, provider.url, at(server, 3), quota, count=3) as gateways,
    ):
        for gateway in gateways:
            assert gateway.call() == 200
        call_all(gateways[:1], 60, refused_max=60)
        assert provider.calls >= 57
        call_all(gateways, 60, refused_max=10)
    assert provider.calls == 60


@pytest.mark.parametrize(
    ("count", "quota", "least"),
    [
        (log(60, 2.0), Quota("q", "log", 60, ALL, window_ms=2_000, queue=SOON), 120),
        (bucket(20, 30), Quota("q", "bucket", 20, ALL, 1_000, restored=30, headroom=10), 100),
    ],
    ids=["log", "bucket"],
)
def test_a_strict_provider_refuses_no_call_of_three_nodes_and_is_used(
    tmp_path: Path, count: object, quota: Quota, least: int
):
    with (
        valkey() as server,
        strict(count) as provider,  # type: ignore[arg-type]
        nodes(tmp_path, provider.url, at(server, 3), quota, count=3) as gateways,
    ):
        seen = call_all(gateways, 6)
    assert provider.refused == 0
    assert provider.calls >= least
    assert all(one[200] >= least / 12 for one in seen), seen


def test_no_more_calls_are_open_through_all_nodes_than_may_be(tmp_path: Path):
    quota = Quota("q", "concurrency", 4, ALL, queue=SOON)
    with (
        valkey() as server,
        strict(at_once=4) as provider,
        nodes(tmp_path, provider.url, at(server, 2), quota) as gateways,
    ):
        provider.hold_s = 0.05
        call_all(gateways, 3, threads=6)
    assert provider.refused == 0
    assert provider.most_open == 4


def test_when_the_store_is_killed_nothing_is_overstepped_and_shares_are_used(tmp_path: Path):
    quota = Quota("q", "log", 80, ALL, window_ms=2_000)
    with (
        valkey() as server,
        strict(log(80, 2.0)) as provider,
        nodes(tmp_path, provider.url, at(server, 2), quota) as gateways,
    ):
        call_all(gateways, 3)
        server.kill()
        before = provider.calls
        call_all(gateways, 8)
        assert provider.refused == 0
        assert provider.calls - before >= 0.8 * 80 * 4
        for gateway in gateways:
            assert gateway.shared["state"] == "lost"
            assert gateway.shared["reason"]
        server.start()
        wait_until(lambda: all(gateway.shared["settled"] for gateway in gateways))
        call_all(gateways, 4)
    assert provider.refused == 0


def test_a_store_that_hangs_holds_no_call_for_longer_than_a_second(tmp_path: Path):
    quota = Quota("q", "log", 10_000, ALL, window_ms=60_000)
    with (
        valkey() as server,
        strict() as provider,
        nodes(tmp_path, provider.url, at(server, 2), quota) as gateways,
    ):
        assert gateways[0].call() == 200
        server.send(signal.SIGSTOP)
        began = time.monotonic()
        statuses = [gateways[0].call() for _ in range(50)]
        took = time.monotonic() - began
        wait_until(lambda: gateways[0].shared["state"] == "lost")
        server.send(signal.SIGCONT)
        wait_until(lambda: gateways[0].shared["state"] == "connected")
    assert set(statuses) == {200}
    assert took < 5


def test_a_restarted_node_does_not_forget_what_it_took(tmp_path: Path):
    quota = Quota("q", "log", 40, ALL, window_ms=3_600_000)
    with valkey() as server, strict() as provider:
        with nodes(tmp_path / "a", provider.url, at(server, 1), quota, count=1) as gateways:
            for _ in range(30):
                assert gateways[0].call() == 200
        with nodes(tmp_path / "b", provider.url, at(server, 1), quota, count=1) as gateways:
            call_all(gateways, 60, refused_max=10)
    assert provider.calls == 40


def test_a_calendar_quota_is_counted_over_nodes_and_over_a_store_that_forgets(tmp_path: Path):
    quota = Quota("q", "calendar", 40, ALL)
    with (
        valkey() as server,
        strict() as provider,
        nodes(tmp_path, provider.url, at(server, 2), quota) as gateways,
    ):
        for gateway in gateways:
            for _ in range(10):
                assert gateway.call() == 200
        server.kill()
        server.start()
        wait_until(lambda: all(gateway.shared["settled"] for gateway in gateways))
        call_all(gateways, 60, refused_max=40)
    assert provider.calls == 40


def test_a_consumers_rate_is_one_for_all_nodes(tmp_path: Path):
    an_hours = Limit(60, window_ms=3_600_000)
    with (
        valkey() as server,
        strict() as provider,
        nodes(tmp_path, provider.url, at(server, 3), count=3, limit=an_hours) as gateways,
    ):
        seen = call_all(gateways, 60, refused_max=10)
        left = gateways[0].told()["consumer_side"][0]["left"]
    # Within the seconds that this takes, one more may come back: one a minute.
    assert 60 <= provider.calls <= 61
    assert sum(one[200] for one in seen) == provider.calls
    assert left == 0


def test_a_consumers_rate_is_used_by_whichever_node_is_called(tmp_path: Path):
    quick = Limit(50, burst=20)
    with (
        valkey() as server,
        strict() as provider,
        nodes(tmp_path, provider.url, at(server, 3), count=3, limit=quick) as gateways,
    ):
        began = time.monotonic()
        call_all(gateways, 2)
        before = provider.calls
        call_all(gateways[:1], 3)
        took = time.monotonic() - began
    assert provider.calls <= 20 + 50 * took
    assert provider.calls - before >= 0.8 * 50 * 3


def test_a_consumer_has_no_more_calls_under_way_through_all_nodes_than_it_may(tmp_path: Path):
    with (
        valkey() as server,
        strict() as provider,
        nodes(tmp_path, provider.url, at(server, 2), limit=Limit(concurrency=4)) as gateways,
    ):
        provider.hold_s = 0.05
        seen = call_all(gateways, 3, threads=6)
    assert provider.most_open == 4
    assert all(one[200] for one in seen)


def test_while_the_store_is_away_each_node_has_its_share_of_a_limit_and_one_call_at_least(
    tmp_path: Path,
):
    small = Limit(4, window_ms=3_600_000)
    with (
        valkey() as server,
        strict() as provider,
        nodes(
            tmp_path, provider.url, at(server, 8), count=2, settled=False, limit=small
        ) as gateways,
    ):
        wait_until(lambda: all(gateway.shared["state"] == "connected" for gateway in gateways))
        server.kill()
        wait_until(lambda: all(gateway.shared["state"] == "lost" for gateway in gateways))
        seen = call_all(gateways, 30, refused_max=4)
    assert [one[200] for one in seen] == [1, 1]
    assert provider.calls == 2
