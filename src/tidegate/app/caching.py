"""Let the running gateway be asked what it has stored of answers, and to take some out."""

from __future__ import annotations

from dataclasses import asdict

from tidegate.app.control import CannotAnswerError, Control, Question
from tidegate.engine import CachePurge, Engine, EngineError


class _Purge(Question):
    """Which answers: those for which all that is named holds."""

    client: str | None = None
    provider: str | None = None
    operation: str | None = None
    key: str | None = None
    group: str | None = None
    all: bool = False


def answer_cache_questions(control: Control, engine: Engine) -> None:
    """Take the questions `cache-stats` and `cache-purge`."""

    def purge(question: _Purge) -> int:
        try:
            return engine.cache_purge(CachePurge(**question.model_dump()))
        except EngineError as error:
            raise CannotAnswerError(str(error)) from None

    control.answers("cache-stats", Question, lambda _: asdict(engine.cache_stats()))
    control.answers("cache-purge", _Purge, purge)
