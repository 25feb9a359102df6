"""A store that is locked and a disk that is full stop no call, and what was lost meanwhile is told."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from support.gate import Origin, origin
from support.servers import wait_until
from support.up import Installation, Up, install, stored


@pytest.fixture
def provider() -> Iterator[Origin]:
    with origin() as running:
        yield running


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the database as another process would that does not end its transaction."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def said(gateway: Up, event: str) -> bool:
    return f'"event": "{event}"' in gateway.log.read_text()


def test_a_locked_store_stops_no_call_and_loses_no_record(tmp_path: Path, provider: Origin):
    installed = install(tmp_path, provider.url)
    with installed.up() as gateway:
        assert gateway.get().status_code == 200
        with locked(installed.database), gateway.under_load(threads=1):
            # The store gives a lock four seconds; the records then wait in the spool.
            wait_until(lambda: said(gateway, "records_wait_in_spool"))
            gateway.wait_for_answers(len(gateway.answered) + 50)
        wait_until(lambda: said(gateway, "records_flow_again"))
        assert gateway.stop() == 0
    assert gateway.answered - stored(installed) == set()
    with installed.state() as state:
        assert state.store.calls.gaps() == ()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a mebibyte."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system that can be filled")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        yield disk
        # What the gateway left there is searched for secrets like all else.
        shutil.copytree(disk, tmp_path / "of-the-disk", ignore=shutil.ignore_patterns("filler"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    assert shutil.disk_usage(disk).free == 0
    return filler


@pytest.mark.root
def test_a_full_disk_stops_no_call_and_what_it_cost_is_told(
    tmp_path: Path, provider: Origin, small_disk: Path
):
    installed: Installation = install(tmp_path, provider.url, small_disk / "data")
    with installed.up() as gateway:
        first = gateway.get().headers["tidegate-call"]
        wait_until(lambda: first in stored(installed))
        filler = fill(small_disk)
        with gateway.under_load(threads=2):
            gateway.wait_for_answers(300)
        filler.unlink()
        last = gateway.get().headers["tidegate-call"]
        assert gateway.stop() == 0
    there = stored(installed)
    with installed.state() as state:
        gaps = state.store.calls.gaps()
    assert {first, last} <= there
    # Whatever is not there is a gap on record; nothing is missing unseen.
    missing = len(gateway.answered - there)
    assert missing == sum(gap.events_max for gap in gaps)
    assert missing > 0
