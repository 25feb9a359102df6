"""Servers on plain and TLS sockets whose every byte a test decides, and what they were sent."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PATIENCE_S = 20

Converse = Callable[[socket.socket], None]


@contextmanager
def serving(listener: socket.socket, converse: Converse) -> Iterator[None]:
    """Hold a conversation with each connection, and end when all of them have ended."""
    threads: list[threading.Thread] = []

    def hold(connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        with connection, suppress(OSError):
            converse(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=hold, args=(connection,), daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield
    finally:
        # Closing alone does not wake an accept that waits.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for thread in threads:
            thread.join(PATIENCE_S)


@dataclass(frozen=True)
class Handshake:
    """One that was finished: on a session of before or anew, and with which certificate of the caller's."""

    resumed: bool
    certificate: bytes | None


@dataclass
class Seen:
    """What a TLS server saw. `received` is what came after a handshake, of all connections."""

    port: int
    connections: int = 0
    handshakes: list[Handshake] = field(default_factory=list[Handshake])
    received: bytearray = field(default_factory=bytearray)

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.port}"


Answer = Callable[[ssl.SSLSocket], None]


def answer_ok(connection: ssl.SSLSocket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    connection.unwrap()


@contextmanager
def tls_server(
    context: ssl.SSLContext, answer: Answer = answer_ok, host: str = "127.0.0.1"
) -> Iterator[Seen]:
    """Answer the first request of each connection. What was seen is complete after the block."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    seen = Seen(listener.getsockname()[1])

    def converse(connection: socket.socket) -> None:
        seen.connections += 1
        with context.wrap_socket(connection, server_side=True) as secured:
            resumed = bool(secured.session_reused)
            seen.handshakes.append(Handshake(resumed, secured.getpeercert(binary_form=True)))
            head = b""
            while b"\r\n\r\n" not in head and (data := secured.recv(65_536)):
                head += data
                seen.received += data
            if head:
                answer(secured)

    with serving(listener, converse):
        yield seen
