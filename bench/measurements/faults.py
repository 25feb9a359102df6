"""What a provider that fails costs: calls that are sent again, and calls that are sent twice."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx

from bench import inside
from bench.measure import QUICK, Effort, Outcome, Table
from bench.stage import Stage
from tidegate.sandbox import BreakingServer

_RATE: Final = 100
_THREADS: Final = 4
_DECLARED: Final = """
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  api:
    origin: {origin}
    auth: bearer
    operations: ["GET /things", "POST /things"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
    retry: {{backoff: 10ms}}
grants:
  - {{consumer: app, provider: api, operations: ["*"]}}
"""


def measure(_stage: Stage, effort: Effort) -> Outcome:
    quick = effort is QUICK
    reached, calls = _amplification(500 if quick else 3_000)
    twice, posts, faults = _unkeyed(300 if quick else 10_000)
    figures = {
        "traffic.retry_amplification": reached / calls,
        "traffic.unkeyed_post_duplicates": float(twice),
    }
    rows = [
        ("the provider is down", f"{calls:,}", f"{reached:,}", f"{reached / calls:.3f} ×"),
        (f"POST without a key, {faults} kinds of faults", f"{posts:,}", "", f"{twice} twice"),
    ]
    columns = ("", "calls", "reached the provider", "")
    return Outcome(figures=figures, table=Table("Faults", columns, rows), rounds={})


def _amplification(calls: int) -> tuple[int, int]:
    """GET calls at a steady rate, every one answered 503; how many requests come of them."""
    with BreakingServer(seed=1, faults=("503",)) as provider:
        _run(provider, "GET", calls, rate=_RATE)
        return sum(provider.arrived.values()), calls


def _unkeyed(calls: int) -> tuple[int, int, int]:
    """POST calls as fast as they go, any fault at any of them; how many arrive more than once."""
    with BreakingServer(seed=1) as provider:
        _run(provider, "POST", calls, rate=None)
        twice = sum(count > 1 for count in provider.arrived.values())
        return twice, calls, len(provider.faults)


def _run(provider: BreakingServer, method: str, calls: int, *, rate: int | None) -> None:
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as name:
        folder = Path(name)
        (folder / "ca.pem").write_bytes(provider.authority.pem)
        declared = _DECLARED.format(origin=provider.origin, ca=folder / "ca.pem")
        with (
            inside.running(folder, declared, [("acme", "default", {"token": "key"})]) as gateway,
            httpx.Client(trust_env=False, timeout=30) as client,
            ThreadPoolExecutor(_THREADS) as pool,
        ):
            began = time.monotonic()

            def call(number: int) -> None:
                if rate is not None:
                    time.sleep(max(0.0, began + number / rate - time.monotonic()))
                headers = {"Tidegate-Token": gateway.token, "X-Call": str(number)}
                # An answer may break off after its head has passed.
                with suppress(httpx.TransportError):
                    client.request(method, f"{gateway.url}/api/things", headers=headers)

            for done in [pool.submit(call, number) for number in range(calls)]:
                done.result()
