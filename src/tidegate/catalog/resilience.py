"""Make what is declared about faults fit the provider: its operations, its origins, its deadlines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from tidegate.catalog.errors import did_you_mean, listed, shown
from tidegate.catalog.patterns import OperationTable
from tidegate.catalog.resilience_form import IdempotencyEntry
from tidegate.catalog.schema import ProviderEntry
from tidegate.catalog.yaml_source import Path
from tidegate.domain.operation import Operation
from tidegate.domain.resilience import (
    Breaker,
    Bulkhead,
    Hedge,
    Idempotency,
    OperationDeadlines,
    Resilience,
    Retry,
)

_Wrong = Callable[..., None]
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "QUERY"})


def resilience_of(
    entry: ProviderEntry,
    declared: ProviderEntry,
    origins: tuple[str, ...],
    operations: tuple[Operation, ...],
    wrong: _Wrong,
) -> Resilience:
    """Make it; `wrong` is told what does not fit.

    What a preset says of operations that the operator has replaced selects nothing, and is not wrong.
    """
    return _Maker(entry, declared, origins, operations, wrong).make()


class _Maker:
    def __init__(
        self,
        entry: ProviderEntry,
        declared: ProviderEntry,
        origins: tuple[str, ...],
        operations: tuple[Operation, ...],
        wrong: _Wrong,
    ) -> None:
        self._entry = entry
        self._declared = declared
        self._origins = origins
        self._operations = operations
        self._wrong = wrong
        self._table: OperationTable | None = None

    def make(self) -> Resilience:
        entry = self._entry
        retry = entry.retry
        if entry.failover and retry is None:
            # Going elsewhere is another try: it has the same bounds.
            return self._made(Retry())
        return self._made(
            Retry(retry.tries, tuple(retry.statuses), retry.backoff, retry.wait) if retry else None
        )

    def _made(self, retry: Retry | None) -> Resilience:
        entry = self._entry
        breaker, bulkhead = entry.breaker, entry.bulkhead
        return Resilience(
            retry=retry,
            idempotency=self._idempotency(entry.idempotency) if entry.idempotency else None,
            breaker=Breaker(breaker.calls, breaker.failed, breaker.window, breaker.open)
            if breaker
            else None,
            bulkhead=Bulkhead(bulkhead.calls, bulkhead.client_share) if bulkhead else None,
            hedge=self._hedge(),
            failover=self._failover(),
            deadlines=tuple(self._deadlines()),
        )

    def _idempotency(self, entry: IdempotencyEntry) -> Idempotency:
        if self._declared.idempotency is not None:
            self._select(("idempotency", "operations"), entry.operations)
        place, name = _key_place(entry)
        return Idempotency(
            place,
            name,
            operations=tuple(entry.operations),
            generate=entry.generate,
            across_origins=entry.across_origins,
            hint=entry.hint,
        )

    def _hedge(self) -> Hedge | None:
        hedge = self._entry.hedge
        if hedge is None:
            return None
        for number, selected in enumerate(self._select(("hedge", "operations"), hedge.operations)):
            writing = [one for one in selected if self._operations[one].method not in _SAFE]
            if writing and len(writing) == len(selected):
                message = f"{shown(hedge.operations[number])} does more than read"
                hint = "only GET, HEAD, OPTIONS and QUERY are asked twice"
                self._wrong(("hedge", "operations", number), message, hint)
        return Hedge(tuple(hedge.operations))

    def _failover(self) -> tuple[str, ...]:
        named = self._entry.failover
        for number, origin in enumerate(named):
            path: Path = ("failover", number)
            if origin not in self._origins:
                known = did_you_mean(origin, self._origins, otherwise="list it under `origins` too")
                self._wrong(path, f"`{origin}` is no origin of this provider", known)
            elif origin in named[:number]:
                self._wrong(path, f"`{origin}` stands twice")
        if len(named) == 1:
            hint = f"name two of {listed(self._origins)}" if len(self._origins) > 1 else ""
            self._wrong(("failover",), "one origin stands for no other", hint)
        return tuple(named)

    def _deadlines(self) -> Iterable[OperationDeadlines]:
        whole = self._entry.deadlines
        for number, one in enumerate(whole.operations):
            self._select(("deadlines", "operations", number, "operations"), one.operations)
            yield OperationDeadlines(
                operations=tuple(one.operations),
                connect_ms=one.connect or whole.connect,
                first_byte_ms=one.first_byte or whole.first_byte,
                idle_ms=one.idle or whole.idle,
                total_ms=one.total or whole.total,
            )

    def _select(self, path: Path, patterns: list[str]) -> list[tuple[int, ...]]:
        """The operations of each pattern; one that selects none is wrong."""
        if not self._operations:
            return []
        table = self._table = self._table or OperationTable(self._operations)
        found = [table.matching(pattern) for pattern in patterns]
        for number, (pattern, selected) in enumerate(zip(patterns, found, strict=True)):
            if not selected:
                hint = did_you_mean(pattern, table.words())
                self._wrong((*path, number), f"{shown(pattern)} matches no operation", hint)
        return found


def _key_place(entry: IdempotencyEntry) -> tuple[Literal["header", "body", "query"], str]:
    if entry.header is not None:
        return "header", entry.header
    if entry.query is not None:
        return "query", entry.query
    return "body", entry.body or ""
