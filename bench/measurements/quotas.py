"""Whether calls are held to what their provider allows: real engines before providers that count.

Nothing is compared with a peer: these are promises that hold or do not.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.counting_provider import Counting, counting
from bench.measure import Effort, Outcome, Table
from bench.stage import ROOT, BenchError, Stage
from tidegate.app.home import Home
from tidegate.app.services import services
from tidegate.domain.declaration import Client, Consumer, Declaration, Grant, Provider
from tidegate.domain.operation import Operation
from tidegate.domain.quota import Quota, QuotaQueue
from tidegate.snapshot import compile_snapshot

_ALL: Final = (("*", 1),)
_CLIENTS: Final = ("acme", "globex", "initech", "umbrella", "hooli")
_KILLS: Final = 100
_HELD_S: Final = 30
_PATIENCE_MS: Final = 1_000
_EXAMPLE: Final = ("run", "--release", "--quiet", "-p", "tidegate-wire", "--example", "quota_hour")


def measure(stage: Stage, effort: Effort) -> Outcome:
    quick = effort.rounds == 1
    said = _hour()
    figures = {
        "traffic.quota_refused": said["refused"],
        "traffic.quota_used": said["used"],
        "traffic.quota_overshoot": _overshoot(stage),
        "traffic.quota_fairness": _fairness(stage, 3 if quick else 15),
        **_queue_times(stage, 5 if quick else 40),
        "traffic.quota_kills_over": _kills(stage, 3 if quick else _KILLS),
        **_retry_after(stage, 2 if quick else _HELD_S),
    }
    rows = [(name.removeprefix("traffic."), f"{value:.4g}") for name, value in figures.items()]
    return Outcome(figures, Table("Quotas", ("", "measured"), rows), rounds=figures)


def _hour() -> dict[str, float]:
    """600 calls a minute for an hour, in virtual time."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise BenchError("cargo is not installed")
    ended = subprocess.run(
        [cargo, *_EXAMPLE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        raise BenchError(f"the example failed: {ended.stderr[-500:]}")
    return json.loads(ended.stdout)


def _overshoot(stage: Stage) -> float:
    """How many more than 400 calls in an hour get through 1, 4 and 8 workers, at most."""
    quota = Quota("q", "log", 400, _ALL, window_ms=3_600_000)
    over: list[int] = []
    for workers in (1, 4, 8):
        with counting() as provider, engine(stage, provider, quota, workers=workers) as running:
            running.call_for(lambda _, gone: gone < 100, threads=16)
            if provider.calls < 400:
                raise BenchError(f"only {provider.calls} of 400 calls came through")
            over.append(provider.calls - 400)
    return max(over)


def _fairness(stage: Stage, seconds: float) -> float:
    """Jain's index of five clients at one quota, one of whom asks ten times as much as each other."""
    quota = Quota(
        "q", "gcra", 101, _ALL, 1_000, 1, scope="provider", queue=QuotaQueue(9_000, 2_000)
    )
    callers = [_CLIENTS[0]] * 40 + [name for name in _CLIENTS[1:] for _ in range(4)]
    with counting() as provider, engine(stage, provider, quota) as running:
        until: list[float] = []

        def goes_on(_: int, __: int) -> bool:
            return not until or time.monotonic() < until[0]

        with ThreadPoolExecutor(1) as pool:
            pool.submit(running.call_for, goes_on, clients=callers)
            # All callers are there; what still waits in the end is the busy client's, and no part of it.
            time.sleep(2)
            before = Counter(provider.by_client)
            until.append(time.monotonic() + seconds)
            time.sleep(seconds)
            after = Counter(provider.by_client)
        shares = [after[f"/x?{name}"] - before[f"/x?{name}"] for name in _CLIENTS]
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


def _queue_times(stage: Stage, times: int) -> dict[str, float]:
    """How far from its deadline a waiting call ends, and how soon a hopeless one: the worst of them (ms)."""
    busy = Quota("q", "concurrency", 1, _ALL, queue=QuotaQueue(_PATIENCE_MS, 100))
    with counting() as provider, engine(stage, provider, busy) as running:
        provider.hold_s = times * 0.05 + _PATIENCE_MS / 1_000 + 1
        with ThreadPoolExecutor(times + 1) as pool:
            pool.submit(running.call)
            while not provider.calls:
                time.sleep(0.01)
            ended: list[float] = []
            for future in [
                pool.submit(_after, number * 0.02, running.timed) for number in range(times)
            ]:
                status, took_ms = future.result()
                if status == 429:
                    ended.append(abs(took_ms - _PATIENCE_MS))
    spent = Quota("q", "log", 1, _ALL, window_ms=3_600_000, queue=QuotaQueue(_PATIENCE_MS, 100))
    with counting() as provider, engine(stage, provider, spent) as running:
        running.call()
        early = [running.timed()[1] for _ in range(times * 5)]
    if not ended:
        raise BenchError("no call waited until its deadline")
    return {"traffic.queue_deadline_error_ms": max(ended), "traffic.early_refusal_ms": max(early)}


def _kills(stage: Stage, kills: int) -> float:
    """How many more calls than a day's quota reach the provider while the engine is killed again and again."""
    amount = kills * 4
    quota = Quota("q", "calendar", amount, _ALL)
    with counting() as provider:
        for _ in range(kills):
            with (
                engine(stage, provider, quota, folder="kills") as running,
                ThreadPoolExecutor(4) as pool,
            ):
                waiting = [pool.submit(running.call) for _ in range(8)]
                waiting[0].result()
                running.process.kill()
                for one in waiting:
                    one.exception()
            debited = (stage.folder / "kills" / "spool" / "debits").read_text().splitlines()
            if max(json.loads(line)["used"] for line in debited) < provider.calls:
                raise BenchError("a call was sent that was not debited")
        with engine(stage, provider, quota, folder="kills") as running:
            running.call_for(lambda status, _: status == 200)
        return provider.calls - amount


def _retry_after(stage: Stage, seconds: int) -> dict[str, float]:
    """From a 429 with `Retry-After: 30` to the next call that reaches the provider (s)."""
    quota = Quota("q", "log", 1_000, _ALL, window_ms=60_000, queue=QuotaQueue(60_000, 100))
    with counting() as provider, engine(stage, provider, quota) as running:
        provider.refusing_s = seconds
        running.call()
        running.call()
        first, second = provider.times
    waited = second - first
    return {
        "traffic.retry_after_s": waited * _HELD_S / seconds,
        "traffic.retry_after_early_s": max(seconds - waited, 0),
    }


@dataclass
class Engine:
    """One engine that runs."""

    process: subprocess.Popen[str]
    port: int
    token: str

    def told(self) -> dict[str, Any]:
        """How it stands with the store that it shares, and its limits."""
        if self.process.stdin is None or self.process.stdout is None:
            raise BenchError("the engine was not started to be spoken to")
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def call(
        self, client: str = _CLIENTS[0], connection: http.client.HTTPConnection | None = None
    ) -> int:
        own = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        headers = {"Tidegate-Token": self.token, "Tidegate-Client": client}
        own.request("GET", f"/there/x?{client}", headers=headers)
        answer = own.getresponse()
        answer.read()
        return answer.status

    def timed(self) -> tuple[int, float]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        connection.connect()
        began = time.perf_counter()
        status = self.call(connection=connection)
        return status, (time.perf_counter() - began) * 1_000

    def call_for(
        self,
        goes_on: Callable[[int, int], bool],
        *,
        clients: list[str] | None = None,
        threads: int = 1,
    ) -> None:
        """Call until `goes_on` says no to a status and the number of refusals so far."""
        callers, refused, lock = (
            clients or [_CLIENTS[0]] * threads,
            Counter[str](),
            threading.Lock(),
        )

        def one(client: str) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
            while True:
                status = self.call(client, connection)
                with lock:
                    refused["all"] += status == 429
                    if not goes_on(status, refused["all"]):
                        return

        with ThreadPoolExecutor(len(callers)) as pool:
            list(pool.map(one, callers))


def _after(wait_s: float, call: Callable[[], Any]) -> Any:
    time.sleep(wait_s)
    return call()


@contextmanager
def engine(
    stage: Stage,
    provider: Counting,
    quota: Quota,
    *,
    workers: int = 2,
    folder: str | None = None,
    shared: dict[str, object] | None = None,
) -> Iterator[Engine]:
    """Start one before a provider; `shared` is where it counts with others."""
    place = stage.folder / (folder or f"quota-{time.monotonic_ns()}")
    home = Home(place / "data", place / "key" / "root.key", f"sqlite:///{place}/data/store.db")
    kept = place / "setting.json"
    if not kept.exists():
        place.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(_setting(home, place, provider.url, quota, workers)))
    setting = json.loads(kept.read_text())
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.quota_host"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    if process.stdin is None or process.stdout is None:
        raise BenchError("the engine was not started to be spoken to")
    try:
        process.stdin.write(json.dumps(setting["host"] | {"shared": shared}) + "\n")
        process.stdin.flush()
        yield Engine(process, int(process.stdout.readline()), setting["token"])
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait(30)
        process.stdout.close()


def _setting(home: Home, place: Path, url: str, quota: Quota, workers: int) -> dict[str, Any]:
    provider = Provider(
        name="there",
        title="There",
        origins=(url,),
        attach=(),
        operations=(Operation("Get", "GET", "/x"),),
        allow_private=("127.0.0.0/8",),
        quotas=(quota,),
    )
    declaration = Declaration(
        clients=tuple(map(Client, _CLIENTS)),
        consumers=(Consumer("load", _CLIENTS),),
        providers=(provider,),
        grants=(Grant("load", "there", ("*",), name="grants[0]"),),
    )
    with services(home) as state:
        state.make_root_key()
        token, secret = state.tokens.create(declaration, "load")
        return {
            "token": secret.reveal().decode(),
            "host": {
                "spool": str(place / "spool"),
                "workers": workers,
                "token_key": state.vault.token_key().reveal().hex(),
                "snapshot": compile_snapshot(declaration, 1, [token], []).decode(),
            },
        }
