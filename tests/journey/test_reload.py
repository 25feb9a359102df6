"""What is declared changes while calls are under way, and none of them notices."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
from support.passage import Before, Passage
from support.running import wait_until
from support.scripted import Wire, scripted

from tidegate.sandbox import Authority

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answering(wire: Wire) -> None:
    while wire.head():
        wire.send(OK)


def revision_in_force(passage: Passage) -> int:
    # Nobody else shows a wrong token: its record is found at once among those of thousands of calls.
    with httpx.Client(headers={"Tidegate-Token": "tdg_wrong"}, trust_env=False) as client:
        call = client.get(f"{passage.base}/thing").headers["tidegate-call"]
    found: list[int] = []

    def recorded() -> bool:
        recent = passage.gateway.state.store.calls.recent(limit=5, outcome="unauthenticated").calls
        found[:] = [record.revision for record in recent if record.id == call]
        return bool(found)

    wait_until(recorded)
    return found[0]


def test_no_call_fails_while_revisions_change(before: Before, authority: Authority):
    stop = threading.Event()

    def call_on(passage: Passage) -> Counter[int]:
        statuses: Counter[int] = Counter()
        with httpx.Client(headers=passage.headers, trust_env=False) as client:
            while not stop.is_set():
                statuses[client.get(f"{passage.base}/thing").status_code] += 1
        return statuses

    with (
        scripted(authority, answering) as origin,
        before(origin) as passage,
        ThreadPoolExecutor(2) as pool,
    ):
        calling = [pool.submit(call_on, passage) for _ in range(2)]
        try:
            declared = passage.gateway.file.read_text()
            first = revision_in_force(passage)
            for number in range(3):
                added = f"consumers: {{extra{number}: {{clients: [acme]}}, "
                passage.gateway.file.write_text(declared.replace("consumers: {", added))
                wait_until(lambda due=first + number + 1: revision_in_force(passage) == due)
        finally:
            stop.set()
        statuses = sum((done.result() for done in calling), Counter())
    assert set(statuses) == {200}
    assert statuses[200] > 10


def test_wrong_edit_changes_nothing(before: Before, authority: Authority):
    with scripted(authority, answering) as origin, before(origin) as passage:
        declared = passage.gateway.file.read_text()
        passage.gateway.file.write_text(declared + "nonsense: true\n")
        assert revision_in_force(passage) == 1
        # A right edit after it is taken, so the wrong one was seen and left.
        passage.gateway.file.write_text(declared.replace("acme: {}", "acme: {name: Acme}"))
        wait_until(lambda: revision_in_force(passage) == 2)


def test_call_under_way_outlives_a_new_revision(before: Before, authority: Authority):
    arrived, go_on = threading.Event(), threading.Event()

    def script(wire: Wire) -> None:
        while head := wire.head():
            if b"/slow" in head:
                arrived.set()
                go_on.wait(10)
            wire.send(OK)

    with (
        scripted(authority, script) as origin,
        before(origin) as passage,
        httpx.Client(headers=passage.headers, trust_env=False, timeout=20) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        slow = pool.submit(client.get, f"{passage.base}/slow")
        assert arrived.wait(10)
        declared = passage.gateway.file.read_text()
        # The grant that let it through is gone in the next revision.
        passage.gateway.file.write_text(declared.replace('operations: ["*"]', "operations: [PUT*]"))

        def is_denied() -> bool:
            with httpx.Client(headers=passage.headers, trust_env=False) as other:
                return other.get(f"{passage.base}/thing").status_code == 403

        wait_until(is_denied)
        go_on.set()
        assert slow.result().status_code == 200
