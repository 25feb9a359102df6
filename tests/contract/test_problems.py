"""Both halves report the same failures."""

from __future__ import annotations

from tidegate.engine import _wire
from tidegate.problems import PROBLEMS


def test_engine_and_python_list_the_same_problems():
    ours = [(problem.code, problem.status, problem.title) for problem in PROBLEMS.values()]
    assert _wire.problems() == ours
