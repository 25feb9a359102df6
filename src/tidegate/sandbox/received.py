"""Remember what a sandbox received, to show what a provider would have seen.

Values are kept for tests to look at; whatever is shown or served is the `redacted` view, which
holds names, sizes and verdicts only.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

BODY_KEPT_BYTES = 1024 * 1024
CALLS_KEPT = 10_000

Verdict = Literal["right", "wrong", "absent", "not asked for"]
End = Literal["open", "answered", "cut", "consumer gone"]


@dataclass(frozen=True, slots=True)
class Received:
    """One call as the provider saw it.

    `account` names whose credential it carried, when it was a right one. `body` is its first
    mebibyte, `body_bytes` its whole length. `status` None: no answer was begun.
    """

    number: int
    at_ms: int
    method: str
    path: str
    http: str
    operation: str | None
    credential: Verdict
    account: str | None
    query: tuple[tuple[str, str], ...] = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    body_bytes: int = 0
    status: int | None = None
    end: End = "open"

    def header(self, name: str) -> str | None:
        """Give a header's value, several joined as RFC 9110 §5.3 says, or None."""
        values = [value for key, value in self.headers if key == name.lower()]
        return ", ".join(values) if values else None

    def redacted(self) -> dict[str, Any]:
        """Tell of the call without a value from it."""
        return {
            "number": self.number,
            "at_ms": self.at_ms,
            "method": self.method,
            "path": self.path,
            "http": self.http,
            "operation": self.operation,
            "credential": self.credential,
            "account": self.account,
            "query": [name for name, _ in self.query],
            "headers": list(dict.fromkeys(name for name, _ in self.headers)),
            "body_bytes": self.body_bytes,
            "status": self.status,
            "end": self.end,
        }


class Ledger:
    """The calls a sandbox received, oldest first, at most `kept`; safe between threads."""

    def __init__(self, kept: int = CALLS_KEPT) -> None:
        self._calls: deque[Received] = deque(maxlen=kept)
        self._changed = threading.Condition()
        self._numbers = 0
        # In the order of their ends, which is not the order of their arrival.
        self._ended: deque[Received] = deque(maxlen=kept)
        self._endings = 0

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Received]:
        with self._changed:
            return iter(tuple(self._calls))

    def __getitem__(self, index: int) -> Received:
        with self._changed:
            return self._calls[index]

    def add(self, call: Received) -> Received:
        """Keep a call; returns it with its number."""
        with self._changed:
            self._numbers += 1
            numbered = replace(call, number=self._numbers)
            self._calls.append(numbered)
            self._changed.notify_all()
            return numbered

    def settle(self, number: int, end: End) -> None:
        """Note how a call ended."""
        with self._changed:
            for index, call in enumerate(self._calls):
                if call.number == number:
                    self._calls[index] = replace(call, end=end)
                    self._ended.append(self._calls[index])
                    self._endings += 1
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget every call."""
        with self._changed:
            self._calls.clear()

    def ended(self) -> Iterator[Received]:
        """Give each call once it has ended, and wait for the next, for ever."""
        given = 0
        while True:
            with self._changed:
                while self._endings == given:
                    self._changed.wait()
                fresh = tuple(self._ended)[-(self._endings - given) :]
                given = self._endings
            yield from fresh

    def wait_for(self, matches: Callable[[Received], bool], timeout_s: float = 10) -> Received:
        """Wait until a call is as asked for.

        Raises:
            TimeoutError: naming what did arrive.
        """
        ends = time.monotonic() + timeout_s
        with self._changed:
            while True:
                found = next((call for call in self._calls if matches(call)), None)
                if found is not None:
                    return found
                if not self._changed.wait(ends - time.monotonic()):
                    seen = [call.redacted() for call in self._calls]
                    raise TimeoutError(f"no such call within {timeout_s} s; received: {seen}")
