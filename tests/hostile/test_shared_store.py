"""The store at which gateways count is wrong, hostile or somebody else's: no gate opens, and no call hangs."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from support.certificates import authority, leaf, private_pem
from support.servers import free_port, wait_until
from support.strict import strict
from support.valkey import Node, call_all, nodes, valkey

from tidegate.domain.quota import Quota

ALL = (("*", 1),)
QUOTA = Quota("q", "log", 40, ALL, window_ms=3_600_000)
PART = 20
"""What one of two nodes may use alone."""


def rejected(folder: Path, shared: dict[str, object], *, reason: str) -> None:
    """A gateway whose store is no good says so, and goes by its part."""
    with (
        strict() as provider,
        nodes(folder, provider.url, {"nodes": 2, **shared}, QUOTA, count=1, settled=False) as (
            one,
        ),
    ):
        wait_until(lambda: one.shared["state"] == "lost")
        call_all([one], 60, refused_max=10)
        assert provider.calls == PART
        assert reason in one.shared["reason"]


def test_a_store_that_does_not_take_the_password_leaves_a_node_with_its_part(tmp_path: Path):
    with valkey("--requirepass", secrets.token_hex(8)) as server:
        shared: dict[str, object] = {"socket": str(server.socket)}
        rejected(tmp_path, shared, reason="does not take the user or password")


def test_the_permissions_that_the_guide_names_do(tmp_path: Path):
    allowed = "+fcall +function|load +del +hgetall +hget +hset +hdel +pexpire +time"
    with valkey() as server, strict() as provider:
        server.ask(
            "ACL", "SETUSER", "default", "resetkeys", "~tidegate:*", "resetchannels", "-@all",
            *allowed.split(),
        )  # fmt: skip
        shared = {"nodes": 2, "socket": str(server.socket)}
        with nodes(tmp_path, provider.url, shared, QUOTA) as gateways:
            call_all(gateways, 60, refused_max=10)
    assert provider.calls == 40


@contextmanager
def answering(answer: bytes, *, each_s: float = 0.0) -> Iterator[int]:
    """Something on loopback that answers whatever it is asked with this, at once or byte by byte."""
    ended = threading.Event()

    def serve(client: socket.socket) -> None:
        with client:
            try:
                while not ended.is_set() and client.recv(65_536):
                    if not each_s:
                        client.sendall(answer)
                        continue
                    for at in range(len(answer)):
                        client.sendall(answer[at : at + 1])
                        if ended.wait(each_s):
                            return
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff" * 4_000,
        b"*1\r\n" * 4_000,
        b"*2147483647\r\n",
        b"$999999999999\r\n",
        b"*4\r\n:-1\r\n:1\r\n:0\r\n:1\r\n",
        b"*4\r\n:9223372036854775807\r\n:1\r\n:-5\r\n:1\r\n" * 8,
        b"-LOADING it is not ready\r\n",
        b"+OK\r\n",
    ],
)
def test_a_store_that_answers_garbage_opens_nothing(tmp_path: Path, answer: bytes):
    with (
        answering(answer) as port,
        strict() as provider,
        nodes(tmp_path, provider.url, {"nodes": 2, "host": "127.0.0.1", "port": port}, QUOTA,
              count=1, settled=False) as (one,),
    ):  # fmt: skip
        wait_until(lambda: one.shared["state"] == "lost")
        call_all([one], 60, refused_max=10)
        assert one.shared["state"] == "lost"
    assert provider.calls == PART


@pytest.mark.parametrize("answer", [b"", b"*4\r\n:1\r\n:1\r\n"], ids=["silent", "trickling"])
def test_a_store_that_is_slow_keeps_no_call_waiting(tmp_path: Path, answer: bytes):
    with (
        answering(answer, each_s=0.3) as port,
        strict() as provider,
        nodes(tmp_path, provider.url, {"nodes": 2, "host": "127.0.0.1", "port": port}, QUOTA,
              count=1, settled=False) as (one,),
    ):  # fmt: skip
        began = time.monotonic()
        # Before the store is known to be slow, nothing may be known of what others used.
        assert one.call() in {200, 429}
        took = time.monotonic() - began
        wait_until(lambda: one.shared["state"] == "lost")
        began = time.monotonic()
        call_all([one], 60, refused_max=10)
        assert time.monotonic() - began < 10
    assert took < 3
    assert provider.calls == PART


@pytest.mark.parametrize(
    ("host", "trusted", "state"),
    [
        ("localhost", "ours", "connected"),
        ("localhost", "theirs", "lost"),
        ("127.0.0.1", "ours", "lost"),
    ],
    ids=["right", "another authority", "another name"],
)
def test_a_store_is_spoken_to_when_its_certificate_is_the_declared_authority_s(
    tmp_path: Path, host: str, trusted: str, state: str
):
    ours, theirs = authority("ours"), authority("theirs")
    certificate, port = leaf(ours, "localhost"), free_port()
    (tmp_path / "cert.pem").write_text(certificate.pem)
    (tmp_path / "key.pem").write_bytes(private_pem(certificate))
    options = (
        *("--tls-port", str(port), "--tls-auth-clients", "no", "--bind", "127.0.0.1"),
        *(
            "--tls-cert-file",
            str(tmp_path / "cert.pem"),
            "--tls-key-file",
            str(tmp_path / "key.pem"),
        ),
        *("--tls-ca-cert-file", str(tmp_path / "cert.pem")),
    )
    shared: dict[str, object] = {
        "nodes": 1,
        "host": host,
        "port": port,
        "tls": True,
        "ca_pem": {"ours": ours, "theirs": theirs}[trusted].pem,
    }
    with (
        valkey(*options),
        strict() as provider,
        nodes(tmp_path, provider.url, shared, QUOTA, count=1, settled=False) as (one,),
    ):
        wait_until(lambda: one.shared["state"] != "starting")
        assert one.shared["state"] == state
        assert state == "connected" or "TLS failed" in one.shared["reason"]


def lost_since(gateways: list[Node], before: int) -> bool:
    return sum(gateway.shared["losses"] for gateway in gateways) > before


ABSURD = ("-1000", "0 0 1 -5 0 0 0 0", "9" * 400, "1e300 0 0 0 0 0 0 0", "0 0 1 0 0 0 0", "", "nan")


@pytest.mark.parametrize("field", ["begun", "another", "-another"])
def test_counts_that_were_tampered_with_are_gathered_anew(tmp_path: Path, field: str):
    with valkey() as server, strict() as provider:
        shared = {"nodes": 2, "socket": str(server.socket)}
        with nodes(tmp_path, provider.url, shared, QUOTA) as gateways:
            call_all(gateways, 60, refused_max=10)
            (pot,) = server.pots()
            for value in ABSURD:
                before = sum(gateway.shared["losses"] for gateway in gateways)
                server.ask("HSET", pot, field, value)
                wait_until(partial(lost_since, gateways, before))
                wait_until(lambda: all(gateway.shared["settled"] for gateway in gateways))
                call_all(gateways, 60, refused_max=3)
    assert provider.calls == 40


@pytest.mark.parametrize("what", ["begun", "members", "kind", "gone", "flush"])
def test_a_store_that_somebody_else_writes_to_gives_nothing_twice(tmp_path: Path, what: str):
    with valkey() as server, strict() as provider:
        shared = {"nodes": 2, "socket": str(server.socket)}
        with nodes(tmp_path, provider.url, shared, QUOTA) as gateways:
            call_all(gateways, 60, refused_max=10)
            (pot,) = server.pots()
            if what == "begun":
                server.ask("HSET", pot, "begun", "9999999999999 0 0")
            elif what == "members":
                server.ask("HSET", "tidegate:v1:members", "since", "-1")
            elif what == "gone":
                server.ask("DEL", pot)
            elif what == "kind":
                server.ask("SET", pot, "x")
            else:
                server.ask("FLUSHALL")
            for _ in range(3):
                call_all(gateways, 60, refused_max=10)
                time.sleep(0.3)
    assert provider.calls == 40


def test_a_store_that_is_not_there_leaves_a_node_with_its_part(tmp_path: Path):
    rejected(tmp_path, {"host": "127.0.0.1", "port": free_port()}, reason="cannot be reached")
