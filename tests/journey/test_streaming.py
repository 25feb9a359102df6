"""Bytes pass as they come, both ways, and whoever goes away is noticed by the other side."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from support.passage import KEY, Before, Passage
from support.scripted import Wire, scripted

from tidegate.domain.attach import AttachHeader
from tidegate.domain.operation import Operation
from tidegate.domain.secret import Secret
from tidegate.sandbox import Authority, Sandbox, contract_from_operations

WAIT_S = 10
MEBIBYTE = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


@pytest.fixture
def sandbox(authority: Authority) -> Iterator[Sandbox]:
    operations = tuple(Operation(f"{m}Name", m, "/{name}") for m in ("GET", "POST", "PUT"))
    bearer = (AttachHeader("Authorization", "token", "Bearer "),)
    contract = contract_from_operations("there", operations, bearer)
    accounts = {"acme": {"token": Secret(KEY)}}
    with Sandbox(contract, authority=authority, accounts=accounts) as running:
        yield running


@contextmanager
def consumer(passage: Passage, **options: object) -> Iterator[httpx.Client]:
    with httpx.Client(
        headers=passage.headers, trust_env=False, timeout=WAIT_S, **options
    ) as client:
        yield client


@pytest.fixture(params=["h1", "h2"])
def version(request: pytest.FixtureRequest) -> dict[str, bool]:
    """How the consumer speaks: HTTP/1.1, or HTTP/2 with prior knowledge."""
    return {"http1": request.param == "h1", "http2": request.param == "h2"}


def test_upload_arrives_while_it_is_sent(before: Before, authority: Authority, version):
    arrived = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        assert wire.chunk() == b"first"
        arrived.set()
        while wire.chunk():
            pass
        wire.send(OK)

    def body() -> Iterator[bytes]:
        yield b"first"
        # What follows is sent only when the provider has what came before.
        assert arrived.wait(WAIT_S)
        yield b"second"

    with (
        scripted(authority, script) as origin,
        before(origin) as passage,
        consumer(passage, **version) as client,
    ):
        assert client.post(f"{passage.base}/upload", content=body()).text == "ok"


@pytest.mark.parametrize("kind", ["text/event-stream", "application/octet-stream"])
def test_download_arrives_while_it_is_made(
    before: Before, authority: Authority, version, kind: str
):
    arrived = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED + f"Content-Type: {kind}\r\n\r\n".encode())
        wire.send_chunk(b"data: first\n\n")
        assert arrived.wait(WAIT_S)
        wire.send_chunk(b"data: second\n\n")
        wire.send(b"0\r\n\r\n")

    with (
        scripted(authority, script) as origin,
        before(origin) as passage,
        consumer(passage, **version) as client,
        client.stream("GET", f"{passage.base}/events") as answer,
    ):
        parts = answer.iter_raw()
        assert next(parts) == b"data: first\n\n"
        arrived.set()
        assert b"".join(parts) == b"data: second\n\n"


def test_large_bodies_pass_whole_both_ways(before: Before, sandbox: Sandbox):
    size = 16 * MEBIBYTE
    sandbox.behave("GET /large", f"big:{size}")
    with before(sandbox.origin) as passage, consumer(passage) as client:
        with client.stream("GET", f"{passage.base}/large") as answer:
            assert sum(map(len, answer.iter_raw())) == size
        parts = (bytes(MEBIBYTE) for _ in range(16))
        assert client.put(f"{passage.base}/large", content=parts).status_code == 200
        _, sent = passage.gateway.records(2)
    assert sandbox.received[-1].body_bytes == size
    assert sent.sent_bytes == size


def test_trailers_reach_the_consumer(before: Before, authority: Authority):
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(CHUNKED + b"Trailer: X-Checksum\r\n\r\n")
        wire.send_chunk(b"body")
        wire.send(b"0\r\nX-Checksum: 4711\r\n\r\n")

    with scripted(authority, script) as origin, before(origin) as passage:
        answer = exchange(passage, request(passage, "GET", "TE: trailers\r\nConnection: TE\r\n"))
    assert b"4\r\nbody\r\n0\r\nx-checksum: 4711\r\n\r\n" in answer.lower()


def test_expectation_is_met_before_the_body_is_sent(before: Before, sandbox: Sandbox):
    with (
        before(sandbox.origin) as passage,
        socket.create_connection(passage.address, timeout=WAIT_S) as connection,
    ):
        head = request(passage, "POST", "Content-Length: 4\r\nExpect: 100-continue\r\n")
        connection.sendall(head)
        assert connection.recv(1024).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"body")
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
    assert sandbox.received[-1].body == b"body"


def test_refused_call_is_not_asked_for_its_body(before: Before, sandbox: Sandbox):
    with before(sandbox.origin) as passage:
        head = request(passage, "POST", "Content-Length: 4\r\nExpect: 100-continue\r\n")
        answer = exchange(passage, head.replace(passage.token.encode(), b"tdg_wrong"))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert list(sandbox.received) == []


def test_early_answer_passes_before_the_body_is_whole(before: Before, authority: Authority):
    done = threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch")
        # Closing over what was not read would reset the connection, answer included.
        done.wait(WAIT_S)

    with scripted(authority, script) as origin, before(origin) as passage:
        head = request(passage, "POST", "Content-Length: 1000000\r\n")
        answer = exchange(passage, head + b"only a part")
        done.set()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"much")


def test_provider_call_is_cancelled_when_the_consumer_goes(
    before: Before, sandbox: Sandbox, version
):
    sandbox.behave("GET /slow", "slow:60")
    with before(sandbox.origin) as passage:
        with consumer(passage, **version) as client, pytest.raises(httpx.ReadTimeout):
            client.get(f"{passage.base}/slow", timeout=0.5)
        sandbox.received.wait_for(lambda call: call.end == "consumer gone")
        (record,) = passage.gateway.records(1)
    assert record.outcome == "consumer_gone"


def test_provider_stream_is_cancelled_when_the_consumer_goes(before: Before, sandbox: Sandbox):
    sandbox.behave("GET /endless", "sse:100000@0.01")
    with before(sandbox.origin) as passage:
        with (
            consumer(passage) as client,
            client.stream("GET", f"{passage.base}/endless") as answer,
        ):
            next(answer.iter_raw())
        sandbox.received.wait_for(lambda call: call.end == "consumer gone")


def test_answer_that_is_cut_never_looks_whole(before: Before, sandbox: Sandbox, version):
    sandbox.behave("GET /cut", "cut:5")
    with (
        before(sandbox.origin) as passage,
        consumer(passage, **version) as client,
        pytest.raises(httpx.RemoteProtocolError),
    ):
        client.get(f"{passage.base}/cut")


def request(passage: Passage, method: str, more: str) -> bytes:
    host, port = passage.address
    return (
        f"{method} /there/thing HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Tidegate-Token: {passage.token}\r\n{more}\r\n"
    ).encode()


def exchange(passage: Passage, sent: bytes) -> bytes:
    with socket.create_connection(passage.address, timeout=WAIT_S) as connection:
        connection.sendall(sent)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Read until an answer is whole, its length or its last chunk told; or until the end."""
    answer = b""
    while not _is_whole(answer):
        more = connection.recv(65_536)
        if not more:
            break
        answer += more
    return answer


def _is_whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name == b"content-length":
            return len(body) >= int(value)
        if name == b"transfer-encoding":
            return b"0\r\n" in body and body.endswith(b"\r\n\r\n")
    return False
