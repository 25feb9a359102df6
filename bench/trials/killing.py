"""Kill whoever refreshes or rotates, hundreds of times, and look at what is left after each.

Half of the workers die at a write point of their own, half while the provider carries out a request of
theirs: as it arrives, or after all is done and before the answer. After each death the store must be
whole, and the next worker must put right what was left.
"""

from __future__ import annotations

import json
import os
import random  # noqa: TID251 - seeded, so that a run can be repeated
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.stage import ROOT
from bench.trials import scene
from bench.trials.killed import GO, Kind, Work
from tidegate.sandbox import KeyServer, LoopbackServer, TokenServer
from tidegate.sandbox.loopback import Moment
from tidegate.store import Store
from tidegate.vault import Vault, VaultError

_PATIENCE_S: Final = 60.0
_OK: Final = 200


@dataclass(slots=True)
class Killed:
    """What came of it. All but the first three must be nought."""

    kills: Counter[str] = field(default_factory=Counter[str])
    recoveries_s: list[float] = field(default_factory=list[float])
    consents_lost: int = 0
    reused: int = 0
    corrupt: int = 0
    reused_too_late: int = 0
    keys_unrecorded: int = 0
    calls_refused: int = 0

    @property
    def faults(self) -> int:
        return self.corrupt + self.reused_too_late + self.keys_unrecorded + self.calls_refused

    @property
    def slowest_s(self) -> float:
        return max(self.recoveries_s, default=0.0)


def kill_refreshes(
    folder: Path, store_url: str, *, kills: int, seed: int, reuse_s: float = 30.0
) -> Killed:
    """Kill whoever asks for tokens, at a provider that takes a used refresh token again for `reuse_s`."""
    with TokenServer(reuse_s=reuse_s) as server:
        made = scene.make(folder, store_url, server, scene.ISSUES_TOKENS)
        with made.opened() as (store, vault):

            def consent() -> None:
                fields = {"client_id": "us", "client_secret": "s3cret-of-us"}
                fields["refresh_token"] = server.consent()
                scene.connect(made, store, vault, "default", fields)

            consent()
            trial = _Trial("refresh", made, store, vault, server, random.Random(seed), consent)
            trial.run(kills)
        trial.killed.reused = server.reused
        if reuse_s:
            trial.killed.reused_too_late = server.reused_too_late
        return trial.killed


def kill_rotations(folder: Path, store_url: str, *, kills: int, seed: int) -> Killed:
    """Kill whoever replaces a key, at a provider that lists the keys there are."""
    with KeyServer() as server:
        made = scene.make(folder, store_url, server, scene.HAS_KEYS)
        with made.opened() as (store, vault):
            first = server.make("by hand")
            scene.connect(made, store, vault, "default", {"token": first.value})
            scene.connect(made, store, vault, "admin", {"token": server.manager})
            trial = _Trial("rotate", made, store, vault, server, random.Random(seed))
            trial.run(kills)
        return trial.killed


@dataclass(slots=True)
class _Trial:
    kind: Kind
    scene: scene.Scene
    store: Store
    vault: Vault
    server: LoopbackServer
    chance: random.Random
    consent: Callable[[], None] = lambda: None
    killed: Killed = field(default_factory=Killed)
    ahead_s: float = 0.0
    begun_at: float = 0.0

    def run(self, kills: int) -> None:
        with _forker(self.scene) as forker:
            points = self._one_life(forker, Work(self.kind), stop_after=2)
            for number in range(kills):
                # As many points again as one round of work has: in the round that puts right, in the
                # next one, and in between.
                point = self.chance.randrange(1, 2 * points) if number % 2 else 0
                moment: Moment = self.chance.choice(("arrived", "carried out"))
                self.killed.kills["at a write point" if point else f"request {moment}"] += 1
                if not point:
                    self._strike(forker, moment, self.chance.randrange(1, 6))
                self._one_life(forker, Work(self.kind, self.ahead_s, point))
                self._look()
            self.server.meanwhile = lambda _: None
            self._one_life(forker, Work(self.kind, self.ahead_s), stop_after=1)

    def _one_life(self, forker: _Forker, work: Work, stop_after: int = 0) -> int:
        """Follow a worker to its end; return how many write points it had passed.

        `stop_after`: kill it when it has begun its work so many times.
        """
        self.begun_at = time.monotonic()
        forker.send(work.line())
        forker.pid = forker.read()["pid"]
        passed = rounds = 0
        while "ended" not in (said := forker.read()):
            if said.get("told") == "lost":
                self.killed.consents_lost += 1
                self.consent()
                forker.send(GO + b"\n")
            elif said.get("told") == "recovered":
                self._recovered(said)
                forker.send(GO + b"\n")
            else:
                self.ahead_s = said.get("ahead_s", 0.0)
                passed, rounds = said["passed"] - passed, rounds + 1
                if rounds == stop_after:
                    os.kill(forker.pid, signal.SIGKILL)
        return passed

    def _recovered(self, said: dict[str, Any]) -> None:
        if self.killed.kills:
            self.killed.recoveries_s.append(time.monotonic() - self.begun_at)
        self.killed.calls_refused += said["status"] != _OK
        if isinstance(self.server, KeyServer):
            # Nothing is under way now: the key that calls carry is the only one there may be.
            alive = [key.value for key in self.server.alive()]
            (one,) = [one for one in self.store.connections.all() if one.name == "default"]
            carried = self.vault.open(one)["token"].reveal().decode()
            self.killed.keys_unrecorded += len([key for key in alive if key != carried])

    def _strike(self, forker: _Forker, moment: Moment, request: int) -> None:
        """Kill the worker while the provider has its request of that number."""
        left = request

        def meanwhile(now: Moment) -> None:
            nonlocal left
            if now == moment:
                left -= 1
                if left == 0:
                    os.kill(forker.pid, signal.SIGKILL)

        self.server.meanwhile = meanwhile

    def _look(self) -> None:
        """See that the store is whole: the file, and every sealed row that is in force."""
        self.server.meanwhile = lambda _: None
        if self.store.directory is not None:
            with closing(sqlite3.connect(self.store.directory / "tidegate.db")) as database:
                sound = database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                self.killed.corrupt += not sound
        try:
            for one in self.store.connections.all():
                self.vault.open(one)
                token = self.store.issued.get(one.id)
                if token is not None and token.sealed is not None:
                    self.vault.open_issued(one, token.serial, token.sealed)
        except VaultError:
            self.killed.corrupt += 1


class _Forker:
    """The process that workers are forked from, and the worker that lives."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process was started with both")
        self._given, self._told = process.stdin.fileno(), process.stdout.fileno()
        self._rest = b""
        self.pid = 0

    def send(self, line: bytes) -> None:
        os.write(self._given, line)

    def read(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._told], [], [], _PATIENCE_S)
            data = os.read(self._told, 65_536) if ready else b""
            if not data:
                raise RuntimeError(f"a worker neither went on nor ended in {_PATIENCE_S:.0f} s")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)


@contextmanager
def _forker(made: scene.Scene) -> Iterator[_Forker]:
    with subprocess.Popen(
        [sys.executable, "-m", "bench.trials.killed", *made.words],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            forker = _Forker(process)
            forker.read()
            yield forker
        finally:
            process.kill()
