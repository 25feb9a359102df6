"""A provider that does with each call what a test says next, and keeps what it was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from support.scripted import Wire, scripted
from tidegate.sandbox import Authority


@dataclass(frozen=True)
class Call:
    """One arrival; `at` is on the monotonic clock. Fields are in small letters."""

    at: float
    line: str
    fields: dict[str, str]
    body: bytes


@dataclass
class Faulty:
    """Answers 200, unless `next_` or `always` says something else.

    A number is a status, with the fields after it (`503 Retry-After: 1`). `reset` breaks the connection
    off once the call has been read, `cut` before its body has, `hang` answers nothing until `done`,
    `slow` after half a second.
    """

    next_: list[str] = field(default_factory=list[str])
    always: str = "200"
    calls: list[Call] = field(default_factory=list[Call])
    done: threading.Event = field(default_factory=threading.Event)
    origin: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while head := wire.head():
                line, *rest = head.decode().split("\r\n")
                fields = {k.lower(): v for k, _, v in (f.partition(": ") for f in rest if f)}
                with self._lock:
                    behave = self.next_.pop(0) if self.next_ else self.always
                    length = 0 if behave == "cut" else int(fields.get("content-length", "0"))
                    self.calls.append(Call(time.monotonic(), line, fields, wire.read(length)))
                self._answer(wire, behave)

    def _answer(self, wire: Wire, behave: str) -> None:
        if behave in {"reset", "cut"}:
            wire.reset()
            raise ConnectionError
        if behave == "hang":
            self.done.wait(20)
        elif behave == "slow":
            self.done.wait(0.5)
        status, _, more = (behave if behave[0].isdigit() else "200").partition(" ")
        more += "\r\n" if more else ""
        wire.send(f"HTTP/1.1 {status} Said\r\n{more}Content-Length: 2\r\n\r\nok".encode())


@contextmanager
def faulty(authority: Authority, *next_: str, always: str = "200") -> Iterator[Faulty]:
    """Run one on a loopback port."""
    provider = Faulty(list(next_), always)
    with scripted(authority, provider) as provider.origin:
        try:
            yield provider
        finally:
            provider.done.set()
