"""How often, and how many at once, calls may be made on the consumer side."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate, a number of calls under way, or both.

    `amount` calls in each `window_ms` milliseconds, of which `burst` may come at once (None: all of
    them). `concurrency` calls may be under way. A limit of a consumer or of a grant counts each
    client's calls apart; `shared` counts them together.
    """

    amount: int | None = None
    window_ms: int = 1_000
    burst: int | None = None
    concurrency: int | None = None
    shared: bool = False

    def __str__(self) -> str:
        """As it would stand in the file, in one line."""
        parts = [] if self.amount is None else [f"{self.amount}/{_spelled(self.window_ms)}"]
        if self.burst is not None:
            parts.append(f"burst {self.burst}")
        if self.concurrency is not None:
            parts.append(f"concurrency {self.concurrency}")
        if self.shared:
            parts.append("shared")
        return ", ".join(parts)

    @property
    def per_second(self) -> float | None:
        """The rate, in calls a second; None where there is none."""
        return None if self.amount is None else self.amount * 1_000 / self.window_ms

    @property
    def at_once(self) -> int | None:
        """How many calls may come at once after a rest; None where there is no rate."""
        return self.amount if self.burst is None else self.burst


def _spelled(window_ms: int) -> str:
    for unit, unit_ms in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if window_ms % unit_ms == 0:
            count = window_ms // unit_ms
            return unit if count == 1 else f"{count}{unit}"
    return f"{window_ms}ms"
