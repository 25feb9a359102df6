"""A name service that fails or is silent fails the calls that need it, in time, and no others."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.gate import gate, origin, provider_at

from tidegate.engine import Resolver

SERVFAIL = b"\x81\x82"


@dataclass
class NameServer:
    """Answers every question with a failure, or not at all."""

    address: str
    asked: threading.Event = field(default_factory=threading.Event)


@contextmanager
def name_server(*, answers: bool) -> Iterator[NameServer]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        server = NameServer(f"127.0.0.1:{listening.getsockname()[1]}")

        def serve() -> None:
            with suppress(OSError):
                while question := listening.recvfrom(512):
                    server.asked.set()
                    if answers:
                        data, peer = question
                        # The question's own bytes with the flags of a failed answer (RFC 1035 §4.1.1).
                        listening.sendto(data[:2] + SERVFAIL + data[4:], peer)
                    if question[0] == b"":
                        return

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield server
        listening.sendto(b"", listening.getsockname())
        serving.join(5)


@pytest.mark.parametrize("answers", [True, False], ids=["failing", "silent"])
def test_a_name_that_does_not_resolve_fails_its_own_call_alone(tmp_path: Path, *, answers: bool):
    with (
        origin() as provider,
        name_server(answers=answers) as names,
        # One worker: what blocks it blocks everybody.
        gate(
            tmp_path, provider.url, resolver=Resolver((names.address,), timeout_ms=500)
        ) as running,
        ThreadPoolExecutor(4) as pool,
    ):
        running.declare(provider_at("https://api.named.test", "named"))
        waiting = [pool.submit(running.call, "/named/x") for _ in range(4)]
        assert names.asked.wait(10)
        assert {running.call().status_code for _ in range(20)} == {200}
        told = [call.result() for call in waiting]
    assert {(answer.status_code, answer.json()["code"]) for answer in told} == {
        (502, "provider_unreachable")
    }
    # Which name it was, and who was asked, is for the operator.
    assert not any(names.address in answer.text for answer in told)
