"""Answers that no two readers agree on, and answers that never end: what a hostile or broken provider can do.

An answer that breaks a rule of HTTP is refused, and its connection is not used again: what follows on
it could pass for the answer of another call (RFC 9112 §6.3, §11.1). One that stops half-way is cut at
the consumer too, so that it is never taken for whole, and within the provider's deadlines.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from support.passage import Passage, put_before
from support.raw import Answer, raw
from support.scripted import Wire, scripted

from tidegate.sandbox import Authority

DEADLINES = "deadlines: {first_byte: 300ms, idle: 300ms, total: 1500ms}"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STATUS = b"HTTP/1.1 200 OK\r\n"
CHUNKED = STATUS + b"Transfer-Encoding: chunked\r\n\r\n"

REFUSED = {
    "length-and-coding": STATUS + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two-lengths": STATUS + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
    "same-length-twice": STATUS + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "length-list": STATUS + b"Content-Length: 2, 2\r\n\r\nok",
    "signed-length": STATUS + b"Content-Length: +2\r\n\r\nok",
    "huge-length": STATUS + b"Content-Length: 18446744073709551616\r\n\r\nok",
    "unknown-coding": STATUS + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding-twice": STATUS + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "space-before-colon": STATUS + b"Content-Length : 2\r\n\r\nok",
    "folded-field": STATUS + b"X-A: 1\r\n Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "bare-line-feed": STATUS + b"X-A: 1\nContent-Length: 2\r\n\r\nok",
    "bare-return": STATUS + b"X-A: 1\rX-B: 2\r\nContent-Length: 2\r\n\r\nok",
    "nul": STATUS + b"X-A: \x00\r\nContent-Length: 2\r\n\r\nok",
    "no-http": b"ok\r\n\r\n",
    "other-version": b"HTTP/3.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "odd-status": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "flood-of-100": b"HTTP/1.1 100 Continue\r\n\r\n" * 2000 + OK,
    "flood-of-103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 2000 + OK,
    "uninvited-upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "endless-head": STATUS + b"X-A: " + b"a" * 300_000,
    "many-fields": STATUS + b"X-A: 1\r\n" * 5000 + b"Content-Length: 2\r\n\r\nok",
}  # fmt: skip

BROKEN_OFF = {
    "chunk-size-with-prefix": CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
    "chunk-without-end": CHUNKED + b"2\r\nokXX0\r\n\r\n",
    "chunk-with-bare-line-feed": CHUNKED + b"2\nok\n0\n\n",
    "chunk-of-negative-size": CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    "chunk-larger-than-64-bits": CHUNKED + b"10000000000000000\r\nok\r\n0\r\n\r\n",
    "endless-extension": CHUNKED + b"2;" + b"a" * 300_000 + b"\r\nok\r\n0\r\n\r\n",
    "framing-in-trailers": CHUNKED + b"2\r\nok\r\n0\r\nX-A: 1\nContent-Length: 9\r\n\r\n",
}


def silent(wire: Wire) -> None:
    wire.wait_for_end()


def leave(_wire: Wire) -> None:
    """The connection closes when its script ends."""


def half_close(wire: Wire) -> None:
    wire.half_close()
    wire.wait_for_end()


def trickled_head(wire: Wire) -> None:
    _trickle(wire, STATUS + b"X-A: " + b"a" * 1000)


def trickled_body(wire: Wire) -> None:
    wire.send(STATUS + b"Content-Length: 1000\r\n\r\n")
    _trickle(wire, b"a" * 999)


def stalled_body(wire: Wire) -> None:
    wire.send(STATUS + b"Content-Length: 1000\r\n\r\nonly this")
    wire.wait_for_end()


def half_closed_body(wire: Wire) -> None:
    wire.send(CHUNKED + b"4\r\nonly\r\n")
    half_close(wire)


def reset_body(wire: Wire) -> None:
    wire.send(STATUS + b"Content-Length: 1000\r\n\r\nonly this")
    wire.reset()


def cut_body(wire: Wire) -> None:
    wire.send(CHUNKED + b"4\r\nonly\r\n")


def cut_body_without_length(wire: Wire) -> None:
    # Ended by the connection alone, and that without TLS's close_notify: anyone on the path can do it.
    wire.send(STATUS + b"\r\nonly this")


def _trickle(wire: Wire, data: bytes) -> None:
    pause = threading.Event()
    with suppress(OSError):
        for byte in data:
            wire.send(bytes([byte]))
            pause.wait(0.1)


UNANSWERED: dict[str, tuple[Callable[[Wire], None], int, str]] = {
    "silent": (silent, 504, "provider_timeout"),
    "trickled-head": (trickled_head, 504, "provider_timeout"),
    "half-closed": (half_close, 502, "provider_unreachable"),
    "reset": (Wire.reset, 502, "provider_unreachable"),
    "closed": (leave, 502, "provider_unreachable"),
}
NEVER_WHOLE = {
    "trickled-body": trickled_body,
    "stalled-body": stalled_body,
    "half-closed-body": half_closed_body,
    "reset-body": reset_body,
    "cut-body": cut_body,
    "cut-body-without-length": cut_body_without_length,
}


class Provider:
    """Misbehaves as the path says, and otherwise answers; remembers which connection saw what."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def __call__(self, wire: Wire) -> None:
        here: list[str] = []
        self.seen.append(here)
        with suppress(OSError):
            while head := wire.head():
                name = re.search(rb" /(\S+) ", head)[1].decode()
                here.append(name)
                self._answer(wire, name)

    def _answer(self, wire: Wire, name: str) -> None:
        if name in UNANSWERED:
            UNANSWERED[name][0](wire)
        elif name in NEVER_WHOLE:
            NEVER_WHOLE[name](wire)
        else:
            # A connection that misbehaved stays open: it is the gateway that must not use it again.
            wire.send((REFUSED | BROKEN_OFF | SURPLUS).get(name, OK))
            return
        raise ConnectionError

    def after(self, name: str) -> list[str]:
        """What came on a connection after this."""
        (seen,) = [names for names in self.seen if name in names]
        return seen[seen.index(name) + 1 :]


SURPLUS = {
    "second-answer": OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
    "bytes-after-the-length": OK + b"more",
    "bytes-after-the-last-chunk": CHUNKED + b"2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
    "body-of-no-content": b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
}


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def passage(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Passage]:
    authority, folder = Authority(), tmp_path_factory.mktemp("answers")
    with (
        scripted(authority, provider) as origin,
        put_before(folder, authority, origin, provider=DEADLINES) as passage,
    ):
        yield passage


def call(passage: Passage, name: str) -> Answer | None:
    with raw(passage.address) as consumer:
        consumer.send(
            f"GET /there/{name} HTTP/1.1\r\nHost: gate.test\r\n"
            f"Tidegate-Token: {passage.token}\r\nConnection: close\r\n\r\n".encode()
        )
        return consumer.answer()


def problem(answer: Answer | None) -> tuple[int, str]:
    assert answer is not None
    return answer.status, json.loads(answer.body)["code"]


def next_call_is_right(passage: Passage) -> None:
    """Give whatever waits on a connection the chance to pass for an answer."""
    for _ in range(3):
        answer = call(passage, "plain")
        assert answer is not None
        assert (answer.status, answer.body) == (200, b"ok")


@pytest.mark.parametrize("name", REFUSED)
def test_an_answer_that_breaks_a_rule_is_refused_and_its_connection_left(
    passage: Passage, provider: Provider, name: str
):
    assert problem(call(passage, name)) == (502, "response_rejected")
    next_call_is_right(passage)
    assert provider.after(name) == []


@pytest.mark.parametrize("name", BROKEN_OFF)
def test_a_body_that_breaks_a_rule_never_looks_whole_and_its_connection_is_left(
    passage: Passage, provider: Provider, name: str
):
    answer = call(passage, name)
    assert answer is None or problem(answer) == (502, "response_rejected")
    next_call_is_right(passage)
    assert provider.after(name) == []


@pytest.mark.parametrize("name", SURPLUS)
def test_what_comes_after_an_answer_answers_nobody(passage: Passage, provider: Provider, name: str):
    answer = call(passage, name)
    assert answer is None or answer.body in {b"ok", b""} or answer.status == 502
    next_call_is_right(passage)
    assert provider.after(name) == []


@pytest.mark.parametrize("name", UNANSWERED)
def test_a_provider_that_gives_no_answer_is_given_up_in_time(passage: Passage, name: str):
    assert problem(call(passage, name)) == UNANSWERED[name][1:]
    next_call_is_right(passage)


@pytest.mark.parametrize("name", NEVER_WHOLE)
def test_an_answer_that_stops_is_cut_in_time_and_never_looks_whole(passage: Passage, name: str):
    answer = call(passage, name)
    # A reset overtakes what was sent before it, the answer's head too.
    assert answer is None or (name == "reset-body" and answer.status == 502)
    next_call_is_right(passage)
