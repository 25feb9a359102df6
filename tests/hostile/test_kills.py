"""What a killed gateway loses is little and told; what a stopped one loses is nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.gate import origin
from support.up import Installation, install, stored

KILL_AFTER = (1, 25, 120)
EVENTS_LOST_MAX = 100


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    with origin() as provider:
        yield install(tmp_path, provider.url)


def is_sound(file: Path) -> bool:
    with closing(sqlite3.connect(file)) as database:
        return database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_kill_at_any_point_loses_little_and_the_next_start_tells_the_gap(
    installed: Installation,
):
    answered: list[set[str]] = []
    for point in KILL_AFTER:
        with installed.up() as gateway, gateway.under_load():
            gateway.wait_for_answers(point)
            gateway.kill()
        answered.append(gateway.answered)
        assert is_sound(installed.database)
    # What was in the spool comes into the store with the next start, and is there when it stops.
    with installed.up() as gateway:
        assert gateway.get().status_code == 200
        assert gateway.stop() == 0
    assert is_sound(installed.database)
    there = stored(installed)
    missing = [len(round_answered - there) for round_answered in answered]
    with installed.state() as state:
        gaps = state.store.calls.gaps()
    assert len(gaps) == len(KILL_AFTER)
    for lost, gap in zip(missing, gaps, strict=True):
        assert lost <= min(EVENTS_LOST_MAX, gap.events_max)


def test_a_stop_under_load_loses_nothing(installed: Installation):
    with installed.up() as gateway:
        with gateway.under_load():
            gateway.wait_for_answers(100)
            assert gateway.stop() == 0
        answered = gateway.answered
    assert answered - stored(installed) == set()
    with installed.state() as state:
        assert state.store.calls.gaps() == ()
