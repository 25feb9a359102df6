"""Show what a policy makes of a sample of a request, by the engine's own code and without sending it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from tidegate.engine import _wire
from tidegate.engine.errors import EngineError
from tidegate.problems import PROBLEMS, Problem


@dataclass(frozen=True, slots=True)
class Sample:
    """A request as a consumer would send it: path and query at the gateway, header fields and body.

    `operation` is its id where `target` is a path template.
    """

    method: str
    target: str
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    operation: str | None = None


@dataclass(frozen=True, slots=True)
class TriedField:
    """What became of one field; `after` is None where the provider gets nothing of it."""

    place: str
    rule: str | None
    category: str | None
    do: str
    before: str
    after: str | None
    refused: str | None


@dataclass(frozen=True, slots=True)
class SentRequest:
    """What a provider gets of a request."""

    path: str
    query: str | None
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class TriedSample:
    """What a policy makes of a sample. `outcome` is `ok` or the code of a problem.

    `enforce_from` (Unix seconds) is when a policy that only reports as yet begins to enforce.
    """

    outcome: str
    detail: str | None
    provider: str | None
    operation: str | None
    policy: str | None
    purpose: str | None
    enforce_from: int | None
    fields: tuple[TriedField, ...]
    before: SentRequest | None
    after: SentRequest | None

    @property
    def problem(self) -> Problem | None:
        """What the consumer would be told, when the call would not be sent."""
        return None if self.outcome == "ok" else PROBLEMS.get(self.outcome, PROBLEMS["internal"])


def try_sample(snapshot: bytes, sample: Sample) -> TriedSample:
    """Try a sample on a snapshot.

    Raises:
        EngineError: the snapshot or the sample cannot be read.
    """
    question = {
        "method": sample.method,
        "target": sample.target,
        "host": sample.host,
        "headers": sample.headers,
        "body": base64.b64encode(sample.body).decode(),
        "operation": sample.operation,
    }
    try:
        answer: dict[str, Any] = json.loads(_wire.try_sample(snapshot, json.dumps(question)))
    except _wire.EngineError as error:
        raise EngineError(str(error)) from None
    parts = {name: answer[name] for name in TriedSample.__slots__}
    parts["fields"] = tuple(TriedField(**one) for one in answer["fields"])
    for name in ("before", "after"):
        parts[name] = None if answer[name] is None else _sent(answer[name])
    return TriedSample(**parts)


def _sent(written: dict[str, Any]) -> SentRequest:
    headers = tuple((name, value) for name, value in written["headers"])
    return SentRequest(
        written["path"], written["query"], headers, base64.b64decode(written["body"])
    )
