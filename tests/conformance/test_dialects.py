"""What well-known providers say of their limits is understood: plenty left, nearly empty, throttled, odd.

Each case gives its source. The answers are made after what the sources say; none was recorded.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.samples import provider

from tidegate.catalog.dialect import built_in_dialect, dialect_names
from tidegate.engine import _wire
from tidegate.snapshot.compile import dialect_json

FOLDER = Path(__file__).parent / "dialects"
NOW_MS = 1_795_766_400_000
"""2026-11-27, 08:00:00 UTC."""

SITUATIONS = ("plenty left", "nearly empty", "throttled")


def cases() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (file.stem, name, case)
        for file in sorted(FOLDER.glob("*.yaml"))
        for name, case in yaml.safe_load(file.read_text()).items()
    ]


@cache
def written(dialect: str) -> str:
    declared = replace(provider(), dialect=built_in_dialect(dialect))
    return json.dumps(dialect_json(declared, several=False))


def said(dialect: str, answer: dict[str, Any]) -> list[dict[str, Any]]:
    body = answer.get("text")
    if "body" in answer:
        body = json.dumps(answer["body"])
    headers = list(answer.get("headers", {}).items())
    encoded = (body or "").encode()
    return json.loads(
        _wire.read_signals(written(dialect), answer["status"], headers, encoded, NOW_MS)
    )


@pytest.mark.parametrize(
    ("dialect", "case"),
    [pytest.param(dialect, case, id=f"{dialect}: {name}") for dialect, name, case in cases()],
)
def test_an_answer_is_understood(dialect: str, case: dict[str, Any]):
    assert said(dialect, case["answer"]) == case["says"], case["source"]


def test_each_dialect_of_the_cases_has_the_three_usual_situations_and_an_odd_one():
    by_dialect: dict[str, set[str]] = {}
    for dialect, name, _ in cases():
        by_dialect.setdefault(dialect, set()).add(name)
    assert len(by_dialect) >= 20
    for dialect, names in by_dialect.items():
        assert set(SITUATIONS) < names, dialect
        assert len(names) >= 4, dialect
    assert by_dialect.keys() <= set(dialect_names())


@pytest.mark.parametrize("dialect", dialect_names())
def test_what_a_hostile_provider_says_is_bounded_and_nothing_else(dialect: str):
    fields = (*built_in_dialect(dialect).fields(shared=False), "retry-after", "date")
    for text in ("", "-1", "9" * 40, "NaN", "1e308", "x" * 5_000, "[" * 500, '{"a":' * 100):
        for status in (200, 403, 429, 503):
            headers = dict.fromkeys(fields, text)
            for signal in said(dialect, {"status": status, "headers": headers, "text": text}):
                for key in ("reset_ms", "retry_after_ms"):
                    assert 0 <= signal.get(key, 0) <= 31 * 86_400_000
