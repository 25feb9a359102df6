"""A provider that manages keys as providers do: each key has a life of its own, and a last use.

Keys are made, listed and deleted over the same TLS port as the API that they open. A new key may
take a while to be known everywhere, there may be two slots and no more, and a key may be replaced in
place, which ends the old one at once. What goes wrong on the way is asked for by `upset`.
"""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

from tidegate.sandbox.authority import Authority
from tidegate.sandbox.server import LOOPBACK

Upset = Literal["cut before", "cut after", "away", "unreadable"]
"""Cut before or after it is carried out, answer 503, or answer what is no JSON."""

_PATIENCE_S: Final = 30


@dataclass(slots=True)
class IssuedKey:
    """A key, as its provider knows it."""

    id: str
    name: str
    value: str = field(repr=False)
    created_at: float
    known_from: float
    last_used: float | None = None
    deleted_at: float | None = None


class KeyServer:
    """A provider with keys, while its `with` block runs. `manager` is the key that manages keys."""

    def __init__(
        self,
        *,
        authority: Authority | None = None,
        slots: int | None = None,
        propagation_s: float = 0.0,
        named: bool = True,
    ) -> None:
        self.authority = authority or Authority()
        self.manager = f"mgr-{secrets.token_hex(16)}"
        self.keys: dict[str, IssuedKey] = {}
        self.calls: Counter[str] = Counter()
        self.refused = 0
        self.requests: list[str] = []
        self.lock = threading.RLock()
        self._slots = slots
        self._propagation_s = propagation_s
        self._named = named
        self._upsets: dict[str, deque[Upset]] = {}
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        certificate = self.authority.certificate([LOOPBACK])
        self._server = _Server(certificate.context(), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    @property
    def origin(self) -> str:
        """Where it is, as a provider's `origin`."""
        if self._server is None:
            raise RuntimeError("the key server is not running")
        return f"https://{LOOPBACK}:{self._server.server_address[1]}"

    @property
    def ca_pem(self) -> str:
        """The certificate of the authority that vouches for it."""
        return self.authority.pem.decode()

    def make(self, name: str = "") -> IssuedKey:
        """Make a key, as a person in the console would."""
        now = time.time()
        made = IssuedKey(
            id=f"key_{secrets.token_hex(6)}",
            name=name if self._named else "",
            value=f"sk-{secrets.token_hex(20)}",
            created_at=now,
            known_from=now + self._propagation_s,
        )
        with self.lock:
            self.keys[made.id] = made
        return made

    def alive(self) -> list[IssuedKey]:
        """The keys that are not deleted."""
        with self.lock:
            return [key for key in self.keys.values() if key.deleted_at is None]

    def upset(self, request: str, *how: Upset) -> None:
        """Let the next requests `METHOD /path` go wrong, one after another."""
        with self.lock:
            self._upsets.setdefault(request, deque()).extend(how)

    def next_upset(self, request: str) -> Upset | None:
        """Take what goes wrong with this request."""
        with self.lock:
            waiting = self._upsets.get(request)
            return waiting.popleft() if waiting else None

    def answer(self, method: str, path: str, bearer: str, body: bytes) -> tuple[int, Any]:
        """Carry a request out."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            key = self._valid(bearer)
            if path.startswith("/keys"):
                if bearer != self.manager and key is None:
                    return HTTPStatus.UNAUTHORIZED, {"error": "unauthorized"}
                return self._manage(method, path, body)
            if key is None:
                self.refused += 1
                return HTTPStatus.UNAUTHORIZED, {"error": "unauthorized"}
            if (method, path) == ("POST", "/self/rotate"):
                key.deleted_at = time.time()
                made = self.make(key.name)
                return HTTPStatus.OK, {"id": made.id, "key": made.value}
            if path == "/self":
                return HTTPStatus.OK, {"id": key.id}
            key.last_used = time.time()
            self.calls[key.id] += 1
            return HTTPStatus.OK, {"things": []}

    def _valid(self, bearer: str) -> IssuedKey | None:
        now = time.time()
        for key in self.keys.values():
            if key.value == bearer and key.deleted_at is None and key.known_from <= now:
                return key
        return None

    def _manage(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if (method, path) == ("POST", "/keys"):
            if self._slots is not None and len(self.alive()) >= self._slots:
                return HTTPStatus.CONFLICT, {"error": "limit_exceeded"}
            made = self.make(str(json.loads(body or b"{}").get("name", "")))
            return HTTPStatus.CREATED, {"id": made.id, "key": made.value, "name": made.name}
        if (method, path) == ("GET", "/keys"):
            return HTTPStatus.OK, {"keys": [_shown(key) for key in self.alive()]}
        found = self.keys.get(path.removeprefix("/keys/"))
        if method == "DELETE" and found is not None and found.deleted_at is None:
            found.deleted_at = time.time()
            return HTTPStatus.NO_CONTENT, None
        return HTTPStatus.NOT_FOUND, {"error": "not_found"}


def _shown(key: IssuedKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "created_at": _moment(key.created_at),
        "last_used": None if key.last_used is None else _moment(key.last_used),
    }


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, context: ssl.SSLContext, keys: KeyServer) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.context = context
        self.keys = keys

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the connection's own thread: a slow handshake holds up nobody else.
        with suppress(OSError):
            request.settimeout(_PATIENCE_S)
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a connection that is cut is a wish here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._do
        raise AttributeError(name)

    def _do(self) -> None:
        keys = cast("_Server", self.server).keys
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path = self.path.partition("?")[0]
        upset = keys.next_upset(f"{self.command} {path}")
        if upset == "cut before":
            self.close_connection = True
            return
        if upset == "away":
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, b"{}")
            return
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        status, answer = keys.answer(self.command, path, bearer, body)
        if upset == "cut after":
            self.close_connection = True
            return
        content = b"" if answer is None else json.dumps(answer).encode()
        self._send(status, b"<html>" if upset == "unreadable" else content)

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()
