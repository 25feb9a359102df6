"""A process whose threads all want the next token at the same moment.

    python -m bench.trials.renewing STORE ROOT_FILE DECLARED THREADS

It says `ready`. Then each line that it reads is a trial: by how many seconds the clock is ahead. It
answers with one line of JSON: the serial that each thread got, whether it asked, and what went wrong.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tidegate.app import load_declaration
from tidegate.credentials import Refresher
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Provider
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig
from tidegate.store import Store
from tidegate.vault import RootFile, Vault, open_root


class Clock:
    """The time, moved on by hand: nobody waits an hour for a token to expire."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ahead = timedelta(seconds=ahead_s)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def main() -> None:
    url, root_file, declared, threads = sys.argv[1:]
    # Whoever started this may keep to one core; a race wants all.
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    (provider,) = load_declaration(Path(declared)).providers
    clock, count = Clock(), int(threads)
    with (
        tempfile.TemporaryDirectory() as folder,
        Store.open(url) as store,
        Engine(
            EngineConfig(spool=Path(folder) / "spool", workers=1, record=False),
            Secret(os.urandom(32)),
        ) as engine,
        ThreadPoolExecutor(count) as pool,
    ):
        vault = Vault(store, open_root(RootFile(Path(root_file)), store))
        refresher = Refresher(store, vault, engine, holder=f"process {os.getpid()}", clock=clock)
        say("ready")
        for line in sys.stdin:
            clock.ahead = timedelta(seconds=float(line))
            (connection,) = store.connections.all()
            one = _Caller(refresher, connection, provider, threading.Barrier(count))
            say(json.dumps(list(pool.map(one.renew, range(count)))))


@dataclass(frozen=True, slots=True)
class _Caller:
    refresher: Refresher
    connection: Connection
    provider: Provider
    together: threading.Barrier

    def renew(self, _number: int) -> tuple[int, bool, str | None]:
        """Ask when all are there."""
        self.together.wait()
        renewed = self.refresher.renew(self.connection, self.provider)
        return renewed.token.serial if renewed.token else 0, renewed.asked, renewed.trouble


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
