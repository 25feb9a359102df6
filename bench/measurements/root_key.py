"""The root key is replaced above a thousand clients while calls go on."""

from __future__ import annotations

import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httpx

from bench import inside
from bench.measure import QUICK, Effort, Outcome, Table
from bench.stage import Stage
from tidegate.app.vaulting import rotate_root
from tidegate.sandbox import KeyServer

_CLIENTS: Final = 1_000
_RATE: Final = 200
_THREADS: Final = 4
_DECLARED: Final = """
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{{clients}}}
consumers: {{app: {{clients: all}}}}
providers:
  api:
    origin: {origin}
    auth: bearer
    operations: ["GET /things"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
grants:
  - {{consumer: app, provider: api, operations: ["*"]}}
"""


def measure(_stage: Stage, effort: Effort) -> Outcome:
    clients = 50 if effort is QUICK else _CLIENTS
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        took_s, calls, failed = _rotate(Path(folder), clients)
    return Outcome(
        figures={
            "credentials.root_rotation_s": took_s,
            "credentials.root_rotation_calls_failed": float(failed),
        },
        table=Table(
            "The root key is replaced",
            ("clients", "took", "calls meanwhile", "failed"),
            [(f"{clients}", f"{took_s:.2f} s", f"{calls}", f"{failed}")],
        ),
        rounds={},
    )


def _rotate(folder: Path, clients: int) -> tuple[float, int, int]:
    """Return how long it took, and how many calls were made meanwhile and failed."""
    names = [f"c{number}" for number in range(clients)]
    with KeyServer() as server:
        key = server.make("by hand")
        key.known_from = 0
        (folder / "ca.pem").write_text(server.ca_pem)
        listed = ", ".join(f"{name}: {{}}" for name in names)
        declared = _DECLARED.format(origin=server.origin, ca=folder / "ca.pem", clients=listed)
        accounts = [(name, "default", {"token": key.value}) for name in names]
        over = threading.Event()
        with (
            inside.running(folder, declared, accounts) as gateway,
            ThreadPoolExecutor(_THREADS) as pool,
        ):
            shares = [
                pool.submit(_call, gateway.url, gateway.token, names[at::_THREADS], over)
                for at in range(_THREADS)
            ]
            time.sleep(2)
            began = time.monotonic()
            rotate_root(gateway.state, None)
            took_s = time.monotonic() - began
            # Also what the gateway opens afterwards, under the key that is new to it.
            time.sleep(2)
            over.set()
            made = [share.result() for share in shares]
    return took_s, sum(calls for calls, _ in made), sum(failed for _, failed in made)


def _call(url: str, token: str, names: list[str], over: threading.Event) -> tuple[int, int]:
    """Call for one client after another at a steady rate; return calls, and those that were not 200."""
    failed = calls = 0
    began = time.monotonic()
    with httpx.Client(
        headers={"Tidegate-Token": token}, trust_env=False, base_url=url, timeout=20
    ) as client:
        while not over.is_set():
            time.sleep(max(0.0, began + calls * _THREADS / _RATE - time.monotonic()))
            answer = client.get(f"/~{names[calls % len(names)]}/api/things")
            calls += 1
            failed += answer.status_code != 200
    return calls, failed
