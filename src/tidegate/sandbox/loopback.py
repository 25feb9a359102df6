"""A small provider on loopback with TLS: what it answers is a subclass's, and what goes wrong is asked for.

It runs for a `with` block, each connection on a thread of its own.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Literal, Self, cast
from urllib.parse import parse_qsl

from tidegate.sandbox.authority import Authority
from tidegate.sandbox.server import LOOPBACK

Upset = Literal["cut before", "cut after", "away", "unreadable"]
"""Cut before or after it is carried out, answer 503, or answer what is no JSON."""

Moment = Literal["arrived", "carried out"]
"""Of a request: before anything is done, and after all is done and nothing is answered yet."""

_PATIENCE_S: Final = 30


@dataclass(frozen=True, slots=True)
class LoopbackRequest:
    """A request as it came. `headers` are named in lower case; `query` has the last of each name."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class LoopbackServer(ABC):
    """A provider that answers JSON. Its state is changed under `lock`.

    `meanwhile` is called in the middle of each request.
    """

    def __init__(self, authority: Authority | None = None) -> None:
        self.authority = authority or Authority()
        self.lock = threading.RLock()
        self.meanwhile: Callable[[Moment], None] = _nothing
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
            raise RuntimeError("the server is not running")
        return f"https://{LOOPBACK}:{self._server.server_address[1]}"

    @property
    def ca_pem(self) -> str:
        """The certificate of the authority that vouches for it."""
        return self.authority.pem.decode()

    def upset(self, request: str, *how: Upset) -> None:
        """Let the next requests `METHOD /path` go wrong, one after another."""
        with self.lock:
            self._upsets.setdefault(request, deque()).extend(how)

    def next_upset(self, request: str) -> Upset | None:
        """Take what goes wrong with this request."""
        with self.lock:
            waiting = self._upsets.get(request)
            return waiting.popleft() if waiting else None

    def answer_to(self, request: LoopbackRequest) -> tuple[int, Any]:
        """Carry a whole request out; most providers look at no more of it than `answer` is given."""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self.answer(request.method, request.path, bearer, request.body)

    @abstractmethod
    def answer(self, method: str, path: str, bearer: str, body: bytes) -> tuple[int, Any]:
        """Carry a request out: the status, and what is sent as JSON (None: nothing)."""


def _nothing(_moment: Moment) -> None:
    """Let requests be."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, context: ssl.SSLContext, provider: LoopbackServer) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.context = context
        self.provider = provider

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
        provider = cast("_Server", self.server).provider
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        path, _, query = self.path.partition("?")
        upset = provider.next_upset(f"{self.command} {path}")
        if upset == "cut before":
            self.close_connection = True
            return
        if upset == "away":
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, b"{}")
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = LoopbackRequest(self.command, path, dict(parse_qsl(query)), headers, body)
        provider.meanwhile("arrived")
        status, answer = provider.answer_to(request)
        provider.meanwhile("carried out")
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
