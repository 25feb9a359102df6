"""Measure, print tables, write JSON: `python -m bench [--quick] [MEASUREMENT …]`."""

from __future__ import annotations

import argparse
import sys

from bench.measure import FULL, QUICK
from bench.measurements import MEASUREMENTS
from bench.report import console
from bench.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="MEASUREMENT", help=", ".join(MEASUREMENTS))
    parser.add_argument(
        "--quick", action="store_true", help="see that it works; figures say nothing"
    )
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"no measurement `{unknown[0]}`; there are {', '.join(MEASUREMENTS)}")
    names = given.names or list(MEASUREMENTS)
    outcomes = run(console(), names, QUICK if given.quick else FULL)
    return 0 if len(outcomes) == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
