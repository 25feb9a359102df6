"""Calls at a steady rate while the key that they carry is replaced, by a provider that checks every one."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httpx

from bench import inside
from bench.measure import QUICK, Effort, Outcome, Table
from bench.stage import Stage
from tidegate.credentials import Rotator
from tidegate.domain.rotation import RotationState
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig
from tidegate.sandbox import KeyServer

_RATE: Final = 200
_CALLS: Final = 5_000
_THREADS: Final = 8
_DECLARED: Final = """
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  api:
    origin: {origin}
    auth: bearer
    operations: ["GET /things"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
    deadlines: {{connect: 1s, first_byte: 2s}}
    rotation:
      overlap_class: {overlap}
      by: admin
      overlap: 5s
      propagation: 10s
      create: {{call: POST /keys, body: {{name: "{{name}}"}}, id: /id, fields: {{token: /key}}}}
      keys: {{call: GET /keys, items: /keys, id: /id, name: /name, last_used: /last_used}}
      delete: {{call: "DELETE /keys/{{id}}"}}
      test: {{call: GET /things}}
      identify: {{call: GET /self, id: /id}}
grants:
  - {{consumer: app, provider: api, operations: ["*"]}}
"""


def measure(_stage: Stage, effort: Effort) -> Outcome:
    calls = 1_500 if effort is QUICK else _CALLS
    rows: list[tuple[str, ...]] = []
    failed, unused = 0, 0.0
    for overlap in ("A", "B"):
        with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
            lost, after_s = _rotate(Path(folder), overlap, calls)
        failed += lost
        unused = max(unused, after_s)
        rows.append((f"class {overlap}", f"{calls}", f"{lost}", f"{after_s:.2f} s"))
    figures = {
        "credentials.rotation_calls_failed": float(failed),
        "credentials.rotation_old_unused_s": unused,
    }
    columns = ("", "calls", "failed", "old key used last after the flip")
    return Outcome(figures=figures, table=Table("Rotation under load", columns, rows), rounds={})


def _rotate(folder: Path, overlap: str, calls: int) -> tuple[int, float]:
    """Make the calls and one rotation meanwhile; return how many failed, and the old key's last use."""
    with KeyServer(slots=2 if overlap == "B" else None, propagation_s=0.5) as server:
        first = server.make("by hand")
        first.known_from = 0
        (folder / "ca.pem").write_text(server.ca_pem)
        declared = _DECLARED.format(origin=server.origin, ca=folder / "ca.pem", overlap=overlap)
        accounts = [
            ("acme", "default", {"token": first.value}),
            ("acme", "admin", {"token": server.manager}),
        ]
        with inside.running(folder, declared, accounts) as gateway:
            state = gateway.state
            connection = state.store.connections.find("acme", "api", "default")
            config = EngineConfig(spool=folder / "spool", workers=1, record=False)
            with Engine(config, Secret(bytes(32))) as engine:
                rotator = Rotator(state.store, state.vault, engine, holder="bench")
                url = f"{gateway.url}/api/things"
                with ThreadPoolExecutor(_THREADS) as pool:
                    shares = [
                        pool.submit(_call, url, gateway.token, calls // _THREADS, at)
                        for at in range(_THREADS)
                    ]
                    time.sleep(2)
                    assert connection is not None
                    row = rotator.start(gateway.declaration, connection, author="bench")
                    failed = sum(share.result() for share in shares)
            ended = state.store.rotations.get(row.id)
        if ended is None or ended.state is not RotationState.DONE or ended.promoted_at is None:
            raise RuntimeError(f"the rotation did not end: {ended}")
        return failed, max(0.0, (first.last_used or 0) - ended.promoted_at.timestamp())


def _call(url: str, token: str, calls: int, place: int) -> int:
    """Call at a fixed rate, whatever the answers take; return how many were not 200."""
    failed = 0
    headers = {"Tidegate-Token": token, "Tidegate-Connection": "default"}
    began = time.monotonic() + place / _RATE
    with httpx.Client(headers=headers, trust_env=False, timeout=20) as client:
        for number in range(calls):
            time.sleep(max(0.0, began + number * _THREADS / _RATE - time.monotonic()))
            failed += client.get(url).status_code != 200
    return failed
