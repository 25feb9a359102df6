"""Throughput of engines that differ in one setting, in interleaved rounds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from bench.hosted import Hosted
from bench.load import Capacity, saturate
from bench.measure import Effort, Table, median_ratio
from bench.procfs import processor_seconds
from bench.stage import Stage

_QUIET_SHARE: Final = 0.1
_QUIET_WITHIN_S: Final = 60.0
_LOOK_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Compared:
    """The rounds of each engine, by its name."""

    seen: Mapping[str, Sequence[Capacity]]

    def ratio(self, of: str, to: str) -> float:
        """The one's throughput in that of the other."""
        return median_ratio(self._rates(of), self._rates(to))

    def table(self, title: str, note: str = "") -> Table:
        first = next(iter(self.seen))
        rows = [
            (name, f"{median(self._rates(name)):,.0f}", f"{self.ratio(name, first):.3f}")
            for name in self.seen
        ]
        return Table(title, ("", "calls/s", "in that of the first"), rows, note)

    def rounds(self) -> dict[str, Any]:
        return {name: [asdict(one) for one in rounds] for name, rounds in self.seen.items()}

    def _rates(self, name: str) -> list[float]:
        return [one.per_second for one in self.seen[name]]


def compare(stage: Stage, effort: Effort, engines: Sequence[Hosted]) -> Compared:
    """Load each in turn, round after round."""
    seen: dict[str, list[Capacity]] = {one.target.name: [] for one in engines}
    for _ in range(effort.rounds):
        for one in engines:
            _wait_until_quiet(engines)
            saturate(one.target, stage.cores, effort.warmup_seconds, paths=one.paths)
            capacity = saturate(one.target, stage.cores, effort.seconds, paths=one.paths)
            seen[one.target.name].append(capacity)
    return Compared(seen)


def _wait_until_quiet(engines: Sequence[Hosted]) -> None:
    """Wait until whoever ran before has stored its records and leaves the core alone."""
    end = time.monotonic() + _QUIET_WITHIN_S
    before = _used(engines)
    while time.monotonic() < end:
        time.sleep(_LOOK_S)
        now = _used(engines)
        if now - before < _QUIET_SHARE * _LOOK_S:
            return
        before = now


def _used(engines: Sequence[Hosted]) -> float:
    return sum(processor_seconds(one.running.pid) for one in engines)
