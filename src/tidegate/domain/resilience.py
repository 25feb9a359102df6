"""What is declared of a provider about faults: when a call goes out again, elsewhere, or not at all.

Operations are named by patterns, as in grants. Times are milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Retry:
    """When a call goes out again: after no answer, or an answer of one of `statuses`.

    At most `tries` times more, within the client's budget. Pauses begin at `backoff_ms` and double;
    none is longer than `wait_ms`, also where the provider asks for it.
    """

    tries: int = 2
    statuses: tuple[int, ...] = (502, 503, 504)
    backoff_ms: int = 100
    wait_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class Idempotency:
    """How the provider knows that two requests are one.

    `place` says where the key called `name` stands. `operations` take one; where the consumer gives
    none and `generate` holds, Tidegate makes one. `across_origins`: a key counts at all of the
    provider's origins. `hint` is a field of answers that says `true` or `false` to another try.
    """

    place: Literal["header", "body", "query"]
    name: str
    operations: tuple[str, ...]
    generate: bool = True
    across_origins: bool = False
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Breaker:
    """When an origin is left alone for `open_ms`.

    When of at least `calls` within `window_ms` so many percent failed.
    """

    calls: int = 20
    failed_percent: int = 50
    window_ms: int = 10_000
    open_ms: int = 5_000


@dataclass(frozen=True, slots=True)
class Bulkhead:
    """How many calls are at the provider at once, and how many percent of them may be one client's."""

    calls: int
    client_percent: int = 50


@dataclass(frozen=True, slots=True)
class Hedge:
    """Which operations, of those that only read, are asked a second time when an answer is late."""

    operations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OperationDeadlines:
    """Deadlines of some operations, whole: what is not declared for them is the provider's."""

    operations: tuple[str, ...]
    connect_ms: int
    first_byte_ms: int
    idle_ms: int
    total_ms: int


@dataclass(frozen=True, slots=True)
class Resilience:
    """All of it. Nothing declared: one try, no breaker, no bound but the gateway's own.

    `failover` are origins of the provider that stand for one another.
    """

    retry: Retry | None = None
    idempotency: Idempotency | None = None
    breaker: Breaker | None = None
    bulkhead: Bulkhead | None = None
    hedge: Hedge | None = None
    failover: tuple[str, ...] = ()
    deadlines: tuple[OperationDeadlines, ...] = ()


PLAIN = Resilience()
