"""A provider for tests of the cache: it answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from support.passage import Passage, put_before
from support.scripted import Wire, scripted
from tidegate.sandbox import Authority


@dataclass(frozen=True)
class Request:
    """One that came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Reply:
    """What is answered."""

    body: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[Request], Reply]


class Provider:
    """Answers each path by a function; with `down` it closes connections instead."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.seen: list[Request] = []
        self.down = False
        self.connections = 0
        self._lock = threading.Lock()

    def say(self, path: str, body: str = "", status: int = 200, **headers: str) -> None:
        """Answer a path like this from now on; `_` in a header's name is `-`."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = lambda _: Reply(body, status, fields)

    def asked(self, path: str) -> int:
        """How often a path was asked for."""
        with self._lock:
            return sum(one.target.partition("?")[0] == path for one in self.seen)

    def __call__(self, wire: Wire) -> None:
        with self._lock:
            self.connections += 1
        with suppress(ConnectionError):
            while not self.down:
                request = _read(wire)
                with self._lock:
                    self.seen.append(request)
                if self.down:
                    return
                reply = self.answers[request.target.partition("?")[0]](request)
                _write(wire, request, reply)


def _read(wire: Wire) -> Request:
    first, *lines = wire.head().decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(iter(wire.chunk, b""))
    else:
        body = wire.read(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body)


def _write(wire: Wire, request: Request, reply: Reply) -> None:
    fields = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
    body = reply.body.encode()
    length = "" if reply.status == 304 else f"Content-Length: {len(body)}\r\n"
    head = f"HTTP/1.1 {reply.status} Said\r\n{fields}{length}\r\n".encode()
    wire.send(head + (b"" if request.method == "HEAD" or reply.status == 304 else body))


@dataclass
class Scene:
    """A gateway before such a provider, and its clients."""

    provider: Provider
    passage: Passage
    tokens: Mapping[str, str]

    def call(
        self,
        path: str,
        method: str = "GET",
        client: str = "acme",
        *,
        content: bytes | str | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Make a call; `_` in a header's name is `-`."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.request(
            method,
            f"{self.passage.base}{path}",
            headers={"Tidegate-Token": self.tokens[client], **fields},
            content=content,
            trust_env=False,
            timeout=20,
        )

    def way(self, path: str, method: str = "GET", client: str = "acme", **more: str) -> str:
        """What the cache says that it did."""
        return self.call(path, method, client, **more).headers["cache-status"]


@contextmanager
def scene(
    folder: Path,
    cache: str,
    *,
    clients: tuple[str, ...] = ("acme",),
    more: str = "",
    gateway: str = "",
) -> Iterator[Scene]:
    """Run one; `cache` is what the provider's `cache` declares, `more` further keys of the provider.

    `gateway` is further text of the gateway's own settings.
    """
    authority, provider = Authority(), Provider()
    declared = f"cache: {cache}\n    {more}" if cache else more
    with (
        scripted(authority, provider) as origin,
        put_before(
            folder,
            authority,
            origin,
            http="1.1",
            provider=declared,
            clients=clients,
            gateway=gateway,
        ) as passage,
    ):
        tokens = {client: passage.bound_to(client).token for client in clients}
        yield Scene(provider, passage, tokens)
