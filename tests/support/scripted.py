"""A provider whose every byte a test decides: TLS, one connection after another, a script for each."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tidegate.sandbox import Authority

Script = Callable[["Wire"], None]


class Wire:
    """One connection, read and written as HTTP/1.1 text."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._stream = connection.makefile("rb")

    def head(self) -> bytes:
        """Read a request's head, with the empty line."""
        lines = b""
        while not lines.endswith(b"\r\n\r\n"):
            line = self._stream.readline()
            if not line:
                raise ConnectionError
            lines += line
        return lines

    def line(self) -> bytes:
        return self._stream.readline()

    def chunk(self) -> bytes:
        """Read one chunk of a chunked body; empty for the last."""
        size = int(self._stream.readline(), 16)
        data = self._stream.read(size)
        self._stream.readline()
        return data

    def read(self, size: int) -> bytes:
        return self._stream.read(size)

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def half_close(self) -> None:
        """Send no more, said by TCP alone and not by TLS."""
        self._connection.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break off with a reset (RFC 9293 §3.5.2), unsent bytes lost."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.close()
        self._connection.close()

    def wait_for_end(self) -> None:
        """Wait until the other side goes."""
        while self._connection.recv(4096):
            pass

    def send_chunk(self, data: bytes) -> None:
        self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")


@contextmanager
def scripted(authority: Authority, script: Script) -> Iterator[str]:
    """Run the script for each connection; gives the origin."""
    context = authority.certificate(["127.0.0.1"]).context()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    threads: list[threading.Thread] = []

    def converse(connection: socket.socket) -> None:
        connection.settimeout(20)
        with (
            connection,
            suppress(OSError),
            context.wrap_socket(connection, server_side=True) as secured,
        ):
            script(Wire(secured))

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=converse, args=(connection,), daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        # Closing alone does not wake an accept that waits.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for thread in threads:
            thread.join(5)
