"""What happens on the wire reaches the store, whatever happens to the store meanwhile."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.gate import Gate, Origin, gate, origin

from tidegate.domain.call import Gap
from tidegate.events import Drain
from tidegate.events.yielding import NICENESS


@pytest.fixture
def provider() -> Iterator[Origin]:
    with origin() as running:
        yield running


@pytest.fixture(autouse=True)
def _impatient_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.store.database.LOCK_WAIT_S", 0.2)


@pytest.fixture
def running(tmp_path: Path, provider: Origin) -> Iterator[Gate]:
    with gate(tmp_path, provider.url) as started:
        yield started


@contextlib.contextmanager
def locked(running: Gate) -> Iterator[None]:
    """Hold the store's write lock, as another process would."""
    place = running.state.home.data / "tidegate.db"
    with contextlib.closing(sqlite3.connect(place, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def stored(running: Gate) -> list[str]:
    return [record.id for record in running.state.store.calls.recent().calls]


def wait_until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_every_call_is_in_the_store_when_the_drain_has_finished(running: Gate):
    drain = Drain(running.engine, running.state.store)
    drain.start()
    calls = [running.call().headers["tidegate-call"] for _ in range(50)]
    running.engine.shutdown(grace_s=5)
    assert drain.finish(within_s=10)
    assert sorted(stored(running)) == sorted(calls)


def test_stored_event_does_not_come_again(running: Gate):
    drain = Drain(running.engine, running.state.store)
    drain.start()
    running.call()
    running.engine.shutdown(grace_s=5)
    drain.finish(within_s=10)
    assert running.engine.events(10, 0.0).lines == ()


def test_last_use_of_the_token_is_noted(running: Gate):
    drain = Drain(running.engine, running.state.store)
    drain.start()
    before = running.state.store.generation()
    running.call()
    running.engine.shutdown(grace_s=5)
    drain.finish(within_s=10)
    (token,) = running.state.store.tokens.all()
    assert token.last_used_at is not None
    assert running.state.store.generation() == before


def test_calls_go_on_while_the_store_is_locked_and_no_record_is_lost(running: Gate):
    drain = Drain(running.engine, running.state.store)
    with capture_logs() as logs:
        drain.start()
        with locked(running):
            calls = [running.call().headers["tidegate-call"]]
            wait_until(lambda: bool(logs))
            calls += [running.call().headers["tidegate-call"] for _ in range(20)]
            assert stored(running) == []
        wait_until(lambda: len(stored(running)) == len(calls))
        running.engine.shutdown(grace_s=5)
        assert drain.finish(within_s=10)
    assert sorted(stored(running)) == sorted(calls)
    assert [entry["event"] for entry in logs] == ["records_wait_in_spool", "records_flow_again"]
    assert "locked by another process" in logs[0]["reason"]


def test_drain_that_cannot_store_gives_up_in_time_and_leaves_the_spool(
    tmp_path: Path, provider: Origin
):
    with gate(tmp_path, provider.url) as before:
        drain = Drain(before.engine, before.state.store)
        drain.start()
        with locked(before):
            call = before.call().headers["tidegate-call"]
            before.engine.shutdown(grace_s=5)
            assert not drain.finish(within_s=0.5)
    with gate(tmp_path, provider.url) as after:
        second = Drain(after.engine, after.state.store)
        second.start()
        assert second.finish(within_s=10)
        assert stored(after) == [call]


def test_gap_is_put_on_record_and_told(running: Gate, monkeypatch: pytest.MonkeyPatch):
    found = Gap(noticed_ms=2_000, after_ms=1_000, events_max=100, reason="it was killed")
    monkeypatch.setattr(running.engine, "gaps", lambda: [found])
    drain = Drain(running.engine, running.state.store)
    with capture_logs() as logs:
        drain.start()
        drain.finish(within_s=10)
    assert running.state.store.calls.gaps() == (found,)
    assert logs[0] == {
        "event": "events_missing",
        "log_level": "warning",
        "after": "1970-01-01T00:00:01+00:00",
        "at_most": 100,
        "reason": "it was killed",
    }


def test_what_the_spool_could_not_hold_is_a_gap_on_record(tmp_path: Path, provider: Origin):
    with gate(tmp_path, provider.url, spool_bytes_max=1) as running:
        drain = Drain(running.engine, running.state.store)
        assert {running.call().status_code for _ in range(5)} == {200}
        running.engine.shutdown(grace_s=5)
        drain.start()
        drain.finish(within_s=10)
        (gap,) = running.state.store.calls.gaps()
        assert gap.events_max == 5
        assert "full" in gap.reason


def test_drain_is_the_last_to_get_a_busy_core(running: Gate):
    drain = Drain(running.engine, running.state.store)
    drain.start()
    running.call()
    wait_until(lambda: len(stored(running)) == 1)
    (thread,) = [one for one in threading.enumerate() if one.name == "tidegate-drain"]
    assert thread.native_id is not None
    assert os.getpriority(os.PRIO_PROCESS, thread.native_id) == NICENESS
    assert os.getpriority(os.PRIO_PROCESS, 0) < NICENESS
    drain.finish(within_s=10)
