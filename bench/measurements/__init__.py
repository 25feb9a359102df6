"""The measurements, by name. Each starts what it needs on a stage of its own."""

from __future__ import annotations

from typing import Final

from bench.measure import Measure
from bench.measurements import (
    bulk,
    credentials,
    idle_connections,
    latency,
    operations,
    recording,
    root_key,
    rotation,
    snapshots,
    startup,
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
    "operations": operations.measure,
    "snapshots": snapshots.measure,
    "bulk": bulk.measure,
    "idle_connections": idle_connections.measure,
}
