"""Ask what would become of a call, on a snapshot and without making it.

The engine's own steps decide, up to the point where a connection would be opened: what `explain`
says is what a call would meet.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tidegate.engine import _wire
from tidegate.engine.errors import EngineError
from tidegate.problems import PROBLEMS, Problem


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """A call to be explained: what a consumer would send, with the consumer known already."""

    consumer: str
    method: str
    target: str
    host: str = ""
    client: str | None = None
    connection: str | None = None


@dataclass(frozen=True, slots=True)
class ExplainStep:
    """One step of the way: whether it lets the call pass, by which rule, and what it found."""

    step: str
    verdict: Literal["pass", "refuse"]
    rule: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would become of the call.

    `outcome` is `allow`, `report` (no grant covers it; one in report mode lets it through) or the
    code of the problem that the consumer would be told.
    """

    outcome: str
    provider: str | None
    operation: str | None
    client: str | None
    connection: str | None
    origin: str | None
    steps: tuple[ExplainStep, ...]

    @property
    def allowed(self) -> bool:
        """Whether the call would be sent."""
        return self.outcome in {"allow", "report"}

    @property
    def problem(self) -> Problem | None:
        """What the consumer would be told, when the call would not be sent."""
        return None if self.allowed else PROBLEMS.get(self.outcome, PROBLEMS["internal"])

    @property
    def rule(self) -> str | None:
        """What settles it: the grant that lets it through, or the rule of the step that refuses."""
        settles = [s for s in self.steps if s.step == "decide"] if self.allowed else self.steps[-1:]
        return next((step.rule for step in settles), None)

    @property
    def detail(self) -> str | None:
        """Why the call would be refused, and what to change."""
        return next((step.detail for step in self.steps if step.verdict == "refuse"), None)


def explain(snapshot: bytes, request: ExplainRequest) -> Explanation:
    """Decide `request` on `snapshot`.

    Raises:
        EngineError: the snapshot or the request cannot be read.
    """
    try:
        answer: dict[str, Any] = json.loads(_wire.explain(snapshot, json.dumps(asdict(request))))
    except _wire.EngineError as error:
        raise EngineError(str(error)) from None
    return Explanation(
        **{name: answer[name] for name in Explanation.__slots__ if name != "steps"},
        steps=tuple(ExplainStep(**step) for step in answer["steps"]),
    )


def check_snapshot(snapshot: bytes) -> None:
    """Find out whether an engine would take a snapshot, without one that runs.

    Raises:
        EngineError: it would not, and why.
    """
    explain(snapshot, ExplainRequest(consumer="", method="GET", target="/"))
