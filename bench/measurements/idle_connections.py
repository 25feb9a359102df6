"""What a connection costs that a consumer keeps open: 10,000 of them, each after one call."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import ExitStack
from typing import Final

from bench import provider
from bench.gateway import Gateway
from bench.load import saturate
from bench.measure import Effort, Outcome, Table
from bench.procfs import resident_bytes
from bench.stage import BenchError, Stage
from bench.target import Target, call

CONNECTIONS: Final = 10_000
_SPARE_FILES: Final = 200
_PER_ADDRESS: Final = 5_000  # well below the ports that one source address has
_SETTLE_S: Final = 2.0
_KIB: Final = 1024


def measure(stage: Stage, effort: Effort) -> Outcome:
    _expect_enough_files()
    gateway = Gateway.prepare(stage, provider.start(stage))
    running = gateway.start()
    target = gateway.target(running)
    recorded = gateway.records()
    warmup = saturate(target, stage.cores, effort.warmup_seconds)
    recorded = gateway.wait_for_records(recorded + warmup.calls)
    before = resident_bytes(running.pid)
    with ExitStack() as held:
        for number in range(CONNECTIONS):
            held.enter_context(_open_and_call(target, f"127.0.0.{2 + number // _PER_ADDRESS}"))
        gateway.wait_for_records(recorded + CONNECTIONS)
        time.sleep(_SETTLE_S)
        grown_kib = (resident_bytes(running.pid) - before) / _KIB
        status, _ = call(target)
    if status != 200:
        raise BenchError(f"with {CONNECTIONS} idle connections a call was answered {status}")
    each_kib = grown_kib / CONNECTIONS
    return Outcome(
        figures={"gate.idle_connection_kib": each_kib},
        table=Table(
            f"{CONNECTIONS:,} idle connections, each after one call",
            ("", ""),
            [("memory grew", f"{grown_kib / _KIB:.1f} MiB"), ("each", f"{each_kib:.2f} KiB")],
            note="The gateway's own memory; the kernel's socket buffers are not in it.",
        ),
        rounds={"grown_kib": grown_kib, "connections": CONNECTIONS},
    )


def _open_and_call(target: Target, source: str) -> socket.socket:
    headers = "".join(f"{name}: {value}\r\n" for name, value in target.headers.items())
    request = f"GET {target.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n"
    connection = socket.create_connection(
        ("127.0.0.1", target.port), timeout=30, source_address=(source, 0)
    )
    connection.sendall(request.encode())
    head = connection.recv(16 * _KIB)
    if not head.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"a call was answered {head[:200]!r}")
    return connection


def _expect_enough_files() -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < CONNECTIONS + _SPARE_FILES:
        raise BenchError(f"{CONNECTIONS:,} connections need `ulimit -Hn` above {files:,}")
