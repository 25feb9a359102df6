"""A provider on loopback that counts strictly, in one of the ways in which providers count."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from support.handled import handled

Count = Callable[[float], bool]
"""Whether one more call at this moment (seconds) is within the limit; counts it in any case."""


def log(quota: int, window: float) -> Count:
    """So many in any window."""
    seen: deque[float] = deque()

    def count(now: float) -> bool:
        while seen and seen[0] <= now - window:
            seen.popleft()
        seen.append(now)
        return len(seen) <= quota

    return count


def bucket(capacity: float, restored: float) -> Count:
    """A bucket that leaks so much a second."""
    level, last = 0.0, 0.0

    def count(now: float) -> bool:
        nonlocal level, last
        level, last = max(level - (now - last) * restored, 0) + 1, now
        return level <= capacity

    return count


def window(quota: int, length: float) -> Count:
    """So many in each window of the clock."""
    which, used = -1, 0

    def count(now: float) -> bool:
        nonlocal which, used
        used = used + 1 if which == int(now / length) else 1
        which = int(now / length)
        return used <= quota

    return count


@dataclass
class Strict:
    """What it was asked, and what it refused."""

    url: str
    calls: int = 0
    refused: int = 0
    open: int = 0
    most_open: int = 0
    by_credential: dict[str, int] = field(default_factory=dict)
    hold_s: float = 0.0
    headers: Callable[[], dict[str, str]] = dict
    body: bytes = b"{}"
    status: int = 200


@contextmanager
def strict(count: Count | None = None, at_once: int | None = None) -> Iterator[Strict]:
    """Run one; each call takes `hold_s`, and is answered with `headers()` and `body`."""
    lock = threading.Lock()

    class Counting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                state.calls += 1
                state.open += 1
                state.most_open = max(state.most_open, state.open)
                who = self.headers.get("Authorization", "")
                state.by_credential[who] = state.by_credential.get(who, 0) + 1
                within = count is None or count(time.time())
                within &= at_once is None or state.open <= at_once
                state.refused += not within
            if state.hold_s:
                time.sleep(state.hold_s)
            body = state.body if within else json.dumps({"error": "limit"}).encode()
            with lock:
                state.open -= 1
            self.send_response(state.status if within else 429)
            for name, value in state.headers().items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

    with handled(Counting) as origin:
        state = Strict(origin)
        yield state
