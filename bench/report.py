"""Print tables for people; write JSON for programs."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table as RichTable

from bench.measure import Effort, Outcome, Table
from bench.stage import ROOT

RESULTS: Final = ROOT / "bench" / "results"


_WIDTH_WITHOUT_TERMINAL: Final = 160


def console() -> Console:
    """Standard output; into a file as wide as the tables are."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=_WIDTH_WITHOUT_TERMINAL)


def show(console: Console, table: Table) -> None:
    """Print one table and what is to be said about it."""
    printed = RichTable(title=table.title, title_justify="left", title_style="bold")
    for place, column in enumerate(table.columns):
        printed.add_column(column, justify="right" if place else "left", no_wrap=True)
    for row in table.rows:
        printed.add_row(*row)
    console.print(printed)
    if table.note:
        console.print(table.note, style="dim")
    console.print()


def write(outcomes: Mapping[str, Outcome], effort: Effort) -> Path:
    """Write every round of every measurement, and what they were made on."""
    now = datetime.now(UTC)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{now:%Y-%m-%dT%H%M%SZ}.json"
    content = {
        "at": now.isoformat(timespec="seconds"),
        "machine": {"processor": _processor(), "kernel": platform.release()},
        "effort": asdict(effort),
        "measurements": {
            name: {"figures": dict(one.figures), "rounds": one.rounds}
            for name, one in outcomes.items()
        },
    }
    file.write_text(json.dumps(content, indent=1) + "\n")
    return file


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
