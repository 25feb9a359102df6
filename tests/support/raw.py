"""A consumer on a bare socket, which sends what no HTTP library would."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

PATIENCE_S = 20


@dataclass(frozen=True)
class Answer:
    """One answer, read by its length or chunks."""

    status: int
    head: bytes
    body: bytes

    def field(self, name: str) -> str:
        """A header's value; empty where there is none."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.decode().lower() == name.lower():
                return value.strip().decode()
        return ""


class Raw:
    """One connection."""

    def __init__(self, connection: socket.socket, stream: BinaryIO) -> None:
        self._connection = connection
        self._stream = stream

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def end(self) -> None:
        """Send no more; answers may still come."""
        self._connection.shutdown(socket.SHUT_WR)

    def answer(self) -> Answer | None:
        """Read the next final answer; None when the gateway has closed, whole answer or not."""
        try:
            answer = self._next()
            while answer is not None and answer.status // 100 == 1:
                answer = self._next()
        except ConnectionResetError:
            return None
        return answer

    def answers(self) -> Iterator[Answer]:
        """Read answers until the gateway closes."""
        while (answer := self.answer()) is not None:
            yield answer

    def head(self) -> bytes:
        """Read the head of an answer, with the empty line; less where the gateway closes."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._stream.readline()
            if not line:
                break
            head += line
        return head

    def read(self, size: int) -> bytes:
        return self._stream.read(size)

    def _next(self) -> Answer | None:
        head = self.head()
        if not head.endswith(b"\r\n\r\n"):
            return None
        answer = Answer(int(head.split(None, 2)[1]), head, b"")
        if answer.status // 100 == 1 or answer.status in {204, 304}:
            return answer
        if answer.field("transfer-encoding") == "chunked":
            body = self._chunks()
        else:
            length = int(answer.field("content-length") or 0)
            body = self._stream.read(length)
            body = body if len(body) == length else None
        return None if body is None else Answer(answer.status, head, body)

    def _chunks(self) -> bytes | None:
        body = b""
        while line := self._stream.readline():
            size = int(line, 16)
            body += self._stream.read(size)
            self._stream.readline()
            if size == 0:
                return body
        return None


@contextmanager
def raw(address: tuple[str, int]) -> Iterator[Raw]:
    """Connect."""
    with (
        socket.create_connection(address, timeout=PATIENCE_S) as connection,
        connection.makefile("rb") as stream,
    ):
        yield Raw(connection, stream)
