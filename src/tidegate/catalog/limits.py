"""Read limits of the consumer side, and doubt those that cannot do what they seem to."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate.catalog.schema import LimitEntry
from tidegate.domain.declaration import Client, Consumer, Declaration, Grant
from tidegate.domain.limit import Limit


def limit_of(entry: LimitEntry | None) -> Limit | None:
    """Make a limit of what is declared of it."""
    if entry is None:
        return None
    amount, window_ms = entry.rate or (None, 1_000)
    return Limit(amount, window_ms, entry.burst, entry.concurrency, entry.shared)


def idle_limits(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """Find limits that can never bite, because another that holds for the same calls bites before.

    Gives where each is, and which one is before it.
    """
    consumers = {consumer.name: consumer for consumer in declaration.consumers}
    clients = {client.name: client for client in declaration.clients}
    for grant in declaration.grants:
        consumer = consumers.get(grant.consumer)
        if consumer is None:
            continue
        yield from _idle(
            f"{grant.name}.limit", grant.limit, _before_grant(grant, consumer, clients)
        )
    for consumer in declaration.consumers:
        for_clients = [clients[name] for name in consumer.clients if name in clients]
        where = f"consumers.{consumer.name}.limit"
        yield from _idle(where, consumer.limit, _tightest(for_clients))


def _before_grant(
    grant: Grant, consumer: Consumer, clients: dict[str, Client]
) -> list[tuple[str, Limit]]:
    found: list[tuple[str, Limit]] = []
    # A count of all clients together says nothing of each one's, nor the other way round.
    same = grant.limit is not None and consumer.limit is not None
    if consumer.limit is not None and same and consumer.limit.shared == _is_shared(grant):
        found.append((f"consumers.{consumer.name}.limit", consumer.limit))
    names = grant.clients or consumer.clients
    return found + _tightest([clients[name] for name in names if name in clients])


def _is_shared(grant: Grant) -> bool:
    return grant.limit is not None and grant.limit.shared


def _tightest(clients: list[Client]) -> list[tuple[str, Limit]]:
    """The client's limit, where there is but one client: several have a limit each."""
    if len(clients) != 1 or clients[0].limit is None:
        return []
    return [(f"clients.{clients[0].name}.limit", clients[0].limit)]


def _idle(
    where: str, limit: Limit | None, others: list[tuple[str, Limit]]
) -> Iterator[tuple[str, str]]:
    if limit is None:
        return
    for other_where, other in others:
        if _bites_before(other, limit):
            yield where, other_where
            return


def _bites_before(other: Limit, limit: Limit) -> bool:
    """Whether every call that `limit` would refuse has been refused by `other` already."""
    if limit.amount is not None and not _rate_bites_before(other, limit):
        return False
    if limit.concurrency is None:
        return True
    return other.concurrency is not None and other.concurrency <= limit.concurrency


def _rate_bites_before(other: Limit, limit: Limit) -> bool:
    if other.per_second is None or limit.per_second is None:
        return False
    return other.per_second <= limit.per_second and (other.at_once or 0) <= (limit.at_once or 0)
