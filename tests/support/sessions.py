"""A provider with sessions: it lets in who knows the password, and takes calls with a token that is live."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from support.scripted import Wire, scripted
from tidegate.sandbox import Authority


@dataclass(frozen=True)
class Asked:
    """One request, as the provider read it."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def json(self) -> object:
        return json.loads(self.body)

    def cookie(self, name: str) -> str | None:
        pairs = (pair.strip().partition("=") for pair in self.fields.get("cookie", "").split(";"))
        return next((value for known, _, value in pairs if known == name), None)

    def bearer(self) -> str | None:
        kind, _, token = self.fields.get("authorization", "").partition(" ")
        return token if kind == "Bearer" else None


Said = tuple[int, dict[str, str], bytes]


@dataclass
class Sessions:
    """How one provider does it, and what came of it.

    `login` gives the answer to a login with a token that is new, `None` where the request is none, and
    raises where it is not what the provider's documentation asks for.
    """

    login: Callable[[Asked, str], Said | None]
    shown: Callable[[Asked], str | None]
    ends: Callable[[Asked], bool] = lambda _: False
    status: int = 401
    live: set[str] = field(default_factory=set[str])
    issued: list[str] = field(default_factory=list[str])
    calls: list[Asked] = field(default_factory=list[Asked])
    logins: list[Asked] = field(default_factory=list[Asked])
    ended: int = 0
    refuses: Said | None = None
    wrong: list[str] = field(default_factory=list[str])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while head := wire.head():
                line, *lines = head.decode().split("\r\n")
                method, target, _ = line.split(" ")
                pairs = (one.partition(": ") for one in lines if one)
                fields = {name.lower(): value for name, _, value in pairs}
                body = wire.read(int(fields.get("content-length", "0")))
                with self.lock:
                    status, named, content = self._answer(Asked(method, target, fields, body))
                named = {"Content-Length": str(len(content)), **named}
                head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
                wire.send(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + content)

    def over(self) -> None:
        """End all sessions, as a provider may at any time."""
        with self.lock:
            self.live.clear()

    def _answer(self, asked: Asked) -> Said:
        token = f"session-{len(self.issued) + 1}-of-acme"
        try:
            said = self.login(asked, token)
        except (AssertionError, KeyError, ValueError) as wrong:
            self.wrong.append(repr(wrong))
            return 400, {}, b"{}"
        if said is not None:
            self.logins.append(asked)
            if self.refuses is not None:
                return self.refuses
            self.issued.append(token)
            self.live.add(token)
            return said
        shown = self.shown(asked)
        if shown not in self.live:
            return self.status, {}, b'{"error": "session"}'
        if self.ends(asked):
            self.live.discard(str(shown))
            self.ended += 1
            return 204, {}, b""
        self.calls.append(asked)
        return 200, {"Content-Type": "application/json"}, b'{"ok": true}'


def said(document: object, **headers: str) -> Said:
    """An answer in JSON."""
    named = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return 200, named, json.dumps(document).encode()


@contextmanager
def serving_sessions(sessions: Sessions, ca: Authority) -> Iterator[str]:
    """Run it; gives the origin."""
    with scripted(ca, sessions) as origin:
        yield origin
