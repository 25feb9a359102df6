"""Twice as many calls as the gateway can carry: what it still carries, how soon, and how soon all is well.

Open loop, 2,000 connections. Capacity is the highest goodput found at rising rates.
"""

from __future__ import annotations

from dataclasses import asdict
from statistics import median
from typing import Final

from bench import provider
from bench.gateway import Gateway
from bench.load import Flood, flood, saturate
from bench.measure import QUICK, Effort, Outcome, Table
from bench.stage import Cores, Stage
from bench.target import Target, expect_the_work_done

CONNECTIONS: Final = 2_000
_RISING: Final = (0.7, 0.8, 0.9, 1.0, 1.1)
_CALM: Final = 0.8
_NORMAL: Final = 1.5
"""What is normal: a 99th percentile of at most so many times that before."""
_RECOVERY_S_MAX: Final = 15


def measure(stage: Stage, effort: Effort) -> Outcome:
    origin = provider.start(stage)
    gateway = Gateway.prepare(stage, origin)
    target = gateway.target(gateway.start())
    expect_the_work_done(target)
    cores, seconds = stage.cores, effort.seconds + 1
    full = saturate(target, cores, effort.seconds).per_second
    rising = [
        flood(target, cores, share * full, seconds, seed=1, connections=CONNECTIONS)
        for share in _RISING
    ]
    peak = max(one.goodput for one in rising)
    calm: list[Flood] = []
    twice: list[Flood] = []
    recovery: list[float] = []
    for seed in range(1, (1 if effort is QUICK else 3) + 1):
        calm.append(_flood(target, cores, _CALM * peak, seconds, seed))
        twice.append(_flood(target, cores, 2 * peak, 3 * seconds, seed))
        recovery.append(_recovery(target, cores, _CALM * peak, calm[-1], seed))
    return _outcome(peak, rising, calm, twice, recovery)


def _flood(target: Target, cores: Cores, rate: float, seconds: float, seed: int) -> Flood:
    return flood(target, cores, rate, seconds, seed=seed, connections=CONNECTIONS)


def _recovery(target: Target, cores: Cores, rate: float, calm: Flood, seed: int) -> float:
    """The seconds after an overload at whose end calls are as good as in the calm: at least one run's."""
    for second in range(0, _RECOVERY_S_MAX, 3):
        # The first of the three is the generator's warm-up.
        after = _flood(target, cores, rate, 2, seed)
        if not after.refused and after.latency.p99_us <= _NORMAL * calm.latency.p99_us:
            return float(second + 3)
    return float(_RECOVERY_S_MAX)


def _outcome(
    peak: float,
    rising: list[Flood],
    calm: list[Flood],
    twice: list[Flood],
    recovery: list[float],
) -> Outcome:
    goodput = median(one.goodput for one in twice) / peak
    pairs = zip(calm, twice, strict=True)
    ratio = median(over.latency.p99_us / before.latency.p99_us for before, over in pairs)
    rows = [
        _row(f"{share:.0%} of the closed loop", [one])
        for share, one in zip(_RISING, rising, strict=True)
    ]
    rows += [_row(f"{_CALM:.0%} of peak", calm), _row("twice peak", twice)]
    return Outcome(
        figures={
            "traffic.overload_goodput": goodput,
            "traffic.overload_p99_ratio": ratio,
            "traffic.overload_recovery_s": median(recovery),
        },
        table=Table(
            f"Overload (peak {peak:,.0f} calls/s), ms from each call's intended start",
            ("", "offered", "goodput", "refused", "p50", "p99", "p99 of refusals"),
            rows,
        ),
        rounds={
            "peak": peak,
            "rising": [asdict(one) for one in rising],
            "calm": [asdict(one) for one in calm],
            "twice": [asdict(one) for one in twice],
            "recovery_s": recovery,
        },
    )


def _row(name: str, runs: list[Flood]) -> tuple[str, ...]:
    return (
        name,
        f"{median(one.latency.calls / one.seconds for one in runs):,.0f}",
        f"{median(one.goodput for one in runs):,.0f}",
        f"{median(one.refused / one.latency.calls for one in runs):.1%}",
        f"{median(one.latency.p50_us for one in runs) / 1_000:.2f}",
        f"{median(one.latency.p99_us for one in runs) / 1_000:.2f}",
        f"{median(one.refused_p99_us for one in runs) / 1_000:.2f}",
    )
