"""HTTP/2 used against the gateway (RFC 9113 §10.5): a stream or a connection ends, and no other call notices."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

import hpack
import httpx
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from support.gate import Origin, origin
from support.up import Up, install

GROWTH_MAX = 16 * 1024 * 1024
FRAMES = 20_000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PATIENCE_S = 10


@pytest.fixture(scope="module")
def provider() -> Iterator[Origin]:
    with origin() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, provider: Origin) -> Iterator[Up]:
    with install(tmp_path_factory.mktemp("h2"), provider.url).up() as gateway:
        for _ in range(20):
            assert gateway.get().status_code == 200
        yield gateway
        assert gateway.stop() == 0


class Attacker:
    """One HTTP/2 connection of bare frames: no library keeps it from breaking rules."""

    def __init__(self, connection: socket.socket, gateway: Up) -> None:
        self._socket = connection
        self._stream = connection.makefile("rb")
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self.gateway = gateway
        connection.sendall(PREFACE)
        self.send(SettingsFrame(0))

    def head(self, *more: tuple[bytes, bytes], method: bytes = b"GET") -> list[tuple[bytes, bytes]]:
        """A request's fields, sound but for what is added."""
        return [
            (b":method", method),
            (b":scheme", b"http"),
            (b":authority", b"gate.test"),
            (b":path", b"/echo/things/1"),
            (b"tidegate-token", self.gateway.token.encode()),
            *more,
        ]

    def block(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        return self._encoder.encode(fields)

    def send(self, *frames: Frame) -> None:
        self._socket.sendall(b"".join(frame.serialize() for frame in frames))

    def outcome(self, stream: int = 1) -> str:
        """Say what becomes of a stream: a status, `reset`, or `goaway` for the whole connection."""
        with suppress(ConnectionResetError):
            while header := self._stream.read(9):
                frame, length = Frame.parse_frame_header(memoryview(header))
                frame.parse_body(memoryview(self._stream.read(length)))
                match frame:
                    case GoAwayFrame():
                        return "goaway"
                    case RstStreamFrame(stream_id=reset) if reset == stream:
                        return "reset"
                    case HeadersFrame(stream_id=answered, data=data):
                        fields = dict(self._decoder.decode(data, raw=True))
                        if answered == stream and b":status" in fields:
                            return fields[b":status"].decode()
                    case _:
                        pass
        return "closed"

    def close(self) -> None:
        self._stream.close()


@contextmanager
def attack(gateway: Up) -> Iterator[Attacker]:
    host, _, port = gateway.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        attacker = Attacker(connection, gateway)
        yield attacker
        attacker.close()


def memory_bytes(gateway: Up) -> int:
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def is_healthy(gateway: Up) -> bool:
    with httpx.Client(http1=False, http2=True, trust_env=False, timeout=PATIENCE_S) as client:
        headers = {"Tidegate-Token": gateway.token}
        answer = client.get(f"{gateway.url}/echo/things/1", headers=headers)
    return answer.status_code == 200 and gateway.get().status_code == 200


MALFORMED: dict[str, list[tuple[bytes, bytes]]] = {
    "line end in a value": [(b"x-note", b"a\r\nx-b: 1")],
    "line feed in a value": [(b"x-note", b"a\nb")],
    "nul in a value": [(b"x-note", b"a\x00b")],
    "line end in a name": [(b"x-note\r\nx-b", b"1")],
    "colon in a name": [(b"x-note: 1", b"1")],
    "capital in a name": [(b"X-Note", b"1")],
    "pseudo-field after fields": [(b":path", b"/echo/things/2")],
    "unknown pseudo-field": [(b":other", b"1")],
    "connection": [(b"connection", b"x-note")],
    "transfer-encoding": [(b"transfer-encoding", b"chunked")],
    "upgrade": [(b"upgrade", b"h2c")],
    "te that is no trailers": [(b"te", b"gzip")],
    "two lengths": [(b"content-length", b"0"), (b"content-length", b"1")],
    "signed length": [(b"content-length", b"+0")],
    "length without a body": [(b"content-length", b"5")],
}


@pytest.mark.parametrize("more", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_refused_and_not_sent_on(
    gateway: Up, provider: Origin, more: list[tuple[bytes, bytes]]
):
    # Calls that an attack before this one gave up may still arrive: these two are known by their mark.
    sound, malformed = token_hex(8), token_hex(8)
    for mark, added, outcomes in (
        (malformed, more, {"reset", "goaway", "400", "closed"}),
        (sound, [], {"200"}),
    ):
        fields = [(b"x-mark", mark.encode()), *added]
        with attack(gateway) as attacker:
            block = attacker.block(attacker.head(*fields))
            attacker.send(HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"]))
            assert attacker.outcome() in outcomes
    marks = {seen.get("x-mark") for seen in tuple(provider.seen)}
    assert sound in marks
    assert malformed not in marks
    assert is_healthy(gateway)


@pytest.mark.parametrize("length", [b"3", b"7"])
def test_a_body_of_another_length_than_told_is_refused(gateway: Up, length: bytes):
    with attack(gateway) as attacker:
        block = attacker.block(attacker.head((b"content-length", length)))
        attacker.send(
            HeadersFrame(1, block, flags=["END_HEADERS"]),
            DataFrame(1, b"hello", flags=["END_STREAM"]),
        )
        assert attacker.outcome() in {"reset", "goaway", "400"}
    assert is_healthy(gateway)


def rapid_reset(attacker: Attacker) -> None:
    """CVE-2023-44487: streams that are opened and cancelled at once, beyond what may be open."""
    for number in range(1, FRAMES, 2):
        block = attacker.block(attacker.head())
        attacker.send(
            HeadersFrame(number, block, flags=["END_HEADERS", "END_STREAM"]),
            RstStreamFrame(number, 8),
        )


def continuation_flood(attacker: Attacker) -> None:
    """CVE-2024-27316: a head that never ends."""
    attacker.send(HeadersFrame(1, attacker.block(attacker.head())))
    for number in range(FRAMES // 4):
        attacker.send(ContinuationFrame(1, attacker.block([(b"x-%d" % number, b"a" * 4000)])))


def empty_continuations(attacker: Attacker) -> None:
    attacker.send(HeadersFrame(1, attacker.block(attacker.head())))
    for _ in range(FRAMES):
        attacker.send(ContinuationFrame(1, b""))


def settings_flood(attacker: Attacker) -> None:
    """CVE-2019-9515."""
    for number in range(FRAMES):
        attacker.send(
            SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65_535 - number % 2})
        )


def ping_flood(attacker: Attacker) -> None:
    """CVE-2019-9512."""
    for _ in range(FRAMES):
        attacker.send(PingFrame(0, b"flooding"))


def empty_data_flood(attacker: Attacker) -> None:
    """CVE-2019-9518."""
    block = attacker.block(attacker.head(method=b"POST"))
    attacker.send(HeadersFrame(1, block, flags=["END_HEADERS"]))
    for _ in range(FRAMES):
        attacker.send(DataFrame(1, b""))


def priority_flood(attacker: Attacker) -> None:
    """CVE-2019-9513."""
    for number in range(FRAMES):
        attacker.send(PriorityFrame(number % 99 * 2 + 1, depends_on=0, stream_weight=number % 256))


def window_flood(attacker: Attacker) -> None:
    for _ in range(FRAMES):
        attacker.send(WindowUpdateFrame(0, window_increment=1_000_000))


def compression_bomb(attacker: Attacker) -> None:
    """CVE-2016-6581: one entry of the table, referred to thousands of times."""
    attacker.block([(b"x-bomb", b"a" * 3900)])
    for number in range(1, 400, 2):
        block = attacker.block([*attacker.head(), *[(b"x-bomb", b"a" * 3900)] * 4000])
        attacker.send(HeadersFrame(number, block, flags=["END_HEADERS", "END_STREAM"]))


def unread_answers(attacker: Attacker) -> None:
    """CVE-2019-9517: calls whose answers are never taken off the connection."""
    attacker.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}))
    for number in range(1, 2000, 2):
        block = attacker.block(attacker.head())
        attacker.send(HeadersFrame(number, block, flags=["END_HEADERS", "END_STREAM"]))


FLOODS: list[Callable[[Attacker], None]] = [
    rapid_reset,
    continuation_flood,
    empty_continuations,
    settings_flood,
    ping_flood,
    empty_data_flood,
    priority_flood,
    window_flood,
    compression_bomb,
    unread_answers,
]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
def test_a_flood_costs_little_memory_and_no_other_call(
    gateway: Up, flood: Callable[[Attacker], None]
):
    before, highest, ended = memory_bytes(gateway), 0, threading.Event()
    with attack(gateway) as attacker:
        attacking = threading.Thread(target=_until_refused, args=(flood, attacker, ended))
        attacking.start()
        while not ended.is_set():
            # Others are served while it goes on.
            assert gateway.get().status_code == 200
            highest = max(highest, memory_bytes(gateway))
        attacking.join()
    assert is_healthy(gateway)
    assert max(highest, memory_bytes(gateway)) - before <= GROWTH_MAX


def _until_refused(
    flood: Callable[[Attacker], None], attacker: Attacker, ended: threading.Event
) -> None:
    # The gateway closing the connection, or reading no more of it, is how a flood should end.
    with suppress(OSError):
        flood(attacker)
    ended.set()
