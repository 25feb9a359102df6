"""Nothing is carried out twice because something failed, and nobody's failures are turned on others."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest
from support.faulty import faulty
from support.passage import Before, Passage, put_before

from tidegate.sandbox import FAULTS, Authority, BreakingServer

CALLS = 200
SEED = int(os.environ.get("TIDEGATE_TEST_SEED", "1"))
RETRY = "retry: {backoff: 1ms}"


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def before(tmp_path: Path, authority: Authority) -> Before:
    return partial(put_before, tmp_path, authority)


def post(passage: Passage, count: int) -> list[int]:
    """Make so many POST calls, each with a number of its own; returns the statuses."""

    def one(number: int) -> int:
        headers = passage.headers | {"X-Call": str(number)}
        with client.stream(
            "POST", f"{passage.base}/thing", content=b"x" * 2_000, headers=headers
        ) as answer:
            try:
                answer.read()
            except httpx.TransportError:
                # The answer broke off after its head had passed.
                return 0
            return answer.status_code

    with httpx.Client(trust_env=False, timeout=20) as client, ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.parametrize("more", ["", RETRY], ids=["nothing declared", "retries declared"])
def test_a_post_without_a_key_arrives_at_most_once_whatever_fails(
    before: Before, authority: Authority, more: str
):
    with (
        BreakingServer(seed=SEED, authority=authority) as provider,
        before(provider.origin, provider=more) as passage,
    ):
        statuses = post(passage, CALLS)
    assert max(provider.arrived.values()) == 1
    assert set(provider.faults) == set(FAULTS)
    assert {200, 502} <= set(statuses)


def test_what_came_before_an_answer_broke_off_is_passed_on(before: Before, authority: Authority):
    with (
        BreakingServer(
            seed=SEED, authority=authority, faults=("reset in the answer's body",)
        ) as provider,
        before(provider.origin) as passage,
    ):
        # A connection that ended without an answer would raise.
        assert set(post(passage, CALLS)) <= {0, 502}


def test_with_a_key_it_may_arrive_again_and_succeeds_more_often(
    before: Before, authority: Authority
):
    declared = f"idempotency: {{header: Idempotency-Key}}\n    {RETRY}"
    with (
        BreakingServer(seed=SEED, authority=authority) as provider,
        before(provider.origin, provider=declared) as passage,
    ):
        post(passage, CALLS)
    assert 1 < max(provider.arrived.values()) <= 3
    # The budget: a tenth and one a second.
    again = sum(provider.arrived.values()) - len(provider.arrived)
    assert again <= CALLS / 10 + 60


def test_a_consumer_s_short_deadlines_do_not_open_the_breaker(before: Before, authority: Authority):
    with (
        faulty(authority, always="slow") as provider,
        before(provider.origin, provider="breaker: {calls: 5, window: 60s}") as passage,
        httpx.Client(trust_env=False, timeout=20) as client,
    ):
        hurried = passage.headers | {"Tidegate-Timeout": "0.2"}
        cut = [client.get(f"{passage.base}/x", headers=hurried).status_code for _ in range(20)]
        assert client.get(f"{passage.base}/x", headers=passage.headers).status_code == 200
        assert {record.breaker for record in passage.gateway.records(21)} == {None}
    assert cut == [504] * 20


def test_one_client_s_failures_do_not_stop_the_others(before: Before, authority: Authority):
    with (
        faulty(authority) as provider,
        before(
            provider.origin,
            provider="breaker: {calls: 5, window: 60s}",
            clients=("acme", "globex"),
        ) as passage,
        httpx.Client(trust_env=False, timeout=20) as client,
    ):

        def call(of: Passage) -> int:
            return client.get(f"{of.base}/x", headers=of.headers).status_code

        acme, globex = passage.bound_to("acme"), passage.bound_to("globex")
        assert call(globex) == 200
        provider.next_ = ["503"] * 50
        assert [call(acme) for _ in range(50)] == [503] * 50
        assert call(globex) == 200
