"""A consumer runs into its limits, is told when to come again, and then gets through."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import http_sf
import httpx
import pytest
from support.gate import Gate, Origin, gate, origin
from support.servers import wait_until

from tidegate.domain.declaration import Client, Consumer, Declaration, Grant
from tidegate.domain.limit import Limit

THREE = Limit(amount=3, window_ms=3_600_000)


@pytest.fixture
def provider():
    with origin() as served:
        yield served


@pytest.fixture
def there(tmp_path: Path, provider: Origin):
    with gate(tmp_path, provider.url) as made:
        yield made


def limit(there: Gate, **changes: object) -> None:
    """Declare anew: `client`, `consumer` and `grant` are their limits."""
    declared = there.declaration
    there.declaration = replace(
        declared,
        clients=(replace(declared.clients[0], limit=changes.get("client")),),
        consumers=(replace(declared.consumers[0], limit=changes.get("consumer")),),
        grants=(replace(declared.grants[0], limit=changes.get("grant")),),
    )
    there.publish(there.engine.stats().revision + 1)


def told(answer: httpx.Response, field: str) -> dict[str, dict[str, object]]:
    """A field's policies with their parameters, by a reader of structured fields that is not ours."""
    parsed = http_sf.parse(answer.headers[field].encode(), tltype="list")
    return {value: dict(parameters) for value, parameters in parsed}


def test_where_nothing_is_declared_nothing_is_told(there: Gate):
    answer = there.call()
    assert answer.status_code == 200
    assert not {"ratelimit", "ratelimit-policy", "tidegate-throttle"} & answer.headers.keys()


def test_a_burst_passes_the_next_call_is_refused_and_comes_again_in_time(there: Gate):
    limit(there, consumer=Limit(amount=2, burst=2))
    first, second, third = there.call(), there.call(), there.call()
    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 429]
    assert told(first, "ratelimit-policy") == {"tidegate-consumer": {"q": 2, "w": 1}}
    assert told(first, "ratelimit")["tidegate-consumer"]["r"] == 1
    problem = third.json()
    assert (problem["code"], problem["rule"]) == ("throttled", "shop")
    assert problem["violated-policies"] == ["tidegate-consumer"]
    assert third.headers["tidegate-throttle"] == "gateway;scope=consumer"
    assert told(third, "ratelimit") == {"tidegate-consumer": {"r": 0, "t": 1}}
    time.sleep(int(third.headers["retry-after"]))
    assert there.call().status_code == 200


@pytest.mark.parametrize("scope", ["client", "consumer", "grant"])
def test_each_scope_has_a_limit_of_its_own(there: Gate, provider: Origin, scope: str):
    limit(there, **{scope: THREE})
    answers = [there.call() for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[3].headers["tidegate-throttle"] == f"gateway;scope={scope}"
    assert re.search(rf"of {scope} `", answers[3].json()["detail"])
    assert 1 <= int(answers[3].headers["retry-after"]) <= 1_200
    # What is refused never reached the provider.
    assert len(provider.seen) == 3


def test_a_call_that_one_limit_refuses_costs_the_others_nothing(there: Gate):
    limit(there, client=Limit(amount=100, window_ms=3_600_000), grant=THREE)
    statuses = [there.call().status_code for _ in range(20)]
    assert statuses == [200] * 3 + [429] * 17
    client = next(one for one in there.engine.limits()["consumer_side"] if one["scope"] == "client")
    assert client["left"] == 97
    grant = next(one for one in there.engine.limits()["consumer_side"] if one["scope"] == "grant")
    assert (grant["left"], grant["refused"], grant["client"]) == (0, 17, "acme")


def test_calls_under_way_are_bounded_and_the_next_goes_when_one_ends(there: Gate, provider: Origin):
    limit(there, consumer=Limit(concurrency=2))
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(there.call, "/echo/slow") for _ in range(2)]
        wait_until(lambda: len(provider.seen) == 2)
        refused = there.call()
        assert refused.status_code == 429
        assert refused.json()["violated-policies"] == ["tidegate-consumer-inflight"]
        policy = told(refused, "ratelimit-policy")["tidegate-consumer-inflight"]
        assert policy == {"q": 2, "qu": "concurrent-requests"}
        provider.hold.set()
        assert [one.result().status_code for one in slow] == [200, 200]
    wait_until(lambda: there.engine.limits()["consumer_side"][0]["in_flight"] == 0)
    assert there.call().status_code == 200


def test_two_workers_let_no_more_through_than_one(tmp_path: Path, provider: Origin):
    with gate(tmp_path, provider.url, workers=2) as there:
        limit(there, client=Limit(amount=30, window_ms=3_600_000))
        begin = threading.Barrier(16)

        def call(_: int) -> list[int]:
            with httpx.Client(trust_env=False, timeout=20) as consumer:
                begin.wait()
                headers = {"Tidegate-Token": there.token}
                url = f"{there.url}/echo/things/1"
                return [consumer.get(url, headers=headers).status_code for _ in range(10)]

        with ThreadPoolExecutor(16) as pool:
            statuses = [status for each in pool.map(call, range(16)) for status in each]
        assert statuses.count(200) == 30
        assert statuses.count(429) == 130


def test_a_new_revision_goes_on_counting(there: Gate):
    limit(there, client=THREE)
    assert [there.call().status_code for _ in range(3)] == [200] * 3
    limit(there, client=THREE, consumer=Limit(amount=1_000))
    assert there.call().status_code == 429
    limit(there)
    assert there.call().status_code == 200


def test_explain_names_the_limits_that_would_hold(there: Gate):
    limit(there, client=THREE, grant=Limit(amount=5, concurrency=2, shared=True))
    there.state.apply(there.declaration, author="test")
    found = there.state.explain("shop", "GET", "/echo/things/1")
    admit = [(step.rule, step.detail) for step in found.steps if step.step == "admit"]
    assert admit == [
        ("acme", "client `acme`: 3 in 1 h"),
        ("grants[0]", "grant `grants[0]`: 5 in 1 s, 2 under way, all clients together"),
    ]


def test_limits_show_what_is_left_and_what_was_never_used(there: Gate):
    limit(there, client=THREE, consumer=Limit(concurrency=5))
    before = there.engine.limits()["consumer_side"]
    assert [(one["scope"], one["client"], one["left"]) for one in before] == [
        ("client", None, 3),
        ("consumer", None, None),
    ]
    there.call()
    after = there.engine.limits()["consumer_side"]
    assert [(one["scope"], one["client"], one["left"]) for one in after] == [
        ("client", None, 2),
        ("consumer", "acme", None),
    ]


def test_declared_in_the_file_it_is_the_same(tmp_path: Path):
    from tidegate.catalog import load

    (tmp_path / "tidegate.yaml").write_text("""\
version: 1
clients: {acme: {limit: 600/m}}
consumers:
  shop: {clients: [acme], limit: {rate: 50/s, burst: 100, concurrency: 20}}
providers:
  ledger: {origin: https://a.test, auth: bearer, operations: [GET /x]}
grants:
  - {consumer: shop, provider: ledger, operations: ["*"], limit: {rate: 150/30s, shared: true}}
""")
    declared: Declaration = load(tmp_path / "tidegate.yaml")
    assert declared.clients == (Client("acme", limit=Limit(600, 60_000)),)
    assert declared.consumers == (Consumer("shop", ("acme",), limit=Limit(50, 1_000, 100, 20)),)
    grant = Grant("shop", "ledger", ("*",), name="grants[0]", limit=Limit(150, 30_000, shared=True))
    assert declared.grants == (grant,)
