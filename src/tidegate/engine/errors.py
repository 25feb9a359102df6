"""What the engine can refuse, as Python errors. Messages are for operators and hold no secret."""

from __future__ import annotations

from tidegate.problems import PROBLEMS, Problem


class EngineError(Exception):
    """The engine did not take what it was given; what ran before still runs."""


class FetchError(Exception):
    """A call of Tidegate's own did not succeed; `problem` says in which way."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        # A code from a newer engine is no reason to fail twice.
        self.problem: Problem = PROBLEMS.get(code, PROBLEMS["internal"])
        self.detail = detail
