"""Load: wrk says how much goes through (closed loop), our generator how long it takes (open loop)."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Final

from bench.procfs import CoreTimes
from bench.stage import CACHE, BenchError, Cores, pinned, program
from bench.target import Target

CONNECTIONS: Final = 64

_LOADGEN: Final = Path(__file__).parent / "loadgen"
_LOADGEN_BUILT: Final = CACHE / "loadgen"


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a closed loop got through.

    `failed` are answers that were no success and connections that broke; `gate_busy` and
    `load_busy` are shares of the two cores' time.
    """

    calls: int
    failed: int
    per_second: float
    gate_busy: float
    load_busy: float


@dataclass(frozen=True, slots=True)
class Latency:
    """What an open loop saw, from each call's intended start; `late_*` is the generator's error."""

    calls: int
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float
    late_p50_us: float
    late_p99_us: float


def saturate(
    target: Target, cores: Cores, seconds: float, *, paths: Path | None = None
) -> Capacity:
    """Call as fast as it goes on 64 connections.

    Raises:
        BenchError: a call failed; a rate of failures says nothing.
    """
    capacity = saturate_counting_failures(target, cores, seconds, paths=paths)
    if capacity.failed:
        raise BenchError(f"{target.name}: {capacity.failed} of {capacity.calls} calls failed")
    return capacity


def saturate_counting_failures(
    target: Target, cores: Cores, seconds: float, *, paths: Path | None = None
) -> Capacity:
    """As `saturate`, where failures are what is measured."""
    argv = [program("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{ceil(seconds)}s", "--timeout", "10s"]
    argv += ["-s", str(Path(__file__).with_name("calls.lua"))]
    for name, value in target.headers.items():
        argv += ["-H", f"{name}: {value}"]
    env = {**os.environ, **({"BENCH_PATHS": str(paths)} if paths else {})}
    env |= {"BENCH_BODY": str(target.body)} if target.body else {}
    before = [CoreTimes.read(core) for core in (cores.gate, cores.load)]
    seen = _run([*argv, target.url], cores, env)
    after = [CoreTimes.read(core) for core in (cores.gate, cores.load)]
    gate, load = (now.busy_share(then) for then, now in zip(before, after, strict=True))
    return Capacity(
        calls=int(seen["calls"]),
        failed=int(seen["refused"] + seen["broken"]),
        per_second=seen["calls"] / seen["duration_us"] * 1e6,
        gate_busy=gate,
        load_busy=load,
    )


@dataclass(frozen=True, slots=True)
class Flood:
    """What an open loop saw of a target that may refuse: `latency` is of the answers that were a success."""

    latency: Latency
    seconds: float
    refused: int
    refused_p99_us: float

    @property
    def goodput(self) -> float:
        """Successful answers a second."""
        return (self.latency.calls - self.refused) / self.seconds


def pace(target: Target, cores: Cores, rate: float, seconds: float, *, seed: int) -> Latency:
    """Call at a steady mean rate, whatever the answers do.

    Raises:
        BenchError: a call was refused or broken.
    """
    seen = flood(target, cores, rate, seconds, seed=seed, connections=CONNECTIONS)
    if seen.refused:
        raise BenchError(f"{target.name}: {seen.refused} calls refused")
    return seen.latency


def flood(
    target: Target, cores: Cores, rate: float, seconds: float, *, seed: int, connections: int
) -> Flood:
    """As `pace`, of a target that may refuse.

    Raises:
        BenchError: a connection broke.
    """
    warmup = int(rate)  # the first second
    argv = [str(_LOADGEN_BUILT / "release" / "loadgen"), "--target", f"127.0.0.1:{target.port}"]
    argv += ["--path", target.path, "--rate", f"{rate:.0f}", "--calls", f"{rate * seconds:.0f}"]
    argv += ["--warmup", str(warmup), "--connections", str(connections), "--seed", str(seed)]
    for name, value in target.headers.items():
        argv += ["--header", f"{name}: {value}"]
    if target.body:
        argv += ["--body", str(target.body)]
    seen = _run(argv, cores, dict(os.environ))
    refused, failed = int(seen.pop("refused")), int(seen.pop("failed"))
    if failed:
        raise BenchError(f"{target.name}: {failed} calls broken")
    took_s, refused_p99_us = seen.pop("took_us") / 1e6, seen.pop("refused_p99_us")
    return Flood(Latency(calls=int(seen.pop("calls")), **seen), took_s, refused, refused_p99_us)


def build_generator() -> None:
    """Build our generator, if it is not there yet."""
    argv = ["cargo", "build", "--release", "--locked", "--quiet"]
    argv += ["--target-dir", str(_LOADGEN_BUILT)]
    subprocess.run(argv, cwd=_LOADGEN, check=True)


def _run(argv: list[str], cores: Cores, env: dict[str, str]) -> dict[str, float]:
    done = subprocess.run(
        pinned(cores.load, argv), env=env, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode != 0:
        raise BenchError(
            f"{Path(argv[0]).name} failed: {done.stderr.strip() or done.stdout.strip()}"
        )
    return json.loads(done.stdout.splitlines()[-1])
