"""How many calls a second one core carries: Tidegate beside its peers, the same work for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median

from bench import peers, provider
from bench.gateway import Gateway
from bench.load import CONNECTIONS, Capacity, saturate
from bench.measure import Effort, Outcome, Table, median_ratio
from bench.stage import BenchError, Stage
from bench.target import Target, expect_the_work_done

_TIDEGATE = "tidegate"


def measure(stage: Stage, effort: Effort) -> Outcome:
    origin = provider.start(stage)
    direct = peers.direct(origin)
    others = [start(stage, origin) for start in peers.PEERS.values()]
    gateway = Gateway.prepare(stage, origin)
    tidegate = gateway.target(gateway.start())
    for target in (*others, tidegate):
        expect_the_work_done(target)

    seen: dict[str, list[Capacity]] = {t.name: [] for t in (direct, *others, tidegate)}
    for _ in range(effort.rounds):
        for target in (direct, *others):
            seen[target.name].append(_round(stage, target, effort))
        seen[tidegate.name].append(_recorded_round(stage, tidegate, gateway, effort))
    return _outcome(seen)


def _round(stage: Stage, target: Target, effort: Effort) -> Capacity:
    saturate(target, stage.cores, effort.warmup_seconds)
    return saturate(target, stage.cores, effort.seconds)


def _recorded_round(stage: Stage, target: Target, gateway: Gateway, effort: Effort) -> Capacity:
    """A round after which every call must be on record, before anyone else gets the core."""
    before = gateway.records()
    warmup = saturate(target, stage.cores, effort.warmup_seconds)
    capacity = saturate(target, stage.cores, effort.seconds)
    answered = warmup.calls + capacity.calls
    recorded = gateway.wait_for_records(before + answered) - before
    # wrk leaves without waiting for the calls that are under way; those are on record too.
    if recorded > answered + 2 * CONNECTIONS:
        raise BenchError(f"{recorded} records of {answered} calls")
    return capacity


def _outcome(seen: dict[str, list[Capacity]]) -> Outcome:
    rates = {name: [one.per_second for one in rounds] for name, rounds in seen.items()}
    ratios = {name: median_ratio(rates[_TIDEGATE], rates[name]) for name in seen}
    return Outcome(
        figures={
            f"gate.throughput_vs_{name}": ratios[name]
            for name in ("envoy", "nginx", "haproxy", "mitmproxy")
        },
        table=Table(
            "Throughput on one core",
            ("", "calls/s", "slowest", "fastest", "Tidegate / this", "gateway core", "load core"),
            [_row(name, rounds, ratios[name]) for name, rounds in seen.items()],
            note="`direct` is the load's own core without any gateway: the ceiling.",
        ),
        rounds={name: [asdict(one) for one in rounds] for name, rounds in seen.items()},
    )


def _row(name: str, rounds: Sequence[Capacity], ratio: float) -> tuple[str, ...]:
    rates = [one.per_second for one in rounds]
    return (
        name,
        f"{median(rates):,.0f}",
        f"{min(rates):,.0f}",
        f"{max(rates):,.0f}",
        f"{ratio:.2f}",
        f"{median(one.gate_busy for one in rounds):.0%}",
        f"{median(one.load_busy for one in rounds):.0%}",
    )
