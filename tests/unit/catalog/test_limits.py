"""Limits that can never bite are told; those that can are not."""

from __future__ import annotations

import pytest

from tidegate.catalog import weaknesses
from tidegate.domain.declaration import Client, Consumer, Declaration, Grant
from tidegate.domain.limit import Limit


def told(
    *,
    client: Limit | None = None,
    consumer: Limit | None = None,
    grant: Limit | None = None,
    clients: tuple[str, ...] = ("acme",),
) -> list[str]:
    declared = Declaration(
        clients=tuple(Client(name, limit=client) for name in clients),
        consumers=(Consumer("shop", clients, limit=consumer),),
        grants=(Grant("shop", "pay", ("Get",), name="reads", limit=grant),),
    )
    return [weakness.where for weakness in weaknesses(declared)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Limit(10), Limit(10)),
        (Limit(10), Limit(100)),
        (Limit(600, 60_000, burst=10), Limit(10)),
        (Limit(concurrency=5), Limit(concurrency=5)),
        (Limit(10, concurrency=5), Limit(20, concurrency=9)),
    ],
)
def test_a_limit_that_another_bites_before_is_told(first: Limit, second: Limit):
    assert told(consumer=first, grant=second) == ["reads.limit"]
    assert told(client=first, grant=second) == ["reads.limit"]
    assert told(client=first, consumer=second) == ["consumers.shop.limit"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Limit(100), Limit(10)),
        # A rate that is lower but has a larger burst lets more through at once.
        (Limit(600, 60_000), Limit(10)),
        (Limit(10), Limit(20, concurrency=5)),
        (Limit(concurrency=5), Limit(10)),
        (Limit(concurrency=9), Limit(concurrency=5)),
        (Limit(10, shared=True), Limit(20)),
    ],
)
def test_a_limit_that_can_bite_is_not(first: Limit, second: Limit):
    assert told(consumer=first, grant=second) == []


def test_each_of_several_clients_has_a_share_so_that_theirs_do_not_make_the_consumers_idle():
    assert told(client=Limit(10), consumer=Limit(20), clients=("acme", "globex")) == []
