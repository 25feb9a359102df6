"""The form of `quotas`: how much a provider allows, counted in its own way."""

from __future__ import annotations

import zoneinfo
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field
from pydantic.functional_validators import model_validator

from tidegate.catalog.entry import Entry
from tidegate.catalog.errors import did_you_mean, shown
from tidegate.catalog.fields import Duration, HeaderName, LongDuration, Pointer, refuse

AMOUNT_MAX: Final = 10**12
COST_MAX: Final = 10**9
QUOTAS_MAX: Final = 32
WAIT_MS_MAX: Final = 600_000
_WINDOWED: Final = frozenset({"log", "gcra", "window", "bucket"})
_ONLY_FOR: Final = {
    "window": _WINDOWED,
    "burst": frozenset({"gcra"}),
    "restored": frozenset({"bucket"}),
    "anchor": frozenset({"window"}),
    "period": frozenset({"calendar"}),
    "zone": frozenset({"calendar"}),
    "adaptive": frozenset({"concurrency"}),
    "headroom": _WINDOWED | {"calendar"},
    "free": _WINDOWED | {"calendar"},
    "settle": _WINDOWED | {"calendar"},
}


def _check_zone(name: str) -> str:
    known = zoneinfo.available_timezones()
    # A machine without time zones leaves it to the engine, which has its own.
    if known and name not in known:
        refuse(
            f"there is no time zone {shown(name)}", did_you_mean(name, sorted(known), otherwise=" ")
        )
    return name


class QueueEntry(Entry):
    """Wait for the quota, instead of being refused."""

    wait: Duration = 30_000
    """How long a call waits at most."""
    length: int = Field(default=1_000, ge=1, le=100_000)
    """How many calls to this provider wait at most."""

    @model_validator(mode="after")
    def _within_reason(self) -> QueueEntry:
        if self.wait > WAIT_MS_MAX:
            refuse("a call waits 10m at most")
        return self


class SettleEntry(Entry):
    """Where an answer says what its call came to; until then the call's `cost` is held."""

    header: HeaderName | None = None
    """A header field with a number."""
    body: Pointer | None = None
    """A place in a JSON body of at most 256 KiB (`/extensions/cost/actualQueryCost`)."""

    @model_validator(mode="after")
    def _one_place(self) -> SettleEntry:
        if (self.header is None) == (self.body is None):
            refuse("a cost is read from one place", "name `header` or `body`")
        return self


class QuotaEntry(Entry):
    """One quota, counted as the provider counts it."""

    amount: int = Field(ge=1, le=AMOUNT_MAX)
    """How much there is: requests, or what they cost."""
    window: LongDuration | None = None
    """In how long (`1s`, `1m`, `1h`)."""
    model: Literal["log", "gcra", "window", "bucket", "concurrency", "calendar"] = "log"
    """How the provider counts. `log`: in any window; `gcra`: an even rate with a burst, that stays
    within it; `window`: until a reset that it names; `bucket`: what was used comes back bit by bit;
    `concurrency`: at once; `calendar`: in a day or month, kept over restarts."""
    burst: int | None = Field(default=None, ge=1, le=AMOUNT_MAX)
    """With `gcra`: how much may go at once; a tenth where absent."""
    restored: int | None = Field(default=None, ge=1, le=AMOUNT_MAX)
    """With `bucket`: how much comes back in each window."""
    anchor: Literal["reset", "clock"] = "reset"
    """With `window`: it ends when the provider says, or with the clock (whole hours, in UTC)."""
    period: Literal["day", "month"] = "day"
    """With `calendar`: what it counts in."""
    zone: Annotated[str, AfterValidator(_check_zone)] = "UTC"
    """With `calendar`: where its days begin (`America/Los_Angeles`)."""
    adaptive: bool = False
    """With `concurrency`: find out how much the provider bears, up to `amount`."""
    headroom: int | None = Field(default=None, ge=0, le=50)
    """Percent that are left unused; 3 with `gcra` and `bucket`, otherwise 0, where absent."""
    scope: Literal["connection", "origin", "operation", "provider"] = "connection"
    """Who has a count of its own: each connection (at each origin, or for each operation), or all
    of the provider's connections have one together."""
    operations: list[str] = Field(default=["*"], min_length=1)
    """What draws on it: operation ids or `METHOD /path`, either with `*` for any text."""
    cost: int = Field(default=1, ge=0, le=COST_MAX)
    """What one call costs."""
    costs: dict[str, Annotated[int, Field(ge=0, le=COST_MAX)]] = {}
    """What calls cost that cost something else, by the same patterns (`POST *: 5`)."""
    free: list[Annotated[int, Field(ge=100, le=599)]] = []
    """Statuses of answers that cost nothing (304, where the provider does not count them)."""
    settle: SettleEntry | None = None
    """Where an answer says what its call came to."""
    queue: QueueEntry | None = None
    """Wait for it, in turn with other clients; without it a call is refused at once."""

    @model_validator(mode="after")
    def _fits_its_model(self) -> QuotaEntry:
        for key, models in _ONLY_FOR.items():
            if key in self.model_fields_set and self.model not in models:
                named = " or ".join(f"`{one}`" for one in sorted(models))
                refuse(f"`{key}` is for {named}, not for `{self.model}`")
        if self.model in _WINDOWED and self.window is None:
            refuse(f"`{self.model}` needs a `window`", "like `window: 1m`")
        if self.model == "bucket" and self.restored is None:
            refuse("`bucket` needs `restored`", "how much comes back in each window")
        if self.model == "gcra" and self.amount < 2:  # noqa: PLR2004
            refuse("`gcra` spreads an amount of 2 or more", "use `log` for 1 in a window")
        if self.burst is not None and self.burst >= self.amount:
            refuse("a `burst` is smaller than the amount", "the rest is spread over the window")
        most = max([self.cost, *self.costs.values()])
        if most > self.amount:
            refuse(f"a call of {most} never fits into {self.amount}", "lower the cost")
        return self
