"""A provider on loopback that counts its calls, by client and in time, and may refuse the first ones."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Counting:
    """What came; `refusing_s` is what its next answer says after 429."""

    url: str
    times: list[float] = field(default_factory=list[float])
    by_client: Counter[str] = field(default_factory=Counter[str])
    hold_s: float = 0.0
    refusing_s: int | None = None

    @property
    def calls(self) -> int:
        return len(self.times)


@contextmanager
def counting() -> Iterator[Counting]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body go in two writes: with Nagle's algorithm the second waits for 40 ms.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            with lock:
                state.times.append(time.monotonic())
                state.by_client[self.path] += 1
                refusing, state.refusing_s = state.refusing_s, None
            time.sleep(state.hold_s)
            self.send_response(200 if refusing is None else 429)
            if refusing is not None:
                self.send_header("Retry-After", str(refusing))
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    state = Counting(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
