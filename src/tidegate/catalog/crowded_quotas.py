"""Doubt quotas that do not fit what is declared beside them: wider limits, shorter deadlines."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.catalog.patterns import matching
from tidegate.domain.declaration import Client, Consumer, Declaration, Grant, Provider
from tidegate.domain.limit import Limit
from tidegate.domain.quota import Quota

_WINDOWED = frozenset({"log", "gcra", "window", "bucket"})


def crowded_quotas(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """Find quotas smaller than what clients' and consumers' own limits let through together.

    Gives where each is, and what is let through. Where some calls have no limit of their own, nothing
    can be said, and nothing is. Days and months are left out: limits are seldom meant to last that long.
    """
    for provider in declaration.providers:
        for quota in provider.quotas:
            if quota.model not in _WINDOWED:
                continue
            by_client = _let_through(declaration, provider, quota)
            totals = [(f"client `{name}`", rate) for name, rate in by_client.items()]
            if quota.scope == "provider":
                totals = [("all clients together", sum(by_client.values()))]
            whose, most = max(totals, key=lambda one: one[1], default=("", 0.0))
            if most > _per_second(quota):
                yield (
                    f"providers.{provider.name}.quotas.{quota.name}",
                    (
                        f"allows {_rate(_per_second(quota))}, and the limits of {whose} let "
                        f"{_rate(most)} through; what is more will be refused or wait"
                    ),
                )


def impatient_queues(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """Find queues in which calls may wait longer than they have in all."""
    for provider in declaration.providers:
        for quota in provider.quotas:
            if quota.queue is None:
                continue
            total_ms, whose = _shortest(provider, quota)
            if quota.queue.wait_ms >= total_ms:
                yield (
                    f"providers.{provider.name}.quotas.{quota.name}.queue.wait",
                    (
                        f"calls wait up to {_time(quota.queue.wait_ms)}, and have "
                        f"{_time(total_ms)} in all ({whose}); wait less, or give them more time"
                    ),
                )


def _let_through(declaration: Declaration, provider: Provider, quota: Quota) -> dict[str, float]:
    """How much each client's limits let through in a second, by the least that a call costs.

    Clients without an end to it are left out; one of them leaves out all where all share the quota.
    """
    drawing = {
        number for pattern, cost in quota.costs if cost for number in matching(provider, pattern)
    }
    cost = min((cost for _, cost in quota.costs if cost), default=0)
    consumers = {consumer.name: consumer for consumer in declaration.consumers}
    grants = [
        grant
        for grant in declaration.grants
        if grant.provider == provider.name
        and grant.consumer in consumers
        and any(drawing.intersection(matching(provider, one)) for one in grant.operations)
    ]
    found: dict[str, float] = {}
    for client in declaration.clients:
        rate = _of_client(client, grants, consumers)
        if rate is not None and rate > 0:
            found[client.name] = rate * cost
        elif rate is None and quota.scope == "provider":
            return {}
    return found


def _of_client(client: Client, grants: list[Grant], consumers: dict[str, Consumer]) -> float | None:
    """What all consumers may call for a client in a second; None where there is no end to it."""
    by_consumer: dict[str, list[Limit | None]] = {}
    for grant in grants:
        names = grant.clients or consumers[grant.consumer].clients
        if client.name in names:
            by_consumer.setdefault(grant.consumer, []).append(grant.limit)
    if not by_consumer:
        return 0
    rates = [_tighter(_sum(limits), consumers[name].limit) for name, limits in by_consumer.items()]
    known = [rate for rate in rates if rate is not None]
    together = sum(known) if len(known) == len(rates) else None
    return _tighter(together, client.limit)


def _sum(limits: list[Limit | None]) -> float | None:
    rates = [None if limit is None else limit.per_second for limit in limits]
    known = [rate for rate in rates if rate is not None]
    return sum(known) if len(known) == len(rates) else None


def _tighter(rate: float | None, limit: Limit | None) -> float | None:
    own = None if limit is None else limit.per_second
    return min((one for one in (rate, own) if one is not None), default=None)


def _per_second(quota: Quota) -> float:
    return (quota.restored or quota.amount) * 1_000 / quota.window_ms


def _shortest(provider: Provider, quota: Quota) -> tuple[int, str]:
    drawing = {
        number for pattern, cost in quota.costs if cost for number in matching(provider, pattern)
    }
    times = [(provider.deadlines.total_ms, "deadlines.total")]
    times += [
        (deadlines.total_ms, f"deadlines of `{deadlines.operations[0]}`")
        for deadlines in provider.resilience.deadlines
        if any(drawing.intersection(matching(provider, one)) for one in deadlines.operations)
    ]
    return min(times)


def _rate(per_second: float) -> str:
    for unit, seconds in (("second", 1), ("minute", 60), ("hour", 3_600)):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:,.4g} a {unit}"
    return f"{per_second * 86_400:,.4g} a day"


def _time(time_ms: int) -> str:
    return f"{time_ms / 1_000:g} s"
