"""A name server whose every answer a test decides (RFC 1035)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address

Answers = Callable[[str], Sequence[str]]
"""From a name to its addresses, of both families; asked anew for each question for an A record.

A name among them is an alias (CNAME) that the addresses after it belong to.
"""

_HEADER_BYTES = 12
_A, _CNAME, _AAAA = 1, 5, 28


@contextmanager
def name_server(answers: Answers) -> Iterator[str]:
    """Answer on loopback; gives address and port. Nothing may be kept: every answer's life is 0 s."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        place = listening.getsockname()
        # One answer has both families, though they are asked for apart.
        last: dict[str, Sequence[str]] = {}

        def serve() -> None:
            with suppress(OSError):
                while True:
                    question, peer = listening.recvfrom(512)
                    if not question:
                        return
                    listening.sendto(_answer(question, answers, last), peer)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield f"{place[0]}:{place[1]}"
        listening.sendto(b"", place)
        serving.join(5)


def _answer(question: bytes, answers: Answers, last: dict[str, Sequence[str]]) -> bytes:
    labels, at = list[str](), _HEADER_BYTES
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    kind = int.from_bytes(question[at + 1 : at + 3], "big")
    name = ".".join(labels)
    if kind == _A or name not in last:
        last[name] = answers(name)
    found = _records(kind, last[name])
    counts = b"\0\1" + len(found).to_bytes(2, "big") + b"\0\0\0\0"
    asked = question[_HEADER_BYTES : at + 5]
    return question[:2] + b"\x81\x80" + counts + asked + b"".join(found)


def _records(kind: int, answer: Sequence[str]) -> list[bytes]:
    wanted = {_A: 4, _AAAA: 6}.get(kind)
    owner, records = b"\xc0\x0c", list[bytes]()
    for one in answer:
        try:
            address = ip_address(one)
        except ValueError:
            alias = b"".join(bytes([len(label)]) + label.encode() for label in one.split("."))
            records.append(_record(owner, _CNAME, alias + b"\0"))
            owner = alias + b"\0"
        else:
            if address.version == wanted:
                records.append(_record(owner, kind, address.packed))
    return records


def _record(owner: bytes, kind: int, data: bytes) -> bytes:
    return owner + kind.to_bytes(2, "big") + b"\0\1\0\0\0\0" + bytes([0, len(data)]) + data
