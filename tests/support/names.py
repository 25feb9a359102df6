"""A name server whose every answer a test decides (RFC 1035)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address

Answers = Callable[[str], Sequence[str]]
"""From a name to its addresses, of both families; asked anew for each question for an A record."""

_HEADER_BYTES = 12
_A, _AAAA = 1, 28


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
    addresses = [ip_address(one) for one in last[name]]
    wanted = {_A: 4, _AAAA: 6}.get(kind)
    found = [one.packed for one in addresses if one.version == wanted]
    counts = b"\0\1" + len(found).to_bytes(2, "big") + b"\0\0\0\0"
    records = b"".join(
        b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\0" + bytes([0, len(one)]) + one
        for one in found
    )
    return question[:2] + b"\x81\x80" + counts + question[_HEADER_BYTES : at + 5] + records
