"""Quotas smaller than what the limits beside them let through are told, and waits that cannot fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tidegate.catalog import weaknesses
from tidegate.domain.declaration import Client, Consumer, Deadlines, Declaration, Grant, Provider
from tidegate.domain.limit import Limit
from tidegate.domain.operation import Operation
from tidegate.domain.quota import Quota, QuotaQueue
from tidegate.domain.resilience import OperationDeadlines, Resilience

MINUTE = Quota("account", "log", 600, (("*", 1),), window_ms=60_000)


def told(quota: Quota, *limits: Limit | None, client: Limit | None = None) -> list[str]:
    """What is said of a quota, with a consumer for each limit, for two clients."""
    names = ("acme", "globex")
    consumers = [Consumer(f"c{n}", names, limit=one) for n, one in enumerate(limits)]
    provider = Provider(
        "pay",
        "Pay",
        ("https://pay.example",),
        (),
        (Operation("Get", "GET", "/x"),),
        quotas=(quota,),
    )
    declared = Declaration(
        clients=tuple(Client(name, limit=client) for name in names),
        consumers=tuple(consumers),
        providers=(provider,),
        grants=tuple(Grant(one.name, "pay", ("Get",), name=one.name) for one in consumers),
    )
    return [one.what for one in weaknesses(declared) if one.where == "providers.pay.quotas.account"]


def test_limits_that_together_let_more_through_are_told():
    (said,) = told(MINUTE, Limit(6), Limit(5))
    assert "allows 10 a second" in said
    assert "client `acme`" in said
    assert "11 a second" in said
    assert told(MINUTE, Limit(6), Limit(4)) == []
    assert told(MINUTE, Limit(6), Limit(5), client=Limit(10)) == []


def test_where_some_calls_have_no_limit_nothing_is_said():
    assert told(MINUTE, Limit(60), None) == []
    assert told(MINUTE, None) == []


def test_a_quota_that_clients_share_is_held_against_all_of_them():
    shared = replace(MINUTE, scope="provider")
    (said,) = told(shared, Limit(6))
    assert "all clients together let 12 a second" in said
    assert told(shared, Limit(5)) == []


def test_what_a_call_costs_and_how_much_comes_back_count():
    assert told(replace(MINUTE, costs=(("*", 5),)), Limit(3))
    assert told(Quota("account", "bucket", 100, (("*", 1),), 1_000, restored=2), Limit(3))
    assert told(Quota("account", "calendar", 100, (("*", 1),)), Limit(3)) == []


@pytest.mark.parametrize(
    ("wait_ms", "total_ms", "operation_ms", "names"),
    [
        (30_000, 30_000, None, ["deadlines.total"]),
        (29_000, 30_000, None, []),
        (10_000, 30_000, 5_000, ["deadlines of `Get`"]),
    ],
)
def test_a_wait_longer_than_calls_have_is_told(
    wait_ms: int, total_ms: int, operation_ms: int | None, names: list[str]
):
    quota = replace(MINUTE, queue=QuotaQueue(wait_ms, 10))
    own = () if operation_ms is None else (OperationDeadlines(("Get",), 1, 1, 1, operation_ms),)
    provider = Provider(
        "pay",
        "Pay",
        ("https://pay.example",),
        (),
        (Operation("Get", "GET", "/x"),),
        quotas=(quota,),
        deadlines=Deadlines(total_ms=total_ms),
        resilience=Resilience(deadlines=own),
    )
    found = weaknesses(Declaration(providers=(provider,)))
    assert [one.where for one in found] == ["providers.pay.quotas.account.queue.wait"] * len(names)
    assert all(name in one.what for name, one in zip(names, found, strict=True))
