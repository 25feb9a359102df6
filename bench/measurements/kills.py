"""Whoever refreshes a token or replaces a key is killed, again and again, at any write point."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

from bench.measure import QUICK, Effort, Outcome, Table
from bench.postgresql import postgresql
from bench.stage import Stage
from bench.trials.killing import Killed, kill_refreshes, kill_rotations

_SEED: Final = 20_260_301
_REFRESHES: Final = 150
_ROTATIONS: Final = 100


def measure(_stage: Stage, effort: Effort) -> Outcome:
    part = 10 if effort is QUICK else 1
    refreshes, rotations = _REFRESHES // part, _ROTATIONS // part
    made: dict[str, Killed] = {}
    with postgresql() as url:
        made["refreshes, SQLite"] = _in_folder(
            lambda folder, own: kill_refreshes(folder, own, kills=refreshes, seed=_SEED)
        )
        made["refreshes, PostgreSQL"] = _in_folder(
            lambda folder, _: kill_refreshes(folder, url, kills=refreshes, seed=_SEED + 1)
        )
        made["refreshes, no token taken twice"] = _in_folder(
            lambda folder, own: kill_refreshes(
                folder, own, kills=rotations, seed=_SEED + 2, reuse_s=0
            )
        )
        made["rotations, SQLite"] = _in_folder(
            lambda folder, own: kill_rotations(folder, own, kills=rotations, seed=_SEED + 3)
        )
    faults = sum(killed.faults for killed in made.values())
    slowest_s = max(killed.slowest_s for killed in made.values())
    return Outcome(
        figures={
            "credentials.kill_recovery_s": slowest_s,
            "credentials.kill_faults": float(faults),
        },
        table=Table(
            "Killed in the middle",
            (
                "",
                "kills",
                "faults",
                "used again",
                "consents lost",
                "right again: median",
                "slowest",
            ),
            [(name, *_row(killed)) for name, killed in made.items()],
            note="A provider that takes no refresh token twice ends the consent when an answer was "
            "lost: nobody can tell it from a thief, and a person must consent anew.",
        ),
        rounds={
            name: {"kills": dict(killed.kills), "recoveries_s": killed.recoveries_s}
            for name, killed in made.items()
        },
    )


def _in_folder(kill: Callable[[Path, str], Killed]) -> Killed:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        return kill(Path(folder), f"sqlite:///{folder}/data/tidegate.db")


def _row(killed: Killed) -> tuple[str, ...]:
    return (
        f"{killed.kills.total()}",
        f"{killed.faults}",
        f"{killed.reused}",
        f"{killed.consents_lost}",
        f"{median(killed.recoveries_s):.2f} s",
        f"{killed.slowest_s:.2f} s",
    )
