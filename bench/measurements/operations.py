"""Whether large tables slow calls down: 100,000 operations beside 10, 10,000 grants beside one."""

from __future__ import annotations

from bench import hosted, provider
from bench.measure import Effort, Outcome
from bench.measurements.side_by_side import compare
from bench.stage import Stage

_FEW = "10 operations"
_MANY = "100,000 operations"
_GRANTS = "10,000 grants"


def measure(stage: Stage, effort: Effort) -> Outcome:
    origin = provider.start(stage)
    engines = [
        hosted.start(stage, origin, _FEW, operations=10),
        hosted.start(stage, origin, _MANY, operations=100_000),
        hosted.start(stage, origin, _GRANTS, operations=10_000, grants=10_000),
    ]
    compared = compare(stage, effort, engines)
    return Outcome(
        figures={
            "gate.operations_100k": compared.ratio(_MANY, _FEW),
            "gate.grants_10k": compared.ratio(_GRANTS, _FEW),
        },
        table=compared.table(
            "Large tables",
            note="Calls go to 1,000 operations in turn, or to all 10; paths are equally long.",
        ),
        rounds=compared.rounds(),
    )
