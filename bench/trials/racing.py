"""Callers of many processes want the token that follows one which has just expired."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bench.stage import ROOT
from bench.trials import scene
from tidegate.sandbox import TokenServer

_TOKEN_S = 3_600


@dataclass(slots=True)
class Raced:
    """What came of it. `astray` are the trials in which not exactly one request for a token was made.

    `empty_handed` counts callers who did not get that trial's token.
    """

    trials: int = 0
    callers: int = 0
    requests: int = 0
    empty_handed: int = 0
    astray: list[int] = field(default_factory=list[int])


def race(folder: Path, store_url: str, *, processes: int, callers: int, trials: int) -> Raced:
    """Run that many processes with that many callers each, and have them ask together, again and again."""
    raced = Raced(callers=processes * callers)
    with TokenServer(lifetime_s=_TOKEN_S, takes_s=0.02) as server:
        made = scene.make(folder, store_url, server, scene.ISSUES_TOKENS)
        with made.opened() as (store, vault):
            fields = {"client_id": "us", "client_secret": "s3cret-of-us"}
            scene.connect(
                made, store, vault, "default", fields | {"refresh_token": server.consent()}
            )
        with ExitStack() as stack:
            running = [stack.enter_context(_renewing(made, callers)) for _ in range(processes)]
            for trial in range(1, trials + 1):
                before = server.asked
                told = _together(running, trial * (_TOKEN_S + 1))
                requests = server.asked - before
                raced.trials += 1
                raced.requests += requests
                if requests != 1 or sum(asked for _, asked, _ in told) != 1:
                    raced.astray.append(trial)
                raced.empty_handed += sum(
                    serial != trial or trouble is not None for serial, _, trouble in told
                )
    return raced


def _together(
    running: list[tuple[IO[str], IO[str]]], ahead_s: int
) -> list[tuple[int, bool, str | None]]:
    for given, _ in running:
        given.write(f"{ahead_s}\n")
        given.flush()
    return [tuple(one) for _, told in running for one in json.loads(told.readline())]


@contextmanager
def _renewing(made: scene.Scene, callers: int) -> Iterator[tuple[IO[str], IO[str]]]:
    with subprocess.Popen(
        [sys.executable, "-m", "bench.trials.renewing", *made.words, str(callers)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process was started with both")
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("a process that was to ask for tokens did not start")
        try:
            yield process.stdin, process.stdout
        finally:
            process.stdin.close()
            process.wait(20)
