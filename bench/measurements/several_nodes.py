"""Whether gateways that count together keep to one quota, with their store and when it is lost.

Engines are processes of their own, the provider allows 600 in any minute at a tenth of the time: 600 in any six
seconds. Nothing is compared with a peer: these are promises that hold or do not.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Final

from bench.counting_provider import Counting, counting
from bench.measure import Effort, Outcome, Table
from bench.measurements.quotas import Engine, engine
from bench.stage import BenchError, Stage
from bench.valkey import Valkey, valkey
from tidegate.domain.quota import Quota

_AMOUNT: Final = 600
_WINDOW_S: Final = 6.0
_QUOTA: Final = Quota("q", "log", _AMOUNT, (("*", 1),), window_ms=int(_WINDOW_S * 1_000))
_CALLERS: Final = 2


def measure(stage: Stage, effort: Effort) -> Outcome:
    windows = 1 if effort.rounds == 1 else 3
    over = {count: _overshoot(stage, count, windows) for count in (1, 4, 8)}
    lost_over, lost_used = _lost(stage, 4, windows)
    figures = {
        "traffic.shared_overshoot": max(over.values()),
        "traffic.store_lost_overshoot": lost_over,
        "traffic.store_lost_used": lost_used,
    }
    rows = [
        *((f"beyond the quota, {count} nodes", f"{value}") for count, value in over.items()),
        ("beyond the quota, the store killed", f"{lost_over}"),
        ("of the shares used from then on", f"{lost_used:.3f}"),
    ]
    return Outcome(figures, Table("Several gateways", ("", "measured"), rows), rounds=figures)


def _overshoot(stage: Stage, count: int, windows: int) -> int:
    """How many more than may go in any window, at most; every node is asked for more than all may."""
    with counting() as provider, valkey() as store, _nodes(stage, provider, store, count) as nodes:
        _call_for(nodes, _WINDOW_S * windows + 1)
        if len(provider.times) < 0.8 * _AMOUNT * windows:
            raise BenchError(f"only {provider.calls} calls came through {count} nodes")
        return _most(provider.times) - _AMOUNT


def _lost(stage: Stage, count: int, windows: int) -> tuple[int, float]:
    """The store is killed in the middle of a window: calls beyond the quota, and how much of it goes on."""
    with counting() as provider, valkey() as store, _nodes(stage, provider, store, count) as nodes:
        with ThreadPoolExecutor(1) as pool:
            seconds = _WINDOW_S * (1.5 + windows)
            calling = pool.submit(_call_for, nodes, seconds)
            time.sleep(_WINDOW_S * 1.5)
            store.kill()
            killed = time.monotonic()
            calling.result()
        after = sum(killed < at <= killed + _WINDOW_S * windows for at in provider.times)
        return max(_most(provider.times) - _AMOUNT, 0), after / (_AMOUNT * windows)


def _most(times: list[float]) -> int:
    """The most that came in any window."""
    ordered, first, most = sorted(times), 0, 0
    for last, at in enumerate(ordered):
        while ordered[first] <= at - _WINDOW_S:
            first += 1
        most = max(most, last - first + 1)
    return most


def _call_for(nodes: list[Engine], seconds: float) -> None:
    ready = threading.Barrier(len(nodes) * _CALLERS)

    def one(node: Engine) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
        ready.wait(60)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if node.call(connection=connection) != 200:
                time.sleep(0.01)

    callers = [node for node in nodes for _ in range(_CALLERS)]
    with ThreadPoolExecutor(len(callers)) as pool:
        list(pool.map(one, callers))


@contextmanager
def _nodes(stage: Stage, provider: Counting, store: Valkey, count: int) -> Iterator[list[Engine]]:
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(
                engine(
                    stage,
                    provider,
                    _QUOTA,
                    shared={"nodes": count, "node": f"{number}", "socket": str(store.socket)},
                )
            )
            for number in range(count)
        ]
        until = time.monotonic() + 30
        while not all(node.told()["shared"]["settled"] for node in nodes):
            if time.monotonic() > until:
                raise BenchError("the gateways do not come together at the store")
            time.sleep(0.05)
        yield nodes
