"""How a provider speaks of its limits in its answers, as data.

A place is `field`, `/pointer` into the JSON body (RFC 6901, where a step `*` is any), or
`field/pointer` for JSON in a field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

TimeForm = Literal[
    "retry_after",
    "seconds",
    "milliseconds",
    "minutes",
    "epoch_s",
    "epoch_ms",
    "seconds_or_epoch",
    "rfc3339",
    "http_date",
    "duration",
]


@dataclass(frozen=True, slots=True)
class Timed:
    """A place that says a time, in one of these forms."""

    at: str
    forms: tuple[TimeForm, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """One quota that answers speak of; an empty place is said nowhere.

    `scope` is its name, or where an answer has it (`scope_at`). `used_of_limit` is both in one text
    (`18/5000`). `percent` are places of percentages that are used, of which the highest counts.
    `shared`: it counts the calls of others, too.
    """

    scope: str = ""
    scope_at: str = ""
    limit: str = ""
    remaining: str = ""
    used: str = ""
    used_of_limit: str = ""
    percent: tuple[str, ...] = ()
    reset: Timed | None = None
    cost: str = ""
    shared: bool = False

    @property
    def places(self) -> tuple[str, ...]:
        """Every place that it is read from."""
        reset = (self.reset.at,) if self.reset else ()
        named = (self.limit, self.remaining, self.used, self.used_of_limit, self.cost)
        return tuple(place for place in (*named, *self.percent, *reset) if place)


@dataclass(frozen=True, slots=True)
class Sign:
    """What an answer looks like; all that is given must be so.

    Something stands `at` a place, is one of `equals` or has one of `has` in it (in small letters);
    without a place, `has` is looked for in the body. `wait_ms` is for answers that do not say.
    """

    status: tuple[int, ...] = ()
    at: str = ""
    equals: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    wait_ms: int | None = None
    scope: str = ""
    scope_at: str = ""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one provider speaks of its limits.

    One sign of `throttled`, and none of `unless`, says that a call was refused for a limit. `ietf`:
    by `RateLimit` and `RateLimit-Policy` as structured fields.
    """

    budgets: tuple[Budget, ...] = ()
    waits: tuple[Timed, ...] = ()
    throttled: tuple[Sign, ...] = ()
    unless: tuple[Sign, ...] = ()
    ietf: bool = False

    def fields(self, *, shared: bool) -> tuple[str, ...]:
        """Name the header fields of its budgets: all, or those that count the calls of others."""
        budgets = [budget for budget in self.budgets if budget.shared or not shared]
        ietf = ("ratelimit", "ratelimit-policy") if self.ietf and not shared else ()
        return tuple(dict.fromkeys((*_fields(budgets), *ietf)))


def _fields(budgets: Iterable[Budget]) -> Iterator[str]:
    for budget in budgets:
        for place in budget.places:
            field = place.partition("/")[0]
            if field:
                yield field
