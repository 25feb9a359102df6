"""Tokens that a provider tells back in a stream of events, a few letters at a time, are values again."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

import httpx
import pytest
from support.canaries import plant
from support.passage import Before
from support.scripted import Wire, scripted

from tidegate.sandbox import Authority

WAIT_S = 10
EMAIL = "jane.streams@example.com"
POLICY = """
protection:
  - operations: ["there:POST /{name}"]
    purpose: support
    fields:
      - at: body $.prompt
        category: contact.email
        do:
          tokenise: aead
          restore_in: [{operations: ["there:POST /{name}"], at: "body $.choices[*].delta.content"}]
"""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
Say = Callable[[Wire, str], None]
"""What the provider answers, given the token that it got."""
Asked = Callable[[Say], AbstractContextManager[httpx.Response]]


def delta(text: str) -> bytes:
    content = {"choices": [{"index": 0, "delta": {"content": text}}]}
    return f"data: {json.dumps(content)}\n\n".encode()


def told(stream: str) -> str:
    events = re.findall(r"^data: (\{.*\})$", stream, re.MULTILINE)
    return "".join(json.loads(one)["choices"][0]["delta"]["content"] for one in events)


@pytest.fixture
def asked(before: Before, authority: Authority) -> Asked:
    """A consumer that asks about somebody, and a provider that answers as the test says, with their token."""
    plant(EMAIL)

    @contextmanager
    def run(say: Say) -> Generator[httpx.Response]:
        def script(wire: Wire) -> None:
            length = re.search(rb"(?i)content-length: (\d+)", wire.head())
            assert length
            say(wire, json.loads(wire.read(int(length[1])))["prompt"])
            wire.send(b"0\r\n\r\n")

        with (
            scripted(authority, script) as origin,
            before(origin, http="1.1", more=POLICY) as passage,
            httpx.Client(headers=passage.headers, trust_env=False, timeout=WAIT_S) as client,
            client.stream("POST", f"{passage.base}/chat", json={"prompt": EMAIL}) as answer,
        ):
            yield answer

    return run


@pytest.mark.parametrize("letters", [1, 7, 500])
def test_a_token_comes_back_wherever_events_and_chunks_part_it(asked: Asked, letters: int):
    def say(wire: Wire, token: str) -> None:
        assert token.startswith("tdgt1.a1.")
        # One that was altered is nobody's.
        text = f"Dear {token}, not {token[:-6]}AAAAAA. t"
        events = [delta(text[at : at + letters]) for at in range(0, len(text), letters)]
        wire.send(HEAD)
        for byte in b"".join([*events, b": done\r\n\r\n", b"data: [DONE]\n\n"]):
            wire.send_chunk(bytes([byte]))

    with asked(say) as answer:
        stream = answer.read().decode()
    assert re.fullmatch(rf"Dear {EMAIL}, not tdgt1\.a1\.[\w-]+AAAAAA\. t", told(stream))
    assert stream.endswith("data: [DONE]\n\n")


def test_an_event_that_begins_no_token_is_not_kept_waiting(asked: Asked):
    arrived = threading.Event()

    def say(wire: Wire, token: str) -> None:
        wire.send(HEAD)
        for text in ("Dear ", f"{token} "):
            wire.send_chunk(delta(text))
            # What follows is sent only when the consumer has what came before.
            assert arrived.wait(WAIT_S)
            arrived.clear()
        wire.send_chunk(delta(token[:20]))
        wire.send_chunk(b"event: end\ndata: {}\n\n")
        assert arrived.wait(WAIT_S)

    with asked(say) as answer:
        pieces = answer.iter_text()
        seen: list[str] = []
        for expected in ("Dear ", f"Dear {EMAIL} "):
            while told("".join(seen)) != expected:
                seen.append(next(pieces))
            arrived.set()
        while "event: end" not in seen[-1]:
            seen.append(next(pieces))
        arrived.set()
    assert "tdgt1.a1." in "".join(seen)
