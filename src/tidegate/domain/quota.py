"""How much a provider allows, by its own way of counting: what calls are held to before they are sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

QuotaModel = Literal["log", "gcra", "window", "bucket", "concurrency", "calendar"]
QuotaScope = Literal["connection", "origin", "operation", "provider"]


@dataclass(frozen=True, slots=True)
class QuotaQueue:
    """Waiting for a quota instead of being refused: for how long at most, and how many calls at most."""

    wait_ms: int
    length: int


@dataclass(frozen=True, slots=True)
class QuotaSettlement:
    """Where an answer says what its call came to: a header field, or a JSON Pointer into its body."""

    header: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True)
class Quota:
    """One quota of a provider.

    `amount` is requests, or what they cost. `window_ms` is for all models but `concurrency` and
    `calendar`. `costs` are patterns of operations with what each costs; the first that selects an
    operation counts, and one that none selects does not draw on the quota. `headroom` is the share
    (in percent) that is left unused, for calls that bunch up on their way.
    """

    name: str
    model: QuotaModel
    amount: int
    costs: tuple[tuple[str, int], ...]
    window_ms: int = 0
    burst: int = 0
    restored: int = 0
    anchor: Literal["reset", "clock"] = "reset"
    period: Literal["day", "month"] = "day"
    zone: str = "UTC"
    adaptive: bool = False
    headroom: int = 0
    scope: QuotaScope = "connection"
    free: tuple[int, ...] = ()
    settle: QuotaSettlement | None = None
    queue: QuotaQueue | None = None
