"""Ask what would become of a call, on a snapshot and without making it.

The engine's own steps decide, up to the point where a connection would be opened: what `explain`
says is what a call would meet. The question and the answer travel as JSON:

    {"consumer": "shop", "method": "GET", "target": "/stripe/v1/charges?limit=3", "host": null,
     "client": "acme", "connection": null}

    {"outcome": "ok", "detail": null, "rule": "grants[0]", "decision": "allow", "client": "acme",
     "provider": "stripe", "operation": "GetCharges", "connection": "con_9a",
     "origin": "https://api.stripe.com",
     "steps": [{"step": "route", "verdict": "provider `stripe`, operation `GetCharges`"}]}

`outcome` is `ok` or a problem's code, as in a call record.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from tidegate.engine import _wire
from tidegate.engine.errors import EngineError
from tidegate.problems import PROBLEMS, Problem


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """A call to be explained: what a consumer would send, with the consumer known already."""

    consumer: str
    method: str
    target: str
    host: str | None = None
    client: str | None = None
    connection: str | None = None


@dataclass(frozen=True, slots=True)
class ExplainStep:
    """One step of the way, and what it found."""

    step: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would become of the call, and which step would decide it by which rule."""

    outcome: str
    steps: tuple[ExplainStep, ...]
    detail: str | None = None
    rule: str | None = None
    decision: str | None = None
    client: str | None = None
    provider: str | None = None
    operation: str | None = None
    connection: str | None = None
    origin: str | None = None

    @property
    def allowed(self) -> bool:
        """Whether the call would be sent."""
        return self.outcome == "ok"

    @property
    def problem(self) -> Problem | None:
        """What the consumer would be told, when the call would not be sent."""
        return None if self.allowed else PROBLEMS.get(self.outcome, PROBLEMS["internal"])


def explain(snapshot: bytes, request: ExplainRequest) -> Explanation:
    """Decide `request` on `snapshot`.

    Raises:
        EngineError: the snapshot cannot be read, or the consumer does not exist.
    """
    try:
        answer: dict[str, Any] = json.loads(_wire.explain(snapshot, json.dumps(asdict(request))))
    except _wire.EngineError as error:
        raise EngineError(str(error)) from error
    steps = tuple(ExplainStep(s["step"], s["verdict"]) for s in answer.pop("steps"))
    return Explanation(steps=steps, **answer)
