"""However a request is bent, the origin sees as many messages as calls were made (RFC 9112 §11.2).

Requests are mutated by a seed and sent to the gateway before two origins that parse HTTP with code of
their own, h11 and nginx. A message that an origin counts and the gateway does not is a smuggled one.
"""

from __future__ import annotations

import os
import random  # noqa: TID251 - seeded, so that a run can be repeated
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import ThreadingTCPServer

import h11
from support.nginx import nginx
from support.raw import raw
from support.up import Up, install

SETTINGS = ", head_timeout: 300ms, body_idle_timeout: 300ms, idle_timeout: 300ms"
# Ends each connection, where it is still read as a request: it is answered and not recorded.
LAST = b"GET /-/live HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n"
SEED = int(os.environ.get("TIDEGATE_TEST_SEED", "20260301"))
MUTATIONS = 1_000

BODY = "x=1&y=2"
REQUESTS = tuple(
    f"{line} HTTP/1.1\r\nHost: gate.test\r\nTidegate-Token: {{token}}\r\n{rest}"
    for line, rest in (
        ("GET /echo/things/1?a=b", "Accept: */*\r\n\r\n"),
        ("POST /echo/things", f"Content-Type: text/plain\r\nContent-Length: 7\r\n\r\n{BODY}"),
        (
            "POST /echo/things",
            "Transfer-Encoding: chunked\r\n\r\n3\r\nx=1\r\n4;e=1\r\n&y=2\r\n0\r\nX-T: 1\r\n\r\n",
        ),
    )
)
PIECES = (
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\x00", b"\x0b", b":", b",", b";", b"0", b"5", b"-", b"+", b"/",
    b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"content-length:7\r\n", b"Content_Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-encoding: cow, chunked\r\n",
    b"TE: chunked\r\n", b"Connection: Content-Length\r\n", b"Connection: Transfer-Encoding\r\n",
    b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n",
    b"GET /echo/things/hidden HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.0", b"\xff", b"%0d%0a",
)  # fmt: skip


def mutated(number: int, token: str) -> bytes:
    """One request, bent in up to three places; sometimes a second one follows at once."""
    rng = random.Random(SEED * MUTATIONS + number)
    request = bytearray(rng.choice(REQUESTS).format(token=token).encode())
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(request) + 1)
        match rng.randrange(5):
            case 0:
                request[at:at] = rng.choice(PIECES)
            case 1:
                # At the start of a line, where fields are.
                line = request.find(b"\n", at) + 1
                request[line:line] = rng.choice(PIECES)
            case 2:
                del request[at : at + rng.randint(1, 4)]
            case 3 if at < len(request):
                request[at] = rng.randrange(256)
            case _:
                part = request[at : at + rng.randint(1, 40)]
                request[at:at] = part
    second = REQUESTS[0].format(token=token).encode() if rng.random() < 0.3 else b""
    return bytes(request) + second


@dataclass
class H11Origin:
    """Answers each message when all of it is there, and counts it."""

    url: str = ""
    whole: int = 0
    malformed: list[str] = field(default_factory=list)

    def converse(self, connection: socket.socket) -> None:
        try:
            self._converse(connection, h11.Connection(h11.SERVER))
        except h11.RemoteProtocolError as error:
            # A message that the gateway broke off is no complaint about its form.
            if "closed" not in str(error):
                self.malformed.append(str(error))

    def _converse(self, connection: socket.socket, state: h11.Connection) -> None:
        while (event := state.next_event()) != h11.ConnectionClosed():
            if event is h11.NEED_DATA:
                state.receive_data(connection.recv(65_536))
            elif isinstance(event, h11.EndOfMessage):
                self.whole += 1
                head = h11.Response(status_code=200, headers=[("Content-Length", "2")])
                parts = (head, h11.Data(b"ok"), h11.EndOfMessage())
                connection.sendall(b"".join(state.send(part) or b"" for part in parts))
                state.start_next_cycle()


@contextmanager
def h11_origin() -> Iterator[H11Origin]:
    origin = H11Origin()

    def converse(connection: socket.socket, *_: object) -> None:
        with suppress(ConnectionError):
            origin.converse(connection)

    with ThreadingTCPServer(("127.0.0.1", 0), converse) as server:
        origin.url = f"http://127.0.0.1:{server.server_address[1]}"
        accepting = threading.Thread(target=server.serve_forever, args=(0.02,))
        accepting.start()
        try:
            yield origin
        finally:
            server.shutdown()
            accepting.join()


def send_all(gateway: Up) -> int:
    """Send every mutation on a connection of its own; gives how many calls got an answer of the provider's."""
    host, _, port = gateway.url.removeprefix("http://").rpartition(":")

    def send(number: int) -> int:
        answered = 0
        with raw((host, int(port))) as consumer, suppress(ConnectionError):
            consumer.send(mutated(number, gateway.token) + LAST)
            for answer in consumer.answers():
                answered += (answer.status, answer.body) == (200, b"ok")
        return answered

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(send, range(MUTATIONS)))


def counts(folder: Path, url: str) -> tuple[int, int]:
    """Send all; gives how many answers consumers got, and how many calls are on record with one."""
    installed = install(folder, url, settings=SETTINGS)
    with installed.up() as gateway:
        answered = send_all(gateway)
        assert gateway.stop() == 0
    with installed.state() as state:
        calls = state.store.calls.recent(limit=100_000).calls
    return answered, sum(call.provider_status is not None for call in calls)


def test_h11_counts_as_many_messages_as_calls_were_recorded(tmp_path: Path):
    with h11_origin() as origin:
        answered, recorded = counts(tmp_path, origin.url)
    assert origin.malformed == []
    assert origin.whole == recorded == answered
    # Enough of them were sound for the others to matter.
    assert MUTATIONS / 4 < recorded < MUTATIONS * 1.3


def test_nginx_counts_as_many_messages_as_calls_were_recorded(tmp_path: Path):
    (tmp_path / "nginx").mkdir()
    with nginx(tmp_path / "nginx") as origin:
        answered, recorded = counts(tmp_path, origin.url)
    messages = origin.messages()
    assert origin.complaints() == []
    assert [message for message in messages if "hidden" in message["target"]] == []
    assert len([m for m in messages if m["status"] == "200"]) == recorded == answered
    # The others are calls that the gateway broke off, since their bodies broke a rule on the way.
    assert {message["status"] for message in messages} <= {"200", "400", "499"}
