"""What may stand under a provider about faults: retries, keys, breaker, bulkhead, hedges, deadlines."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic.functional_validators import model_validator

from tidegate.catalog.entry import Entry
from tidegate.catalog.fields import Duration, HeaderName, Percent, refuse

_Operations = Annotated[list[str], Field(min_length=1)]


def _plain(value: Any) -> Any:
    return {} if value is None else value


Plain = BeforeValidator(_plain)
"""An entry that may stand alone: `retry:` says that there are retries, as usual."""


class RetryEntry(Entry):
    """When a call goes out again. `retry:` alone is enough.

    Only where a second arrival changes nothing: the method is idempotent, the operation takes a key,
    or nothing reached the provider. A client's budget at a provider is a tenth of its calls and one a
    second.
    """

    tries: int = Field(default=2, ge=1, le=2)
    """How often more, at most."""
    statuses: list[Annotated[int, Field(ge=400, le=599)]] = Field(default=[502, 503, 504])
    """Answers that are as good as none."""
    backoff: Duration = 100
    """The longest pause before the second try; it doubles."""
    wait: Duration = 5_000
    """The longest pause at all, also where the provider asks for one by `Retry-After`."""


class IdempotencyEntry(Entry):
    """How the provider knows that two requests are one: a key in one of three places."""

    header: HeaderName | None = None
    """The key is a header field (`Idempotency-Key`)."""
    body: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The key is a member of the JSON body (`idempotency_key`)."""
    query: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None = None
    """The key is a query parameter (`requestId`)."""
    operations: list[str] = Field(default=["POST *"], min_length=1)
    """Which operations take one, by id or `METHOD /path`, either with `*`."""
    generate: bool = True
    """Where `retry` is declared, make a key for calls that have none."""
    across_origins: bool = False
    """A key counts at all of the provider's origins, so that a call that has one can go to another."""
    hint: HeaderName | None = None
    """A field of answers that says `true` or `false` to another try, whatever the status."""

    @model_validator(mode="after")
    def _one_place(self) -> IdempotencyEntry:
        if sum(place is not None for place in (self.header, self.body, self.query)) != 1:
            refuse("a key has one place", "keep `header`, `body` or `query`")
        return self


class BreakerEntry(Entry):
    """When calls to an origin stop for a while. `breaker:` alone is enough."""

    calls: int = Field(default=20, ge=5, le=10_000)
    """How many calls there must have been."""
    failed: Percent = 50
    """How many of them failed: no connection, no answer in time, 502, 503 or 504; never a 429."""
    window: Annotated[Duration, Field(ge=1_000, le=300_000)] = 10_000
    """Within which time."""
    open: Annotated[Duration, Field(ge=500, le=600_000)] = 5_000
    """How long none is sent; then one is, to see."""


class BulkheadEntry(Entry):
    """How many calls are at the provider at once."""

    calls: int = Field(ge=1, le=1_000_000)
    """All clients' together."""
    client_share: Percent = 50
    """How much of that one client may have; all of it where there is one client."""


class HedgeEntry(Entry):
    """Ask a second time when an answer is late: after the time of 95 of 100, for one call in fifty."""

    operations: _Operations
    """Which operations; only those that do nothing but read are."""


class OperationDeadlinesEntry(Entry):
    """Deadlines that hold for some operations."""

    operations: _Operations
    """Which, by id or `METHOD /path`, either with `*`; of two entries the later one counts."""
    connect: Duration | None = None
    """For a connection, TLS included."""
    first_byte: Duration | None = None
    """For the first byte of the answer."""
    idle: Duration | None = None
    """Between two bytes of a body, either way."""
    total: Duration | None = None
    """For the whole call."""
