"""Whatever a declaration is turned into while calls are made, none of them fails and nothing of it is taken."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from structlog.testing import capture_logs
from support.passage import Passage, put_before
from support.running import wait_until
from support.scripted import Wire, scripted

from tidegate.sandbox import Authority

BOMB = "a: &a [x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
EDITS = {
    "empty": lambda _: "",
    "cut": lambda good: good[: len(good) // 2],
    "not text": lambda _: "\x00\x01\x02",
    "unknown key": lambda good: good + "nonsense: true\n",
    "key twice": lambda good: good + "version: 1\n",
    "alias bomb": lambda good: good + BOMB,
    "python object": lambda good: good + "x: !!python/object/apply:os.system [id]\n",
    "grant of nobody": lambda good: good.replace("consumer: app", "consumer: nobody"),
    "no verification": lambda good: good.replace("tls: {ca:", "tls: {verify: false, ca:"),
    "wrong type": lambda good: good.replace("version: 1", "version: [1]"),
}


def answering(wire: Wire) -> None:
    while wire.head():
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_no_wrong_edit_fails_a_call_or_is_taken_in_part(tmp_path: Path):
    authority, stop = Authority(), threading.Event()

    def call_on(passage: Passage) -> Counter[int]:
        statuses: Counter[int] = Counter()
        with httpx.Client(headers=passage.headers, trust_env=False, timeout=20) as client:
            while not stop.is_set():
                statuses[client.get(f"{passage.base}/thing").status_code] += 1
        return statuses

    with (
        capture_logs() as logs,
        scripted(authority, answering) as origin,
        put_before(tmp_path, authority, origin) as passage,
        ThreadPoolExecutor(1) as pool,
    ):
        calling = pool.submit(call_on, passage)
        try:
            file = passage.gateway.file
            good = file.read_text()
            for number, bend in enumerate(EDITS.values(), start=1):
                file.write_text(bend(good))
                wait_until(lambda due=number: _refusals(logs) == due)
            file.write_text(good.replace("acme: {}", "acme: {name: Acme}"))
            wait_until(lambda: len(passage.gateway.state.store.revisions.all()) == 2)
        finally:
            stop.set()
        assert set(calling.result()) == {200}
    assert {entry["in_force"] for entry in logs if entry["event"] == "declaration_refused"} == {1}


def _refusals(logs: list) -> int:
    return sum(entry["event"] == "declaration_refused" for entry in logs)
