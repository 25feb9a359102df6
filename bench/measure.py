"""What a measurement takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from bench.stage import Stage


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how often. Rounds of things that are compared are interleaved."""

    rounds: int
    seconds: float
    warmup_seconds: float


FULL: Final = Effort(rounds=5, seconds=4.0, warmup_seconds=1.0)
QUICK: Final = Effort(rounds=1, seconds=1.0, warmup_seconds=1.0)
"""Shows that the bench works; its figures say nothing."""


@dataclass(frozen=True, slots=True)
class Table:
    """Something to print."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out: figures by claim id, a table for people, all rounds for the JSON."""

    figures: Mapping[str, float]
    table: Table
    rounds: Mapping[str, Any] = field(default_factory=dict[str, Any])


Measure = Callable[[Stage, Effort], Outcome]


def median_ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median of each round's ratio: neighbours in time share the machine's mood."""
    return median(one / other for one, other in zip(of, to, strict=True))
