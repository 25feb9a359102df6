"""Let Prometheus collect what the gateway counts: `GET /metrics`, on an address of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final

import uvicorn
from prometheus_client import (
    CollectorRegistry,
    make_asgi_app,  # pyright: ignore[reportUnknownVariableType]
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tidegate.engine import CacheShare, Engine
from tidegate.events.metrics import CallMetrics

_START_TIMEOUT_S: Final = 15
_AT_ONCE_MAX: Final = 8
_FOUND: Final = "/metrics"


class MetricsListener:
    """The address, from `start` to `stop`."""

    def __init__(self, bind: str, engine: Engine) -> None:
        """Listen at once.

        Raises:
            OSError: the address cannot be listened on.
        """
        self.calls = CallMetrics()
        """What calls are counted by."""
        registry = CollectorRegistry()
        registry.register(self.calls)
        registry.register(_EngineMetrics(engine))
        host, _, port = bind.rpartition(":")
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        self._listener = socket.create_server((host.strip("[]"), int(port)), family=family)
        self._server = _Server(make_asgi_app(registry))
        self._thread = threading.Thread(target=self._run, name="tidegate-metrics", daemon=True)

    @property
    def address(self) -> dict[str, str]:
        """Where it listens, by the listener's name."""
        host, port = self._listener.getsockname()[:2]
        return {"http-metrics": f"[{host}]:{port}" if ":" in host else f"{host}:{port}"}

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()
        if not self._server.ready.wait(_START_TIMEOUT_S):
            raise RuntimeError(f"the metrics were not ready within {_START_TIMEOUT_S} s")

    def stop(self) -> None:
        """Answer what is under way, and no more."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))


class _EngineMetrics(Collector):
    """What the engine knows at the moment that it is asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        stats = self._engine.stats()
        for name, what, value in (
            ("tidegate_in_flight", "Calls under way.", stats.in_flight),
            ("tidegate_connections", "Consumers' connections.", stats.connections),
            (
                "tidegate_spool_bytes",
                "Records that the store does not have yet.",
                stats.spool_bytes,
            ),
            ("tidegate_revision", "The revision in force.", stats.revision),
        ):
            yield GaugeMetricFamily(name, what, value=value)
        lost = "Records that could not be kept."
        yield CounterMetricFamily("tidegate_events_lost", lost, value=stats.events_lost)
        if (shared := self._engine.shared()) is not None:
            what = "Whether the store that gateways share is reached."
            reached = float(shared.state == "connected")
            yield GaugeMetricFamily("tidegate_shared_connected", what, value=reached)
            what = "Gateways that the store knows of."
            yield GaugeMetricFamily("tidegate_shared_nodes", what, value=shared.present)
            what = "How often the store was lost."
            yield CounterMetricFamily("tidegate_shared_losses", what, value=shared.losses)
        found = self._engine.limits()
        yield from _limits(found["consumer_side"])
        yield from _quotas(found["quotas"])
        stored = self._engine.cache_stats()
        yield from _stored(stored.clients)
        if stored.shared is not None:
            what = "Answers that another gateway had fetched."
            yield CounterMetricFamily("tidegate_shared_cache_hits", what, value=stored.shared.hits)
            what = "What stood at the shared store and did not open."
            refused = stored.shared.refused
            yield CounterMetricFamily("tidegate_shared_cache_refused", what, value=refused)


def _limits(buckets: list[dict[str, Any]]) -> Iterator[Metric]:
    labels = ["scope", "name", "client"]
    left = GaugeMetricFamily("tidegate_limit_left", "Calls that a limit has left.", labels=labels)
    under_way = "Calls under way that a limit counts."
    in_flight = GaugeMetricFamily("tidegate_limit_in_flight", under_way, labels=labels)
    refusals = "Calls that a limit refused."
    refused = CounterMetricFamily("tidegate_limit_refused", refusals, labels=labels)
    for bucket in buckets:
        values = [bucket["scope"], bucket["name"], bucket["client"] or ""]
        if bucket["left"] is not None:
            left.add_metric(values, bucket["left"])
        if bucket["concurrency"] is not None:
            in_flight.add_metric(values, bucket["in_flight"])
        refused.add_metric(values, bucket["refused"])
    yield from (left, in_flight, refused)


def _stored(shares: Iterable[CacheShare]) -> Iterator[Metric]:
    answers = GaugeMetricFamily(
        "tidegate_cache_answers", "Answers that are stored.", labels=["client"]
    )
    held = GaugeMetricFamily(
        "tidegate_cache_bytes", "What stored answers take of memory.", labels=["client"]
    )
    for share in shares:
        answers.add_metric([share.client or ""], share.answers)
        held.add_metric([share.client or ""], share.bytes)
    yield from (answers, held)


def _quotas(counts: list[dict[str, Any]]) -> Iterator[Metric]:
    """By provider and quota alone: there may be a count for each of thousands of connections."""
    labels = ["provider", "quota"]
    gauges = {
        name: GaugeMetricFamily(f"tidegate_quota_{name}", what, labels=labels)
        for name, what in (
            ("counts", "Counts of a quota: connections, or operations of them, that drew on it."),
            ("exhausted", "Counts of which nothing is left."),
            ("closed", "Counts that the provider has closed by a refusal."),
            ("used_share_max", "The share that is used of the count that is used the most."),
            ("in_flight", "Calls under way that drew on it."),
            ("waiting", "Calls that wait for it."),
        )
    }
    by_quota: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in counts:
        by_quota.setdefault((one["provider"], one["quota"]), []).append(one)
    for name, each in sorted(by_quota.items()):
        values = {
            "counts": len(each),
            "exhausted": sum(one["left"] == 0 for one in each),
            "closed": sum(one["closed_ms"] is not None for one in each),
            "used_share_max": max(one["used"] / max(one["limit"], 1) for one in each),
            "in_flight": sum(one["in_flight"] for one in each),
            "waiting": sum(one["waiting"] for one in each),
        }
        for gauge, value in values.items():
            gauges[gauge].add_metric(name, value)
    yield from gauges.values()


class _Server(uvicorn.Server):
    def __init__(self, metrics: Any) -> None:
        config = uvicorn.Config(
            _only_metrics(metrics),
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_AT_ONCE_MAX,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=2,
        )
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def _only_metrics(metrics: Any) -> Any:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == _FOUND and scope["method"] == "GET":
            await metrics(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"metrics are at /metrics\n"})

    return answer
