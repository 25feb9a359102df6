"""What it costs to protect fields: beside passing them through, and beside peers extended in Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Final

from bench import peers, provider
from bench.gateway import Gateway
from bench.load import Capacity, Latency, pace, saturate
from bench.measure import Effort, Outcome, Table, median_ratio
from bench.people import POLICY, person
from bench.procfs import forget_peak, peak_bytes, resident_bytes
from bench.stage import BenchError, Running, Stage
from bench.target import Target, call, expect_the_work_done

_PROTECTED: Final = "/items/v1/people/42"
_THROUGH: Final = "/items/v1/items/42"
_LARGE_BYTES: Final = 100 * 1024
_LARGE_PER_SECOND: Final = 50
_HUGE_BYTES: Final = 8 * 1024**2
_JSON: Final = {"Content-Type": "application/json"}


def measure(stage: Stage, effort: Effort) -> Outcome:
    """2 KiB of JSON with three protected fields, on one core."""
    origin = provider.start(stage)
    body = person(stage.folder, provider.PERSON_BYTES)
    others = [
        _posting(replace(start(stage, origin), path="/v1/people/42"), body)
        for start in (peers.start_envoy_protecting, peers.start_mitmproxy_protecting)
    ]
    gateway = Gateway.prepare(stage, origin, protection=POLICY)
    plain_gateway = Gateway.prepare(stage, origin)
    running = gateway.start()
    protected = _posting(gateway.target(running, _PROTECTED), body)
    through = _posting(replace(gateway.target(running, _THROUGH), name="passed through"), body)
    undeclared = replace(gateway.target(running), name="GET beside a policy")
    without = replace(plain_gateway.target(plain_gateway.start()), name="GET without any")
    targets = (protected, through, *others, undeclared, without)
    for target in targets:
        expect_the_work_done(target)

    seen: dict[str, list[Capacity]] = {target.name: [] for target in targets}
    for _ in range(effort.rounds):
        for target in targets:
            recorder = plain_gateway if target is without else gateway
            seen[target.name].append(_round(stage, target, recorder, effort))
    rates = {name: [one.per_second for one in rounds] for name, rounds in seen.items()}

    def ratio(of: Target, to: str) -> float:
        return median_ratio(rates[of.name], rates[to])

    return Outcome(
        figures={
            "protection.throughput_vs_through": ratio(protected, through.name),
            "protection.throughput_vs_envoy": ratio(protected, "envoy"),
            "protection.throughput_vs_mitmproxy": ratio(protected, "mitmproxy"),
            "protection.unprotected_cost": 1 - ratio(undeclared, without.name),
        },
        table=Table(
            "Three protected fields in 2 KiB of JSON, on one core",
            ("", "calls/s", "protected / this"),
            [(n, f"{median(r):,.0f}", f"{ratio(protected, n):.2f}") for n, r in rates.items()],
            note="Envoy calls an external processor in Python, mitmproxy an addon; both do the same to the body.",
        ),
        rounds={name: [asdict(one) for one in rounds] for name, rounds in seen.items()},
    )


def _round(stage: Stage, target: Target, gateway: Gateway, effort: Effort) -> Capacity:
    before = gateway.records()
    warmup = saturate(target, stage.cores, effort.warmup_seconds)
    capacity = saturate(target, stage.cores, effort.seconds)
    if target.path.startswith("/items"):
        gateway.wait_for_records(before + warmup.calls + capacity.calls)
    return capacity


def measure_large(stage: Stage, effort: Effort) -> Outcome:
    """How long 100 KiB take, and what 8 MiB do to the gateway's memory."""
    origin = provider.start(stage)
    gateway = Gateway.prepare(stage, origin, protection=POLICY)
    running = gateway.start()
    target = gateway.target(running, _PROTECTED)
    large = _posting(target, person(stage.folder, _LARGE_BYTES))
    huge = _posting(target, person(stage.folder, _HUGE_BYTES))
    expect_the_work_done(large)
    rounds = [
        pace(large, stage.cores, _LARGE_PER_SECOND, effort.seconds, seed=seed)
        for seed in range(1, effort.rounds + 1)
    ]
    grown = [_grown(running, huge) for _ in range(effort.rounds)]
    p99_ms = median(one.p99_us for one in rounds) / 1_000
    bodies = median(grown) / _HUGE_BYTES
    return Outcome(
        figures={"protection.large_p99_ms": p99_ms, "protection.memory_bodies": bodies},
        table=Table(
            "Large bodies with three protected fields",
            ("", "measured"),
            [
                ("100 KiB, p50", f"{_p50_ms(rounds):.2f} ms"),
                ("100 KiB, p99", f"{p99_ms:.2f} ms"),
                ("8 MiB, memory grew at most", f"{bodies:.2f} bodies"),
            ],
            note="The whole call, from its intended start: both ways, TLS to the provider, and its answer.",
        ),
        rounds={"latency": [asdict(one) for one in rounds], "grown_bytes": grown},
    )


def _p50_ms(rounds: Sequence[Latency]) -> float:
    return median(one.p50_us for one in rounds) / 1_000


def _grown(running: Running, target: Target) -> int:
    before = resident_bytes(running.pid)
    forget_peak(running.pid)
    status, said = call(target)
    if status != 200:
        raise BenchError(f"the body was answered {status}: {said[:300]!r}")
    return peak_bytes(running.pid) - before


def _posting(target: Target, body: Path) -> Target:
    return replace(target, body=body, headers={**target.headers, **_JSON})
