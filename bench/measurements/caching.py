"""What the cache brings and costs: hits beside other caches, what a hit adds, what a lookup takes away.

Each cache does the work of a gateway as well: it names the consumer by its token, allows by method and
path, keeps consumers apart and logs each call; Tidegate records it to its store.
"""

from __future__ import annotations

import asyncio
import http.client
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Final

from bench import peers, provider
from bench.gateway import Gateway
from bench.load import Capacity, Latency, pace, saturate, saturate_counting_failures
from bench.measure import Effort, Outcome, Table, median_ratio
from bench.provider import Provider
from bench.stage import ROOT, BenchError, Stage
from bench.target import Target, expect_the_work_done

_KEPT: Final = "/v1/items/kept"
_CACHE: Final = "cache: {mode: principal}"
_QUOTAS: Final = "quotas: {all: {model: gcra, amount: 1000000, window: 1s, burst: 100000}}"
_LIMIT: Final = "1000000/s"
_PATHS: Final = 20_000
_AT_ONCE: Final = 1_000
_SLOW_S: Final = 4.0
_FAILED_MAX: Final = 0.01
_ISOLATION: Final = "cache::tests::of_a_million_random_calls_none_is_answered_with_what_is_anothers"
_KEYS: Final = "cache::key::tests::moving_a_boundary_makes_another_key"


def measure_hits(stage: Stage, effort: Effort) -> Outcome:
    """Hits on one core, beside those of other caches; and how long a hit takes at half load."""
    origin = provider.start(stage)
    gateway = Gateway.prepare(stage, origin, items=_CACHE)
    tidegate = gateway.target(gateway.start(), f"/items{_KEPT}")
    others = [replace(start(stage, origin), path=_KEPT) for start, _, _ in peers.CACHES.values()]
    targets = (tidegate, *others)
    for target in targets:
        expect_the_work_done(target)
    _expect_a_hit(tidegate, "cache-status", "tidegate; hit")
    for target, (_, header, said) in zip(others, peers.CACHES.values(), strict=True):
        _expect_a_hit(target, header, said)

    seen: dict[str, list[Capacity]] = {target.name: [] for target in targets}
    recorded = gateway.records()
    for _ in range(effort.rounds):
        for target in targets:
            warmup = _hit(target, stage, effort.warmup_seconds)
            seen[target.name].append(_hit(target, stage, effort.seconds))
            if target is tidegate:
                made = warmup.calls + seen[target.name][-1].calls
                recorded = gateway.wait_for_records(recorded + made)
    rate = median(one.per_second for one in seen[tidegate.name]) / 2
    direct = peers.direct_plain(origin)
    pairs: list[tuple[Latency, Latency]] = []
    for seed in range(1, effort.rounds + 1):
        without = pace(direct, stage.cores, rate, effort.seconds, seed=seed)
        pairs.append((without, pace(tidegate, stage.cores, rate, effort.seconds, seed=seed)))
        recorded = gateway.wait_for_records(recorded + pairs[-1][1].calls)
    return _hits(seen, rate, pairs)


def _hit(target: Target, stage: Stage, seconds: float) -> Capacity:
    """As fast as it goes; what was refused on the way to full load does not count as a hit."""
    seen = saturate_counting_failures(target, stage.cores, seconds)
    if seen.failed > _FAILED_MAX * seen.calls:
        raise BenchError(f"{target.name}: {seen.failed} of {seen.calls} calls failed")
    return replace(seen, per_second=seen.per_second * (1 - seen.failed / seen.calls))


def _hits(
    seen: dict[str, list[Capacity]], rate: float, pairs: list[tuple[Latency, Latency]]
) -> Outcome:
    rates = {name: [one.per_second for one in rounds] for name, rounds in seen.items()}
    ratios = {name: median_ratio(rates["tidegate"], rates[name]) for name in rates}
    p50_ms, p99_ms = (
        median(getattr(t, field) - getattr(w, field) for w, t in pairs) / 1_000
        for field in ("p50_us", "p99_us")
    )
    rows = [
        (
            name,
            f"{median(rates[name]):,.0f}",
            f"{ratios[name]:.2f}",
            f"{median(one.gate_busy for one in rounds):.0%}",
        )
        for name, rounds in seen.items()
    ]
    return Outcome(
        figures={
            "traffic.cache_hits_vs_nginx": ratios["nginx"],
            "traffic.cache_hits_vs_varnish": ratios["varnish"],
            "traffic.cache_hit_p99_ms": p99_ms,
        },
        table=Table(
            "Hits on one core",
            ("", "hits/s", "Tidegate / this", "gateway core"),
            rows,
            note=f"At {rate:,.0f} hits/s one takes {p50_ms:.3f} ms (p50) and {p99_ms:.3f} ms (p99) longer "
            "than a call to a provider on loopback without TLS.",
        ),
        rounds={
            **{name: [asdict(one) for one in rounds] for name, rounds in seen.items()},
            "latency": [[asdict(without), asdict(through)] for without, through in pairs],
        },
    )


def measure_lookups(stage: Stage, effort: Effort) -> Outcome:
    """What limits, quotas and lookups that find nothing take of the gate's throughput, together."""
    origin = provider.start(stage)
    plain = Gateway.prepare(stage, origin)
    all_on = Gateway.prepare(stage, origin, items=f"{_CACHE}\n    {_QUOTAS}", limit=_LIMIT)
    gateways = {"plain": plain, "limits and lookups": all_on}
    targets = {name: one.target(one.start()) for name, one in gateways.items()}
    paths = stage.folder / "paths"
    paths.write_text("".join(f"/items/v1/items/{number}\n" for number in range(_PATHS)))
    for target in targets.values():
        expect_the_work_done(target)
    seen: dict[str, list[Capacity]] = {name: [] for name in targets}
    for _ in range(effort.rounds):
        for name, target in targets.items():
            before = gateways[name].records()
            warmup = saturate(target, stage.cores, effort.warmup_seconds, paths=paths)
            seen[name].append(saturate(target, stage.cores, effort.seconds, paths=paths))
            gateways[name].wait_for_records(before + warmup.calls + seen[name][-1].calls)
    rates = {name: [one.per_second for one in rounds] for name, rounds in seen.items()}
    share = median_ratio(rates["limits and lookups"], rates["plain"])
    return Outcome(
        figures={"traffic.lookup_cost": 1 - share},
        table=Table(
            "Limits and lookups that find nothing",
            ("", "calls/s", "of the first"),
            [
                (name, f"{median(one):,.0f}", f"{median_ratio(one, rates['plain']):.3f}")
                for name, one in rates.items()
            ],
        ),
        rounds={name: [asdict(one) for one in rounds] for name, rounds in seen.items()},
    )


def measure_promises(stage: Stage, _effort: Effort) -> Outcome:
    """What holds or does not: apart for each client, no two requests one key, many at once."""
    origin = provider.start(stage)
    with _slow(origin) as slow:
        gateway = Gateway.prepare(stage, origin, bulk=_CACHE, bulk_port=slow.port)
        target = gateway.target(gateway.start())
        slow.says = "Cache-Control: max-age=60"
        _rush(target, "shared", _AT_ONCE)
        asked = slow.calls
        slow.says = "Cache-Control: no-store"
        alone_s = _rush(target, "alone", 1)
        together_s = _rush(target, "own", _AT_ONCE)
    if slow.calls != asked + 1 + _AT_ONCE:
        raise BenchError(f"{slow.calls - asked - 1} of {_AT_ONCE} calls reached the provider")
    figures = {
        "traffic.cache_calls_of_a_rush": float(asked),
        "traffic.cache_unshared_rush": together_s / alone_s,
        "traffic.cache_crossings": float(not _passes(_ISOLATION)),
        "traffic.cache_collisions": float(not _passes(_KEYS)),
    }
    rows = [(name.removeprefix("traffic."), f"{value:.4g}") for name, value in figures.items()]
    return Outcome(figures, Table("The cache's promises", ("", "measured"), rows), rounds=figures)


def _expect_a_hit(target: Target, header: str, said: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    connection.request("GET", target.path, headers=dict(target.headers))
    answer = connection.getresponse()
    answer.read()
    connection.close()
    found = answer.getheader(header)
    if found is None or said not in found:
        raise BenchError(f"{target.name} gave no hit: {answer.headers}")


def _passes(test: str) -> bool:
    """Whether one of the engine's own tests holds; it counts what must not happen at all."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise BenchError("cargo is not installed")
    argv = [
        cargo,
        "test",
        "--profile",
        "tested",
        "--quiet",
        "-p",
        "tidegate-wire",
        "--lib",
        test,
        "--",
        "--exact",
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if "1 passed" not in done.stdout and "1 failed" not in done.stdout:
        raise BenchError(f"`{test}` did not run: {done.stderr[-500:]}")
    return done.returncode == 0


def _rush(target: Target, item: str, calls: int) -> float:
    """Make so many calls, all under way together, each on a connection of its own; the longest (s).

    They come one after the other, faster than the provider answers the first: a gateway may refuse what
    comes faster than it can begin.
    """
    fields = "".join(f"{name}: {value}\r\n" for name, value in target.headers.items())
    request = f"GET /bulk/v1/slow/{item} HTTP/1.1\r\nHost: gateway\r\n{fields}\r\n".encode()

    async def call(number: int) -> tuple[float, bytes]:
        await asyncio.sleep(number / calls * _SLOW_S / 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        writer.close()
        return time.perf_counter() - began, head.partition(b"\r\n")[0]

    async def together() -> float:
        answers = await asyncio.gather(*map(call, range(calls)))
        if wrong := [said for _, said in answers if b" 200" not in said]:
            raise BenchError(f"{len(wrong)} of {calls} calls were refused: {wrong[0]!r}")
        return max(took_s for took_s, _ in answers)

    return asyncio.run(together())


@dataclass
class _Slow:
    """A provider that takes its time over each call, and counts them."""

    port: int = 0
    says: str = ""
    calls: int = 0


@contextmanager
def _slow(origin: Provider) -> Iterator[_Slow]:
    state, ready, end = _Slow(), threading.Event(), asyncio.Event()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(origin.certificate.certificate, origin.certificate.key)
    loop = asyncio.new_event_loop()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                state.calls += 1
                await asyncio.sleep(_SLOW_S)
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{state.says}\r\n\r\n{{}}".encode()
                )
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=context, backlog=4_096)
        state.port = server.sockets[0].getsockname()[1]
        ready.set()
        await end.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait(10)
    try:
        yield state
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
