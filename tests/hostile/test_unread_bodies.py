"""Requests whose body and answer do not wait for each other never mix up two calls (RFC 9110 §10.1.1).

A provider that answers before it has read the body leaves the rest of it on the connection; a consumer
that never sends the body leaves the provider waiting. Whoever used such a connection again would have
one call's bytes read as another's request, or get another call's answer.
"""

from __future__ import annotations

import random  # noqa: TID251 - seeded, so that each run makes the same probes
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from support.passage import Passage, put_before
from support.raw import Raw, raw
from support.scripted import Wire, scripted

from tidegate.sandbox import Authority

PROBES = 400
HIDDEN = "hidden"
EARLY = {"early", "refuse"}
OK = "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}"


class Provider:
    """Answers each request with its own name, by the manner that the name tells."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, wire: Wire) -> None:
        with suppress(ConnectionError):
            while head := wire.head():
                name = re.search(rb" /(\S+) ", head)[1].decode()
                self.seen.append(name)
                self._answer(wire, name, _length(head))

    def _answer(self, wire: Wire, name: str, length: int) -> None:
        manner = name.rpartition("-")[2]
        if manner == "continue":
            wire.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 2)
        if manner == "refuse":
            wire.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
            return
        if manner != "early":
            wire.read(length)
        wire.send(OK.format(len(name), name).encode())


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return int(found[1]) if found else 0


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def passage(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Passage]:
    authority = Authority()
    folder: Path = tmp_path_factory.mktemp("unread")
    with (
        scripted(authority, provider) as origin,
        put_before(folder, authority, origin) as passage,
    ):
        yield passage


def head(passage: Passage, name: str, more: str = "", method: str = "POST") -> bytes:
    return (
        f"{method} /there/{name} HTTP/1.1\r\nHost: gate.test\r\n"
        f"Tidegate-Token: {passage.token}\r\n{more}\r\n"
    ).encode()


def probe(passage: Passage, number: int) -> list[str]:
    """Send one request in an odd way and a plain one after it; gives what does not belong."""
    rng = random.Random(number)
    manner = rng.choice(["early", "late", "continue", "refuse"])
    name, after = f"p{number}-{manner}", f"p{number}-after"
    # Whoever takes this body for a request executes it.
    body = head(passage, HIDDEN, method="GET")
    expects = rng.choice(["", "Expect: 100-continue\r\n", "Expect: 100-Continue\r\n"])
    # A provider that answers before it reads and then forgets the body is beyond anyone's sight once
    # all of it is on the way; so these get a part.
    sent = rng.choice([0, 1, len(body) // 2, len(body)][: 3 if manner in EARLY else 4])
    lacking = len(body) - sent
    with raw(passage.address) as consumer:
        consumer.send(head(passage, name, f"Content-Length: {len(body)}\r\n{expects}"))
        consumer.send(body[:sent])
        if lacking and rng.random() < 0.5:
            consumer.end()
        elif lacking and manner not in EARLY:
            consumer.send(body[sent:])
            lacking = 0
        return list(_foreign(passage, consumer, name, after, lacking=lacking))


def _foreign(
    passage: Passage, consumer: Raw, name: str, after: str, *, lacking: int
) -> Iterator[str]:
    answer = consumer.answer()
    if answer is not None and answer.status == 200 and answer.body != name.encode():
        yield f"{name} was answered with {answer.body!r}"
    if lacking:
        return
    with suppress(ConnectionError):
        consumer.send(head(passage, after, method="GET"))
    for more in consumer.answers():
        if more.status != 200 or more.body != after.encode():
            yield f"{after} was answered with {more.status} {more.body!r}"
        return


def test_no_body_becomes_a_request_and_no_answer_goes_astray(passage: Passage, provider: Provider):
    with ThreadPoolExecutor(8) as pool:
        foreign = [
            one for found in pool.map(lambda n: probe(passage, n), range(PROBES)) for one in found
        ]
    assert foreign == []
    assert [name for name in provider.seen if HIDDEN in name] == []
    # Nothing was sent twice: these calls have bodies, which are never repeated.
    assert len(provider.seen) == len(set(provider.seen))
    # The probes got through to where they could do harm.
    assert len({name for name in provider.seen if name.rpartition("-")[2] in EARLY}) > PROBES / 4


@pytest.mark.parametrize("expectation", ["200-ok", "100-continue, 200-ok", "100-continue2", ""])
def test_an_expectation_that_nobody_defined_is_no_way_round(
    passage: Passage, provider: Provider, expectation: str
):
    with raw(passage.address) as consumer:
        consumer.send(
            head(passage, "odd-late", f"Expect: {expectation}\r\nContent-Length: 4\r\n") + b"body"
        )
        answer = consumer.answer()
    assert answer is not None
    assert answer.status in {200, 400, 417}
    assert [name for name in provider.seen if HIDDEN in name] == []


def test_a_connection_answered_before_its_request_was_whole_is_not_used_again(
    tmp_path: Path,
):
    body_came = threading.Event()
    connections: list[str] = []

    def script(wire: Wire) -> None:
        connections.append("opened")
        while head := wire.head():
            if _length(head):
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
                wire.read(_length(head))
                body_came.set()
                wire.send(b"k")
            else:
                wire.send(OK.format(2, "ok").encode())

    authority = Authority()
    with (
        scripted(authority, script) as origin,
        put_before(tmp_path, authority, origin) as passage,
        raw(passage.address) as consumer,
    ):
        consumer.send(head(passage, "thing", "Content-Length: 4\r\n"))
        assert consumer.head().startswith(b"HTTP/1.1 200 ")
        consumer.send(b"body")
        assert body_came.wait(10)
        assert consumer.read(2) == b"ok"
        consumer.send(head(passage, "thing", method="GET"))
        answer = consumer.answer()
    assert answer is not None
    assert answer.status == 200
    assert len(connections) == 2


def test_a_call_refused_before_its_body_was_read_tells_that_the_connection_ends(passage: Passage):
    with raw(passage.address) as consumer:
        # No token: nothing more is read of whoever shows none.
        consumer.send(b"POST /there/x HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 4\r\n\r\n")
        head = consumer.head().lower()
    assert head.startswith(b"http/1.1 401 ")
    assert b"\r\nconnection: close\r\n" in head


def test_a_call_refused_that_has_no_body_leaves_the_connection_open(passage: Passage):
    with raw(passage.address) as consumer:
        for _ in range(2):
            consumer.send(b"GET /there/x HTTP/1.1\r\nHost: gate.test\r\n\r\n")
            answer = consumer.answer()
            assert answer is not None
            assert answer.status == 401
