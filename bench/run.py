"""Run measurements one after the other, each on a stage of its own."""

from __future__ import annotations

import traceback
from collections.abc import Iterable

from rich.console import Console

from bench import report
from bench.load import build_generator
from bench.measure import Effort, Outcome
from bench.measurements import MEASUREMENTS
from bench.stage import BenchError, Stage


def run(console: Console, names: Iterable[str], effort: Effort) -> dict[str, Outcome]:
    """Measure and print. What cannot be measured is told and left out; the rest is still made."""
    build_generator()
    outcomes: dict[str, Outcome] = {}
    for name in names:
        console.print(f"[dim]measuring {name} …[/dim]")
        try:
            with Stage() as stage:
                outcomes[name] = MEASUREMENTS[name](stage, effort)
        except BenchError as error:
            console.print(f"{name}: {error}", style="red", markup=False)
        except Exception:  # noqa: BLE001 - a mistake in one measurement must not hide the others
            console.print(f"{name}: {traceback.format_exc()}", style="red", markup=False)
        else:
            report.show(console, outcomes[name].table)
    console.print(f"[dim]every round: {report.write(outcomes, effort)}[/dim]")
    return outcomes
