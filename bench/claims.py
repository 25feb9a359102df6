"""Measure what is claimed, beside its goal: `python -m bench.claims [--quick] [CLAIM …]`.

A claim that does not hold is shown like any other; only one that could not be measured is a
failure.
"""

from __future__ import annotations

import argparse
import json
import operator
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.measure import FULL, QUICK, Table
from bench.report import console, show
from bench.run import run

_HERE: Final = Path(__file__).parent
_COMPARISONS: Final = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Claim:
    """One entry of `claims.toml`. `goal` is a comparison and a number (`>= 2.0`)."""

    id: str
    what: str
    goal: str
    measurement: str
    command: str

    def holds(self, measured: float) -> bool:
        comparison, number = self.goal.split()
        return _COMPARISONS[comparison](measured, float(number))


def main() -> int:
    claims = _read()
    parser = argparse.ArgumentParser(prog="python -m bench.claims", description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="CLAIM")
    parser.add_argument(
        "--quick", action="store_true", help="see that it works; figures say nothing"
    )
    given = parser.parse_args()
    wanted = [claim for claim in claims if not given.ids or claim.id in given.ids]
    unknown = set(given.ids) - {claim.id for claim in claims}
    if unknown:
        parser.error(f"no claim `{min(unknown)}`; they are in bench/claims.toml")

    output = console()
    names = dict.fromkeys(claim.measurement for claim in wanted)
    outcomes = run(output, names, QUICK if given.quick else FULL)
    figures = {key: value for one in outcomes.values() for key, value in one.figures.items()}
    show(output, _table(wanted, figures))
    _write(wanted, figures)
    return 0 if all(claim.id in figures for claim in wanted) else 1


def _read() -> list[Claim]:
    content = tomllib.loads((_HERE / "claims.toml").read_text())
    return [Claim(**entry) for entry in content["claim"]]


def _table(claims: Sequence[Claim], figures: Mapping[str, float]) -> Table:
    rows: list[tuple[str, ...]] = []
    for claim in claims:
        measured = figures.get(claim.id)
        if measured is None:
            rows.append((claim.id, claim.goal, "-", "not measured", claim.what))
        else:
            verdict = "holds" if claim.holds(measured) else "does not hold"
            rows.append((claim.id, claim.goal, f"{measured:.3g}", verdict, claim.what))
    return Table("Claims", ("", "goal", "measured", "", "what"), rows)


def _write(claims: Sequence[Claim], figures: Mapping[str, float]) -> None:
    """Write it for programs. Claims that were not asked for keep what was measured before."""
    file = _HERE / "claims.json"
    known = {entry["id"]: entry for entry in json.loads(file.read_text())} if file.exists() else {}
    for claim in claims:
        measured = figures.get(claim.id)
        known[claim.id] = {
            "id": claim.id,
            "goal": claim.goal,
            "measured": measured,
            "holds": measured is not None and claim.holds(measured),
        }
    current = [known[claim.id] for claim in _read() if claim.id in known]
    file.write_text(json.dumps(current, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
