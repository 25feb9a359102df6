"""Calls out on Tidegate's own behalf, through the engine's dialler.

Documents, token endpoints and audits are fetched by the same address checks and TLS rules as the
calls of consumers. Nothing else in Tidegate opens a connection to the world.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

import httpx

from tidegate.engine.errors import FetchError

if TYPE_CHECKING:
    from tidegate.engine.engine import Engine

_MS: Final = 1_000
_SECONDS_MAX: Final = 600.0


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """Bounds and trust of one call. `allow_private`, `ca_pem`, `pins` mean what a provider's do."""

    timeout_ms: int = 20_000
    max_bytes: int = 64 * 1024**2
    allow_private: tuple[str, ...] = ()
    ca_pem: str | None = None
    pins: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Write the JSON that the native engine reads."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer, whole. A redirect is an answer: it is for the caller to judge."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class TidegateTransport(httpx.BaseTransport):
    """httpx over the engine. Answers come whole; httpx's own redirects go through here again."""

    def __init__(self, engine: Engine, options: FetchOptions | None = None) -> None:
        self._engine = engine
        self._options = options or FetchOptions()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Make one call.

        Raises:
            httpx.TransportError: in the kind that httpx's users expect, caused by `FetchError`.
        """
        try:
            fetched = self._engine.fetch(
                request.method,
                str(request.url),
                [(name, value) for name, value in request.headers.items() if _is_ours(name)],
                request.read(),
                self._options_for(request),
            )
        except FetchError as failure:
            raise _transport_error(failure, request) from failure
        return httpx.Response(
            fetched.status, headers=list(fetched.headers), content=fetched.body, request=request
        )

    def _options_for(self, request: httpx.Request) -> FetchOptions:
        timeouts = [t for t in request.extensions.get("timeout", {}).values() if t is not None]
        if not timeouts:
            return self._options
        # The engine has one deadline for a whole call: the longest that httpx waits for a part.
        wanted_ms = int(min(max(timeouts), _SECONDS_MAX) * _MS)
        return replace(self._options, timeout_ms=wanted_ms)


def _is_ours(name: str) -> bool:
    """Leave framing, routing and encoding to the engine, which knows what it really sends."""
    return name.lower() not in {"host", "connection", "content-length", "transfer-encoding"}


def _transport_error(failure: FetchError, request: httpx.Request) -> httpx.TransportError:
    match failure.problem.code:
        case "provider_timeout" | "timeout":
            return httpx.ReadTimeout(failure.detail, request=request)
        case "response_rejected" | "too_large":
            return httpx.RemoteProtocolError(failure.detail, request=request)
        case _:
            return httpx.ConnectError(failure.detail, request=request)
