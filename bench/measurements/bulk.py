"""What 1 GiB each way does to the gateway's memory."""

from __future__ import annotations

import http.client
import sys
import time
from collections.abc import Iterator
from typing import Final

from bench import provider
from bench.bulk_provider import BULK_BYTES, PIECE_BYTES
from bench.gateway import Gateway
from bench.load import saturate
from bench.measure import Effort, Outcome, Table
from bench.procfs import forget_peak, peak_bytes, resident_bytes
from bench.stage import ROOT, BenchError, Stage, wait_until_open
from bench.target import Target

_MIB: Final = 1024**2


def measure(stage: Stage, effort: Effort) -> Outcome:
    origin = provider.start(stage)
    port = stage.free_port()
    files = origin.certificate
    argv = [sys.executable, "-m", "bench.bulk_provider", str(port)]
    argv += [str(files.certificate), str(files.key)]
    bulk = stage.start("bulk", argv, core=stage.cores.load, env={"PYTHONPATH": str(ROOT)})
    wait_until_open(bulk, port)
    gateway = Gateway.prepare(stage, origin, bulk_port=port)
    running = gateway.start()
    # Small calls first, so that what every gateway needs once is not charged to the large ones.
    small = gateway.target(running)
    gateway.wait_for_records(saturate(small, stage.cores, effort.warmup_seconds).calls)

    target = gateway.target(running, "/bulk/v1/bulk")
    grown: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for name, carry in (("down", _download), ("up", _upload)):
        before = resident_bytes(running.pid)
        forget_peak(running.pid)
        began = time.monotonic()
        carry(target)
        seconds[name] = time.monotonic() - began
        grown[name] = (peak_bytes(running.pid) - before) / _MIB
    return Outcome(
        figures={"gate.memory_1gib_mib": max(grown.values())},
        table=Table(
            "1 GiB through one call",
            ("", "memory grew at most", "took"),
            [(n, f"{grown[n]:.1f} MiB", f"{seconds[n]:.1f} s") for n in grown],
            note="The time is that of the load's core, which does TLS and Python; read the memory.",
        ),
        rounds={"grown_mib": grown, "seconds": seconds},
    )


def _download(target: Target) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
    connection.request("GET", target.path, headers=dict(target.headers))
    answer = connection.getresponse()
    piece = bytearray(PIECE_BYTES)
    taken = 0
    while count := answer.readinto(piece):
        taken += count
    connection.close()
    if (answer.status, taken) != (200, BULK_BYTES):
        raise BenchError(f"the download gave {taken} bytes with status {answer.status}")


def _upload(target: Target) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
    headers = {**target.headers, "Content-Length": str(BULK_BYTES)}
    connection.request("PUT", target.path, body=_pieces(), headers=headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if (answer.status, said) != (200, str(BULK_BYTES).encode()):
        raise BenchError(f"the upload was answered {answer.status}: {said[:300]!r}")


def _pieces() -> Iterator[bytes]:
    piece = bytes(PIECE_BYTES)
    for _ in range(BULK_BYTES // PIECE_BYTES):
        yield piece
