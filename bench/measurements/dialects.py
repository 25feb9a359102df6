"""How many answers of well-known providers about their limits are misread, of the cases that the tests keep."""

from __future__ import annotations

import json
from typing import Any

import yaml

from bench.measure import Effort, Outcome, Table
from bench.stage import ROOT, Stage
from tidegate.catalog.dialect import built_in_dialect
from tidegate.domain.declaration import Provider
from tidegate.engine import _wire
from tidegate.snapshot.compile import dialect_json

_CASES = ROOT / "tests" / "conformance" / "dialects"
_NOW_MS = 1_795_766_400_000


def measure(_stage: Stage, _effort: Effort) -> Outcome:
    rows: list[tuple[str, ...]] = []
    for file in sorted(_CASES.glob("*.yaml")):
        cases = yaml.safe_load(file.read_text())
        wrong = sum(_said(file.stem, case["answer"]) != case["says"] for case in cases.values())
        rows.append((file.stem, f"{len(cases)}", f"{wrong}"))
    return Outcome(
        figures={"traffic.dialect_fixtures": sum(int(row[2]) for row in rows)},
        table=Table("What providers say of their limits", ("dialect", "cases", "wrong"), rows),
    )


def _said(name: str, answer: dict[str, Any]) -> list[dict[str, Any]]:
    provider = Provider(name, name, (), (), (), dialect=built_in_dialect(name))
    body = json.dumps(answer["body"]) if "body" in answer else answer.get("text", "")
    headers = list(answer.get("headers", {}).items())
    dialect = json.dumps(dialect_json(provider, several=False))
    return json.loads(
        _wire.read_signals(dialect, answer["status"], headers, body.encode(), _NOW_MS)
    )
