"""HTTP on loopback by a handler of the standard library's kind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Quiet(BaseHTTPRequestHandler):
    """Keeps connections open, and says nothing of its own."""

    protocol_version = "HTTP/1.1"
    # Head and body go in two writes: with Nagle's algorithm the second waits for 40 ms.
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


@contextmanager
def handled(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve by it; gives the origin."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Quiet, handler), {}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
