"""What recording every call costs: the same engine with it on and off."""

from __future__ import annotations

from bench import hosted, provider
from bench.measure import Effort, Outcome
from bench.measurements.side_by_side import compare
from bench.stage import Stage


def measure(stage: Stage, effort: Effort) -> Outcome:
    origin = provider.start(stage)
    pair = [
        hosted.start(stage, origin, "not recording", record=False),
        hosted.start(stage, origin, "recording", record=True),
    ]
    compared = compare(stage, effort, pair)
    cost = 1 - compared.ratio("recording", "not recording")
    return Outcome(
        figures={"gate.recording_cost": cost},
        table=compared.table(
            "Recording on and off",
            note="What the core cannot store at once waits in the spool, on disk, and is stored after.",
        ),
        rounds=compared.rounds(),
    )
