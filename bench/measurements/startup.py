"""How long `tidegate up` takes to be ready, and what it holds when nobody calls."""

from __future__ import annotations

import time
from statistics import median
from typing import Final

from bench import provider
from bench.gateway import Gateway
from bench.measure import Effort, Outcome, Table
from bench.procfs import resident_bytes
from bench.stage import Stage

_STARTS: Final = 5
_SETTLE_S: Final = 3.0
_MIB: Final = 1024**2


def measure(stage: Stage, _effort: Effort) -> Outcome:
    gateway = Gateway.prepare(stage, provider.start(stage))
    took: list[float] = []
    idle: list[float] = []
    for _ in range(_STARTS):
        began = time.monotonic()
        running = gateway.start()
        took.append(time.monotonic() - began)
        time.sleep(_SETTLE_S)
        idle.append(resident_bytes(running.pid) / _MIB)
        running.stop()
    return Outcome(
        figures={"gate.ready_s": median(took), "gate.idle_rss_mib": median(idle)},
        table=Table(
            "`tidegate up`",
            ("", "median", "worst"),
            [
                ("ready after", f"{median(took):.2f} s", f"{max(took):.2f} s"),
                ("memory when idle", f"{median(idle):.1f} MiB", f"{max(idle):.1f} MiB"),
            ],
        ),
        rounds={"ready_s": took, "idle_rss_mib": idle},
    )
