"""A provider of large bodies: gives or takes 1 GiB over TLS, and says how much it took.

python -m bench.bulk_provider PORT CERTIFICATE KEY
"""

from __future__ import annotations

import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from bench.provider import CREDENTIAL

BULK_BYTES: Final = 1024**3
PIECE_BYTES: Final = 256 * 1024


class _Bulk(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self._known():
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(BULK_BYTES))
        self.end_headers()
        piece = bytes(PIECE_BYTES)
        for _ in range(BULK_BYTES // PIECE_BYTES):
            self.wfile.write(piece)

    def do_PUT(self) -> None:
        if not self._known():
            return
        wanted = int(self.headers["Content-Length"])
        taken = 0
        while taken < wanted and (piece := self.rfile.read1(PIECE_BYTES)):
            taken += len(piece)
        self._answer(200, str(taken).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing: the figures are the client's."""

    def _known(self) -> bool:
        if self.headers["Authorization"] == CREDENTIAL:
            return True
        self.close_connection = True
        self._answer(401, b"")
        return False

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    port, certificate, key = sys.argv[1:]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), _Bulk)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
