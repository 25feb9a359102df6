"""Many callers of many processes want the next token at the same moment; one may ask for it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from bench.measure import QUICK, Effort, Outcome, Table
from bench.postgresql import postgresql
from bench.stage import Stage
from bench.trials.racing import Raced, race

_PROCESSES: Final = 8
_CALLERS: Final = 64
_TRIALS: Final = 1_000


def measure_sqlite(_stage: Stage, effort: Effort) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        url = f"sqlite:///{folder}/data/tidegate.db"
        return _outcome("sqlite", _race(Path(folder), url, effort))


def measure_postgresql(_stage: Stage, effort: Effort) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder, postgresql() as url:
        return _outcome("postgresql", _race(Path(folder), url, effort))


def _race(folder: Path, url: str, effort: Effort) -> Raced:
    trials = 20 if effort is QUICK else _TRIALS
    return race(folder, url, processes=_PROCESSES, callers=_CALLERS, trials=trials)


def _outcome(store: str, raced: Raced) -> Outcome:
    return Outcome(
        figures={f"credentials.refresh_race_{store}": float(len(raced.astray))},
        table=Table(
            f"One token for {raced.callers} callers in {_PROCESSES} processes ({store})",
            ("trials", "requests", "not exactly one", "callers without the token"),
            [(
                f"{raced.trials}",
                f"{raced.requests}",
                f"{len(raced.astray)}",
                f"{raced.empty_handed}",
            )],
        ),
        rounds={"astray": raced.astray},
    )  # fmt: skip
