"""Calls are held to what their provider allows: strict providers, real sockets, several workers."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.gate import Gate, gate, provider_at
from support.strict import Strict, bucket, log, strict, window

from tidegate.domain.declaration import Client, Consumer, Provider
from tidegate.domain.quota import Quota, QuotaQueue, QuotaSettlement

ALL = (("*", 1),)
SOON = QuotaQueue(wait_ms=5_000, length=1_000)


def asked_of(provider: Strict, *quotas: Quota, **changes: object) -> Provider:
    return provider_at(
        provider.url, "there", allow_private=("127.0.0.0/8",), quotas=quotas, **changes
    )


@contextmanager
def held_to(folder: Path, provider: Strict, *quotas: Quota, workers: int = 2) -> Iterator[Gate]:
    with gate(folder, provider.url, workers=workers) as gateway:
        gateway.declare(asked_of(provider, *quotas))
        yield gateway


def call(gateway: Gate, client: httpx.Client | None = None, **headers: str) -> httpx.Response:
    """Call; again where a machine that has no time to spare sheds the call (503)."""
    send = client.get if client else httpx.get
    extra = {} if client else {"trust_env": False, "timeout": 30}
    sent = {"Tidegate-Token": gateway.token} | {n.replace("_", "-"): v for n, v in headers.items()}
    while True:
        answer = send(f"{gateway.url}/there/x", headers=sent, **extra)  # type: ignore[arg-type]
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return answer
        time.sleep(0.01)


def call_for(
    gateway: Gate, seconds: float, threads: int = 8, refused_max: int = 1_000_000
) -> Counter[int]:
    """Call as fast as it goes, for so long or until so many are refused; the statuses that came."""
    ready = threading.Barrier(threads)

    def calls(_: int) -> Counter[int]:
        seen: Counter[int] = Counter()
        with httpx.Client(trust_env=False, timeout=30) as client:
            ready.wait(60)
            until = time.monotonic() + seconds
            while time.monotonic() < until and seen[429] < refused_max:
                seen[call(gateway, client).status_code] += 1
        return seen

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(calls, range(threads)), Counter[int]())


def until_queued(gateway: Gate, name: str, cost: int) -> None:
    """Wait until calls of a class wait for so much."""
    deadline = time.monotonic() + 20
    while not any(one["queued"][name] >= cost for one in gateway.engine.limits()["quotas"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("count", "quota", "least"),
    [
        (log(50, 1.0), Quota("q", "log", 50, ALL, window_ms=1_000, queue=SOON), 130),
        (log(50, 1.0), Quota("q", "gcra", 50, ALL, 1_000, 5, headroom=40, queue=SOON), 50),
        (window(50, 2.0), Quota("q", "window", 50, ALL, 2_000, anchor="clock", queue=SOON), 50),
        (bucket(20, 30), Quota("q", "bucket", 20, ALL, 1_000, restored=30, headroom=10, queue=SOON), 80),
    ],
    ids=["log", "gcra", "window", "bucket"],
)  # fmt: skip
def test_a_strict_provider_refuses_no_call_and_what_it_allows_is_used(
    tmp_path: Path, count: Any, quota: Quota, least: int
):
    with strict(count) as provider, held_to(tmp_path, provider, quota) as gateway:
        seen = call_for(gateway, 3)
    assert provider.refused == 0
    assert provider.calls >= least
    assert set(seen) == {200}


@pytest.mark.parametrize("workers", [1, 4, 8])
def test_however_many_workers_there_are_no_more_go_than_may(tmp_path: Path, workers: int):
    quota = Quota("q", "log", 40, ALL, window_ms=3_600_000)
    with strict() as provider, held_to(tmp_path, provider, quota, workers=workers) as gateway:
        seen = call_for(gateway, 60, refused_max=5)
    assert (provider.calls, seen[200]) == (40, 40)
    assert seen[429] > 0


def test_no_more_calls_are_open_than_may_be_until_their_last_byte_has_passed(tmp_path: Path):
    quota = Quota("q", "concurrency", 3, ALL, queue=SOON)
    with strict(at_once=3) as provider, held_to(tmp_path, provider, quota) as gateway:
        provider.hold_s = 0.05
        seen = call_for(gateway, 1.5, threads=12)
    assert (provider.refused, provider.most_open) == (0, 3)
    assert set(seen) == {200}


def test_a_refused_call_is_told_the_limit_and_when_to_come_again(tmp_path: Path):
    quota = Quota("hourly", "log", 1, ALL, window_ms=3_600_000)
    with strict() as provider, held_to(tmp_path, provider, quota) as gateway:
        assert call(gateway).status_code == 200
        answer = call(gateway)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (429, "quota_exceeded")
    assert problem["violated-policies"] == ["hourly"]
    assert answer.headers["RateLimit-Policy"] == '"hourly";q=1;w=3600'
    left = re.fullmatch(r'"hourly";r=0;t=(\d+)', answer.headers["RateLimit"])
    assert left is not None
    assert int(left[1]) <= int(answer.headers["Retry-After"]) <= 3_605
    assert answer.headers["Tidegate-Throttle"] == "gateway;scope=quota"
    assert provider.calls == 1


def test_calls_in_a_queue_get_on_as_quota_comes_and_are_recorded_with_their_wait(tmp_path: Path):
    quota = Quota("q", "log", 1, ALL, window_ms=400, queue=SOON)
    with strict() as provider, held_to(tmp_path, provider, quota) as gateway:
        began = time.monotonic()
        with ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(lambda _: call(gateway), range(3)))
        took = time.monotonic() - began
        records: list[dict[str, Any]] = []
        while len(records) < 3:
            batch = gateway.engine.events(10, 20)
            assert batch.lines
            records += map(json.loads, batch.lines)
            gateway.engine.acknowledge(batch.cursor)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert took >= 0.8
    assert sorted(record["quota"] for record in records) == ["at_once", "waited", "waited"]
    assert max(record["wait_ms"] for record in records) >= 400
    assert {record["cost"] for record in records} == {1}


def test_a_call_that_would_wait_too_long_is_refused_at_once_and_one_that_did_on_time(
    tmp_path: Path,
):
    hopeless = Quota("q", "log", 1, ALL, window_ms=60_000, queue=QuotaQueue(1_000, 10))
    unknown = Quota("q", "concurrency", 1, ALL, queue=QuotaQueue(500, 10))
    with strict() as provider, held_to(tmp_path, provider, hopeless) as gateway:
        assert call(gateway).status_code == 200
        began = time.monotonic()
        answer = call(gateway)
        assert time.monotonic() - began < 0.5
        assert answer.json()["code"] == "queue_timeout"
        assert int(answer.headers["Retry-After"]) >= 58

        gateway.declare(replace(asked_of(provider, unknown), name="there"))
        provider.hold_s = 2
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(call, gateway)
            time.sleep(0.3)
            began = time.monotonic()
            late = call(gateway)
            took = time.monotonic() - began
            assert first.result().status_code == 200
    assert late.json()["code"] == "queue_timeout"
    assert 0.45 <= took < 1.5


def test_a_consumer_that_leaves_gives_its_place_to_the_next(tmp_path: Path):
    quota = Quota("q", "concurrency", 1, ALL, queue=QuotaQueue(10_000, 10))
    with strict() as provider, held_to(tmp_path, provider, quota) as gateway:
        provider.hold_s = 0.5
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(call, gateway)
            time.sleep(0.2)
            leaving = socket.create_connection(("127.0.0.1", gateway.port))
            head = f"GET /there/x HTTP/1.1\r\nHost: x\r\nTidegate-Token: {gateway.token}\r\n\r\n"
            leaving.sendall(head.encode())
            time.sleep(0.1)
            assert gateway.engine.limits()["quotas"][0]["queued"]["normal"] == 1
            leaving.close()
            second = pool.submit(call, gateway)
            assert (first.result().status_code, second.result().status_code) == (200, 200)
        deadline = time.monotonic() + 5
        while gateway.engine.limits()["quotas"][0]["in_flight"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert gateway.engine.limits()["quotas"][0]["left"] == 1
    assert provider.calls == 2


def test_a_refusal_by_the_provider_closes_its_quota_and_no_other(tmp_path: Path):
    quota = Quota("q", "log", 100, ALL, window_ms=60_000)
    with strict(log(1, 3_600)) as provider, gate(tmp_path, provider.url) as gateway:
        other = replace(asked_of(provider, quota), name="other")
        gateway.declare(asked_of(provider, quota), other)
        provider.headers = lambda: {"Retry-After": "30"}
        assert call(gateway).status_code == 200
        refused = call(gateway)
        assert (refused.status_code, refused.json()) == (429, {"error": "limit"})
        held = call(gateway)
        assert held.json()["code"] == "quota_exceeded"
        assert 30 <= int(held.headers["Retry-After"]) <= 33
        # The same server by another provider's name is asked all the same.
        assert gateway.call("/other/x").json() == {"error": "limit"}
    assert provider.calls == 3


def test_a_call_that_never_left_gives_back_what_it_took(tmp_path: Path):
    quota = Quota("q", "log", 5, ALL, window_ms=3_600_000)
    with socket.socket() as closed, strict() as provider:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with gate(tmp_path, provider.url) as gateway:
            gateway.declare(
                provider_at(url, "there", allow_private=("127.0.0.0/8",), quotas=(quota,))
            )
            codes = {call(gateway).json()["code"] for _ in range(20)}
            left = gateway.engine.limits()["quotas"][0]["left"]
    assert (codes, left) == ({"provider_unreachable"}, 5)


@pytest.mark.parametrize(
    ("settle", "headers", "body", "actual"),
    [
        (QuotaSettlement(header="X-Cost"), {"X-Cost": "3"}, b"{}", 3),
        (QuotaSettlement(header="X-Cost"), {}, b"{}", 10),
        (QuotaSettlement(header="X-Cost"), {"X-Cost": "much"}, b"{}", 10),
        (QuotaSettlement(body="/cost/actual"), {}, b'{"cost": {"actual": 4}}', 4),
        (QuotaSettlement(body="/cost/actual"), {}, b'{"cost": {}}', 10),
        (QuotaSettlement(body="/cost/actual"), {}, b'"' + b"x" * 300_000 + b'"', 10),
    ],
)
def test_a_call_costs_what_its_answer_says(
    tmp_path: Path, settle: QuotaSettlement, headers: dict[str, str], body: bytes, actual: int
):
    quota = Quota("q", "log", 100, (("*", 10),), window_ms=3_600_000, settle=settle)
    with strict() as provider, held_to(tmp_path, provider, quota) as gateway:
        provider.headers, provider.body = lambda: headers, body
        assert call(gateway).content == body
        deadline = time.monotonic() + 5
        while gateway.engine.limits()["quotas"][0]["in_flight"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert gateway.engine.limits()["quotas"][0]["used"] == actual


def test_an_answer_that_is_free_costs_nothing(tmp_path: Path):
    quota = Quota("q", "log", 100, ALL, window_ms=3_600_000, free=(304,))
    with strict() as provider, held_to(tmp_path, provider, quota) as gateway:
        assert call(gateway).status_code == 200
        provider.status, provider.body = 304, b""
        assert call(gateway).status_code == 304
        assert gateway.engine.limits()["quotas"][0]["used"] == 1


def test_clients_take_turns_however_much_one_of_them_asks(tmp_path: Path):
    names = ("acme", "globex", "initech", "umbrella")
    quota = Quota(
        "app", "gcra", 21, ALL, 1_000, 1, scope="provider", queue=QuotaQueue(8_000, 1_000)
    )
    with strict() as provider, gate(tmp_path, provider.url, workers=2) as gateway:
        gateway.declaration = replace(
            gateway.declaration,
            clients=tuple(map(Client, names)),
            consumers=(Consumer("shop", names),),
        )
        gateway.declare(asked_of(provider, quota))
        served: Counter[str] = Counter()
        lock, ready, ended = threading.Lock(), threading.Barrier(40), threading.Event()

        def calls(name: str) -> None:
            with httpx.Client(trust_env=False, timeout=30) as client:
                ready.wait(60)
                while not ended.is_set():
                    answer = call(gateway, client, Tidegate_Client=name)
                    with lock:
                        # What still waits in the end is the busy client's, and no part of the play.
                        served[name] += answer.status_code == 200 and not ended.is_set()

        # One client has ten times the callers of each other.
        callers = [names[0]] * 30 + [name for name in names[1:] for _ in range(3)]
        with ThreadPoolExecutor(len(callers)) as pool:
            playing = [pool.submit(calls, name) for name in callers]
            ready.wait(60)
            time.sleep(5)
            ended.set()
            for future in playing:
                future.result()
    shares = [served[name] for name in names]
    jain = sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
    assert jain >= 0.98, served


def test_what_is_urgent_goes_before_what_has_time(tmp_path: Path):
    quota = Quota("q", "concurrency", 1, ALL, queue=QuotaQueue(60_000, 100))
    with strict() as provider, gate(tmp_path, provider.url) as gateway:
        provider.hold_s = 0.3
        gateway.declare(asked_of(provider, quota))
        gateway.declaration = replace(
            gateway.declaration,
            grants=tuple(
                replace(grant, call_class="interactive") for grant in gateway.declaration.grants
            ),
        )
        gateway.publish(9)
        done: list[str] = []

        def one(name: str) -> None:
            assert call(gateway, Tidegate_Class=name).status_code == 200
            done.append(name)

        with ThreadPoolExecutor(20) as pool:
            waiting = [pool.submit(one, "batch") for _ in range(10)]
            until_queued(gateway, "batch", 6)
            already = len(done)
            waiting += [pool.submit(one, "interactive") for _ in range(3)]
            until_queued(gateway, "interactive", 1)
            for future in waiting:
                future.result()
        # Some went while the urgent ones came; the last to go are those that have time.
        assert set(done[already + 6 :]) == {"batch"}
        assert call(gateway, Tidegate_Class="urgent").json()["code"] == "malformed_request"


def test_what_is_used_of_a_day_outlives_a_restart(tmp_path: Path):
    quota = Quota("daily", "calendar", 10, ALL)
    with strict() as provider:
        for used in (4, 8, 12):
            with held_to(tmp_path, provider, quota) as gateway:
                statuses = [call(gateway).status_code for _ in range(4)]
            assert statuses.count(200) == min(4, 10 - (used - 4))
    assert provider.calls == 10
