"""How much longer a call takes through Tidegate at half load than without any gateway.

Open loop, Poisson arrivals, the same arrivals for both. The direct calls go without TLS, so what is
added holds the whole cost of TLS to the provider: it is an upper bound.
"""

from __future__ import annotations

from dataclasses import asdict
from statistics import median

from bench import peers, provider
from bench.gateway import Gateway
from bench.load import Latency, pace, saturate
from bench.measure import Effort, Outcome, Table
from bench.procfs import CoreTimes
from bench.stage import BenchError, Stage
from bench.target import expect_the_work_done


def measure(stage: Stage, effort: Effort) -> Outcome:
    origin = provider.start(stage)
    direct = peers.direct_plain(origin)
    gateway = Gateway.prepare(stage, origin)
    tidegate = gateway.target(gateway.start())
    expect_the_work_done(tidegate)

    full = saturate(tidegate, stage.cores, effort.seconds)
    recorded = gateway.wait_for_records(full.calls)
    rate = full.per_second / 2
    without: list[Latency] = []
    through: list[Latency] = []
    busy: list[tuple[float, float]] = []
    for seed in range(1, effort.rounds + 1):
        without.append(pace(direct, stage.cores, rate, effort.seconds, seed=seed))
        cores = [CoreTimes.read(core) for core in (stage.cores.gate, stage.cores.load)]
        through.append(pace(tidegate, stage.cores, rate, effort.seconds, seed=seed))
        gate, load = (CoreTimes.read(core) for core in (stage.cores.gate, stage.cores.load))
        busy.append((gate.busy_share(cores[0]), load.busy_share(cores[1])))
        recorded = _expect_recorded(gateway, recorded, through[-1].calls)
    return _outcome(rate, without, through, busy)


def _expect_recorded(gateway: Gateway, before: int, calls: int) -> int:
    """This generator waits for every answer, so the records are exactly its calls."""
    recorded = gateway.wait_for_records(before + calls)
    if recorded != before + calls:
        raise BenchError(f"{recorded - before} records of {calls} calls")
    return recorded


def _outcome(
    rate: float,
    without: list[Latency],
    through: list[Latency],
    busy: list[tuple[float, float]],
) -> Outcome:
    pairs = list(zip(without, through, strict=True))
    p50_ms = median(t.p50_us - w.p50_us for w, t in pairs) / 1_000
    p99_ms = median(t.p99_us - w.p99_us for w, t in pairs) / 1_000
    gate, load = (median(shares) for shares in zip(*busy, strict=True))
    return Outcome(
        figures={"gate.latency_p50_ms": p50_ms, "gate.latency_p99_ms": p99_ms},
        table=Table(
            f"Latency at half load ({rate:,.0f} calls/s), ms from each call's intended start",
            ("", "p50", "p90", "p99", "p99.9", "worst", "late p50", "late p99"),
            [
                _row("direct, plain", without),
                _row("tidegate", through),
                ("added", f"{p50_ms:.3f}", "", f"{p99_ms:.3f}", "", "", "", ""),
            ],
            note="`late` is how long after its time the generator itself noticed a call. Through Tidegate its "
            f"core was busy for {gate:.0%} of the time, recording included, and the load's for {load:.0%}.",
        ),
        rounds={
            "calls_per_second": rate,
            "direct": [asdict(one) for one in without],
            "tidegate": [asdict(one) for one in through],
            "gate_and_load_busy": busy,
        },
    )


def _row(name: str, rounds: list[Latency]) -> tuple[str, ...]:
    fields = ("p50_us", "p90_us", "p99_us", "p999_us", "max_us", "late_p50_us", "late_p99_us")
    medians = (median(getattr(one, field) for one in rounds) / 1_000 for field in fields)
    return (name, *(f"{value:.3f}" for value in medians))
