"""A provider that breaks off at every point of a call, and counts how often each call reached it."""

from __future__ import annotations

import random  # noqa: TID251 - repeatable, and nothing secret
import socket
import ssl
import struct
import threading
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO, Final, Self

from tidegate.sandbox.authority import Authority
from tidegate.sandbox.server import LOOPBACK

FAULTS: Final = (
    "reset on connecting",
    "close on connecting",
    "close after the handshake",
    "reset after the head",
    "reset in the body",
    "reset after the body",
    "close after the body",
    "reset in the status line",
    "reset in the answer's head",
    "reset in the answer's body",
    "502",
    "503",
    "504",
    "200, and close at rest",
    "200",
)
"""What can become of a call, each as likely as any other."""

_CALL: Final = "x-call"
_PATIENCE_S: Final = 20
_HEAD: Final = b"HTTP/1.1 %s Said\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n"


class BreakingServer:
    """Runs while its `with` block does. Calls are told apart by the field `X-Call`.

    What becomes of each is drawn by `seed`. `arrived` counts the requests whose head was read, by call;
    `faults` what was done, by its name in `FAULTS`.
    """

    def __init__(
        self, *, seed: int, authority: Authority | None = None, faults: tuple[str, ...] = FAULTS
    ) -> None:
        self.authority = authority or Authority()
        self.arrived: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._choices = faults
        self._chance = random.Random(seed)  # noqa: S311
        self._lock = threading.Lock()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=512)
        self._context = self.authority.certificate([LOOPBACK]).context()
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    @property
    def origin(self) -> str:
        """Where it listens."""
        return f"https://{LOOPBACK}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Closing alone does not wake an accept that waits.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _draw(self) -> str:
        with self._lock:
            return self._chance.choice(self._choices)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(_PATIENCE_S)
        fault = self._draw()
        with connection, suppress(OSError):
            if "on connecting" in fault:
                self._note(fault)
                _end(connection, fault)
                return
            with self._context.wrap_socket(connection, server_side=True) as secured:
                if fault == "close after the handshake":
                    self._note(fault)
                    return
                stream = secured.makefile("rb")
                while self._answer(secured, stream, fault):
                    fault = self._draw()

    def _answer(self, connection: ssl.SSLSocket, stream: BinaryIO, fault: str) -> bool:
        """Take one request; False when the connection has ended."""
        fields = _head(stream)
        if fields is None:
            return False
        self._note(fault)
        with self._lock:
            self.arrived[fields.get(_CALL, "")] += 1
        length = int(fields.get("content-length", "0"))
        if fault == "reset after the head":
            return _end(connection, fault)
        stream.read(length // 2 if fault == "reset in the body" else length)
        status = fault[:3].encode() if fault[:3].isdigit() else b"200"
        whole = _HEAD % status + b"said"
        sent = {
            "reset in the status line": whole[:8],
            "reset in the answer's head": whole[:30],
            "reset in the answer's body": whole[:-2],
        }
        if not fault[:3].isdigit():
            connection.sendall(sent.get(fault, b""))
            return _end(connection, fault)
        connection.sendall(whole)
        return "close" not in fault

    def _note(self, fault: str) -> None:
        with self._lock:
            self.faults[fault] += 1


def _head(stream: BinaryIO) -> dict[str, str] | None:
    lines: list[str] = []
    while line := stream.readline():
        if line == b"\r\n":
            pairs = (text.partition(":") for text in lines[1:])
            return {name.lower(): value.strip() for name, _, value in pairs}
        lines.append(line.decode("latin-1").rstrip("\r\n"))
    return None


def _end(connection: socket.socket, fault: str) -> bool:
    """End it: with a reset (RFC 9293 §3.5.2), what was not sent lost, or in order."""
    if fault.startswith("reset"):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    return False
