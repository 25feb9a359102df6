"""The measurements, by name. Each starts what it needs on a stage of its own."""

from __future__ import annotations

from typing import Final

from bench.measure import Measure
from bench.measurements import (
    bulk,
    cache_conformance,
    caching,
    credentials,
    dialects,
    faults,
    idle_connections,
    kills,
    latency,
    operations,
    overload,
    presets,
    quotas,
    recording,
    refresh_race,
    refresh_waits,
    root_key,
    rotation,
    several_nodes,
    snapshots,
    startup,
    tampering,
    throughput,
)

MEASUREMENTS: Final[dict[str, Measure]] = {
    "startup": startup.measure,
    "throughput": throughput.measure,
    "latency": latency.measure,
    "recording": recording.measure,
    "credentials": credentials.measure,
    "echo": credentials.measure_echo,
    "rotation": rotation.measure,
    "root_key": root_key.measure,
    "refresh_race_sqlite": refresh_race.measure_sqlite,
    "refresh_race_postgresql": refresh_race.measure_postgresql,
    "refresh_waits": refresh_waits.measure,
    "kills": kills.measure,
    "tampering": tampering.measure,
    "faults": faults.measure,
    "overload": overload.measure,
    "operations": operations.measure,
    "presets": presets.measure,
    "quotas": quotas.measure,
    "several_nodes": several_nodes.measure,
    "snapshots": snapshots.measure,
    "dialects": dialects.measure,
    "bulk": bulk.measure,
    "cache_conformance": cache_conformance.measure,
    "cache_hits": caching.measure_hits,
    "cache_lookups": caching.measure_lookups,
    "cache_promises": caching.measure_promises,
    "idle_connections": idle_connections.measure,
}
