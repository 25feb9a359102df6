"""The store is altered under the vault: every bit, every pair of rows, every older state."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from bench.measure import QUICK, Effort, Outcome, Table
from bench.stage import Stage
from bench.trials.tampering import Tried, flip_bits, roll_back, swap_rows

_CHANGES: Final = 20


def measure(_stage: Stage, effort: Effort) -> Outcome:
    quick = effort is QUICK
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        place = Path(folder)
        rows, manifests, whole = roll_back(place / "history", changes=4 if quick else _CHANGES)
        made = {
            "a bit flipped": flip_bits(place / "bits", every=61 if quick else 1),
            "rows exchanged": swap_rows(place / "rows"),
            "older rows": rows,
            "older rows with their manifest (anchor)": manifests,
            "the whole database, older (anchor)": whole,
        }
    accepted = sum(len(tried.accepted) for tried in made.values())
    return Outcome(
        figures={"credentials.tamper_accepted": float(accepted)},
        table=Table(
            "Altered under the vault",
            ("", "tried", "accepted", "refused without a word for it"),
            [(name, *_row(tried)) for name, tried in made.items()],
        ),
        rounds={
            name: {"accepted": tried.accepted, "unforeseen": tried.unforeseen}
            for name, tried in made.items()
        },
    )


def _row(tried: Tried) -> tuple[str, ...]:
    return f"{tried.tried}", f"{len(tried.accepted)}", f"{len(tried.unforeseen)}"
