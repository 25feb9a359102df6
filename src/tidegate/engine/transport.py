"""httpx over the engine's dialler. Apart from the rest, because httpx takes its time to import."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import httpx

from tidegate.engine.engine import Engine
from tidegate.engine.errors import FetchError
from tidegate.engine.fetch import FetchOptions

_MS: Final = 1_000
_SECONDS_MAX: Final = 600.0


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
