"""Count calls as their events pass, in the form that Prometheus collects.

Labels are names that are declared, outcomes and steps: never text that a call brought, so that nobody
who calls can make series. Counting is cheap, since it happens to each call: what Prometheus wants is
put together when it asks.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from tidegate.domain.call import CallRecord

_BOUNDS_US: Final = (
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
)  # fmt: skip
_BUCKETS: Final = (*(str(bound / 1e6) for bound in _BOUNDS_US), "+Inf")
_NOBODY: Final = ""


class CallMetrics(Collector):
    """What the calls of this process came to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = defaultdict[tuple[str, ...], int](int)
        self._sent = defaultdict[tuple[str, ...], int](int)
        self._received = defaultdict[tuple[str, ...], int](int)
        self._retries = defaultdict[tuple[str, ...], int](int)
        self._cached = defaultdict[tuple[str, ...], int](int)
        self._total = defaultdict[str, _Times](_Times)
        self._provider = defaultdict[str, _Times](_Times)
        self._own = defaultdict[str, _Times](_Times)
        self._steps = defaultdict[str, _Times](_Times)
        self._waits = defaultdict[str, _Times](_Times)
        self._by_quota = defaultdict[tuple[str, ...], int](int)

    def observe(self, records: Iterable[CallRecord]) -> None:
        """Count some calls."""
        with self._lock:
            for record in records:
                self._observe(record)

    def _observe(self, record: CallRecord) -> None:
        client, provider = record.client or _NOBODY, record.provider or _NOBODY
        self._calls[client, provider, record.outcome] += 1
        if not provider:
            return
        self._sent[client, provider] += record.sent_bytes
        self._received[client, provider] += record.received_bytes
        if record.retries:
            self._retries[provider,] += record.retries
        if record.cache:
            self._cached[client, provider, record.cache] += 1
        if record.quota is not None:
            self._by_quota[provider, record.quota] += 1
            if record.wait_ms:
                self._waits[provider].add(record.wait_ms * 1_000)
        theirs = record.provider_us or 0
        self._total[provider].add(record.total_us)
        self._own[provider].add(max(record.total_us - theirs, 0))
        if record.provider_us is not None:
            self._provider[provider].add(theirs)
        for step, time_us in record.steps_us.items():
            self._steps[step].add(time_us)

    def collect(self) -> Iterator[Metric]:
        """Put together what Prometheus asks for."""
        with self._lock:
            yield from list(self._families())

    def _families(self) -> Iterator[Metric]:
        calls = ("client", "provider", "outcome")
        yield _counter("tidegate_calls", "Calls, by how they ended.", calls, self._calls)
        both = ("client", "provider")
        yield _counter("tidegate_sent_bytes", "Request bodies sent to providers.", both, self._sent)
        yield _counter(
            "tidegate_received_bytes", "Bodies received from providers.", both, self._received
        )
        yield _counter(
            "tidegate_retries", "Tries beyond each call's first.", ("provider",), self._retries
        )
        yield _counter(
            "tidegate_cached_calls",
            "Calls of operations whose answers are cached, by what the cache did.",
            ("client", "provider", "verdict"),
            self._cached,
        )
        came = "Calls that drew on quotas, by how they came by them."
        yield _counter("tidegate_quota_calls", came, ("provider", "verdict"), self._by_quota)
        for name, what, times in (
            (
                "tidegate_quota_wait_seconds",
                "What calls that waited for quotas waited.",
                self._waits,
            ),
            ("tidegate_call_seconds", "From a call's head to its answer's last byte.", self._total),
            ("tidegate_provider_seconds", "Until the provider began to answer.", self._provider),
            ("tidegate_own_seconds", "What of a call's time was not the provider's.", self._own),
        ):
            yield _histogram(name, what, times)
        steps = SummaryMetricFamily(
            "tidegate_step_seconds", "Time spent in each step of a call.", labels=["step"]
        )
        for step, times in sorted(self._steps.items()):
            steps.add_metric([step], times.count, times.sum_us / 1e6)
        yield steps


class _Times:
    """A histogram's numbers."""

    __slots__ = ("buckets", "count", "sum_us")

    def __init__(self) -> None:
        self.buckets = [0] * len(_BUCKETS)
        self.count = 0
        self.sum_us = 0

    def add(self, time_us: int) -> None:
        self.buckets[bisect_left(_BOUNDS_US, time_us)] += 1
        self.count += 1
        self.sum_us += time_us

    def cumulative(self) -> Iterator[tuple[str, float]]:
        total = 0
        for bound, count in zip(_BUCKETS, self.buckets, strict=True):
            total += count
            yield bound, total


def _counter(
    name: str, what: str, labels: tuple[str, ...], counts: dict[tuple[str, ...], int]
) -> Metric:
    family = CounterMetricFamily(name, what, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric(values, count)
    return family


def _histogram(name: str, what: str, times: dict[str, _Times]) -> Metric:
    family = HistogramMetricFamily(name, what, labels=["provider"])
    for provider, one in sorted(times.items()):
        family.add_metric([provider], list(one.cumulative()), one.sum_us / 1e6)
    return family
