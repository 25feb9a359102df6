"""Run the pages: on a socket and a thread of their own, apart from the calls."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from typing import Final

import uvicorn

from tidegate.consent.site import site
from tidegate.credentials import Consents

START_TIMEOUT_S: Final = 15
AT_ONCE_MAX: Final = 64
"""How many connections there may be; beyond that, the answer is to come again."""


class Pages:
    """The pages on one listening socket, from `start` to `stop`."""

    def __init__(
        self,
        listener: socket.socket,
        consents: Consents,
        base: str,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._listener = listener
        self._scheme = "http" if tls is None else "https"
        self._server = _Server(site(consents, base), tls)
        self._thread = threading.Thread(target=self._run, name="tidegate-consent", daemon=True)

    @property
    def address(self) -> dict[str, str]:
        """Where they listen, by the listener's name."""
        host, port = self._listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return {f"{self._scheme}-consent": f"{shown}:{port}"}

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()
        if not self._server.ready.wait(START_TIMEOUT_S):
            raise RuntimeError(f"the consent pages did not start within {START_TIMEOUT_S} s")

    def stop(self) -> None:
        """Answer what is under way, and no more."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))


class _Server(uvicorn.Server):
    def __init__(self, app: object, tls: ssl.SSLContext | None) -> None:
        config = uvicorn.Config(
            app,  # pyright: ignore[reportArgumentType]
            lifespan="off",
            log_config=None,
            # Addresses hold links and codes.
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=AT_ONCE_MAX,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
        )
        config.load()
        config.ssl = tls
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()
