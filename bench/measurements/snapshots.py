"""Swapping an agency's snapshot: 1,000 clients, 10 connections each, GitHub's operations."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Final

from bench import hosted, provider
from bench.load import saturate_counting_failures
from bench.measure import Effort, Outcome, Table
from bench.stage import ROOT, BenchError, Stage

GITHUB: Final = ROOT / "node_modules/@octokit/openapi/generated/api.github.com.json"

_BUILDS: Final = 5
_SWAPS_A_ROUND: Final = 2
_BETWEEN_S: Final = 0.5
_SLOWER_UNDER_LOAD: Final = 8


def measure(stage: Stage, effort: Effort) -> Outcome:
    if not GITHUB.exists():
        raise BenchError(f"`{GITHUB.relative_to(ROOT)}` is missing: run `npm ci`")
    engine = hosted.start(stage, provider.start(stage), "estate", github=str(GITHUB))
    builds = [engine.publish() for _ in range(_BUILDS)]
    took = [build["compile_s"] + build["publish_s"] for build in builds]

    swaps = _SWAPS_A_ROUND * effort.rounds
    # Under load the compiler gets what the engine leaves of the core.
    seconds = swaps * (_SLOWER_UNDER_LOAD * max(took) + _BETWEEN_S) + _BETWEEN_S
    with ThreadPoolExecutor(1) as background:
        loaded = background.submit(saturate_counting_failures, engine.target, stage.cores, seconds)
        for _ in range(swaps):
            time.sleep(_BETWEEN_S)
            engine.publish()
        if loaded.done():
            raise BenchError("the load ended before the last swap")
        capacity = loaded.result()
    return Outcome(
        figures={
            "gate.snapshot_build_s": median(took),
            "gate.snapshot_swap_failures": capacity.failed,
        },
        table=Table(
            "A snapshot of 1,000 clients with 10 connections each, and GitHub's operations",
            ("", ""),
            [
                ("compiled in", f"{median(build['compile_s'] for build in builds):.3f} s"),
                ("swapped in", f"{median(build['publish_s'] for build in builds):.3f} s"),
                ("size", f"{builds[0]['bytes'] / 1024**2:.1f} MiB"),
                ("calls during swaps", f"{capacity.calls:,}"),
                ("swaps", f"{swaps}"),
                ("failed calls", f"{capacity.failed}"),
            ],
        ),
        rounds={"builds": builds, "swaps": swaps, "calls": capacity.calls},
    )
