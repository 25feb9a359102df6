"""A provider that reads requests whole and keeps them, as they came over the wire."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field

from support.scripted import Wire


@dataclass(frozen=True, slots=True)
class Seen:
    """One request."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """The values of a header field."""
        return [value for known, value in self.headers if known == name]

    @property
    def everything(self) -> bytes:
        """All of it, to look for something that must not be there."""
        lines = [f"{self.method} {self.target}", *(f"{n}: {v}" for n, v in self.headers)]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@dataclass
class Reader:
    """Answers by the statuses that a test gives, then by 200."""

    seen: list[Seen] = field(default_factory=list[Seen])
    statuses: list[int] = field(default_factory=list[int])
    fields: tuple[str, ...] = ()
    """Header lines of its answers."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while True:
                self._answer(wire)

    def _answer(self, wire: Wire) -> None:
        first, *lines = wire.head().decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.split(":", 1) for line in lines)
        headers = tuple((name.lower(), value.strip()) for name, value in pairs)
        found = dict(headers)
        body = b""
        if "transfer-encoding" in found:
            while piece := wire.chunk():
                body += piece
        else:
            body = wire.read(int(found.get("content-length", "0")))
        with self._lock:
            self.seen.append(Seen(method, target, headers, body))
            status = self.statuses.pop(0) if self.statuses else 200
        more = "".join(f"{line}\r\n" for line in self.fields)
        answer = b'{"ok":true}'
        kind = f"Content-Type: application/json\r\nContent-Length: {len(answer)}\r\n"
        head = f"HTTP/1.1 {status} X\r\n{kind}{more}\r\n"
        wire.send(head.encode() + answer)
