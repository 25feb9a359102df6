"""Calls at a steady rate with tokens that live less than a minute: how many must wait for the next one."""

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
from bench.trials.scene import ISSUES_TOKENS, declared
from tidegate.sandbox import TokenServer

_TOKEN_S: Final = 40
_ENDPOINT_S: Final = 0.3
_ACCOUNTS: Final = 20
_RATE: Final = 200
_CALLS: Final = 24_000
_THREADS: Final = 8


def measure(_stage: Stage, effort: Effort) -> Outcome:
    calls = 8_000 if effort is QUICK else _CALLS
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        failed, refused, issued = _call_all(Path(folder), calls)
    return Outcome(
        figures={"credentials.waits_on_refresh": (failed + refused) / calls},
        table=Table(
            f"Tokens of {_TOKEN_S} s under load",
            ("calls", "accounts", "tokens issued", "failed", "waited"),
            [(f"{calls}", f"{_ACCOUNTS}", f"{issued}", f"{failed}", f"{refused}")],
            note=f"The token endpoint takes {_ENDPOINT_S} s. A call waits when the provider did not "
            "take its token.",
        ),
    )


def _call_all(folder: Path, calls: int) -> tuple[int, int, int]:
    """Return how many calls failed, how many found their token refused, and how many were issued."""
    with TokenServer(lifetime_s=_TOKEN_S, reuse_s=30, takes_s=_ENDPOINT_S) as server:
        names = [f"a{number}" for number in range(_ACCOUNTS)]
        text = declared(folder, server, ISSUES_TOKENS)
        entered = {"client_id": "us", "client_secret": "s3cret-of-us"}
        accounts = [("acme", name, entered | {"refresh_token": server.consent()}) for name in names]
        with (
            inside.running(folder, text, accounts) as gateway,
            ThreadPoolExecutor(_THREADS) as pool,
        ):
            _wait_until_served(gateway, names)
            refused = server.refused
            shares = [
                pool.submit(_call, gateway, names[place::_THREADS], calls // _THREADS, place)
                for place in range(_THREADS)
            ]
            failed = sum(share.result() for share in shares)
        return failed, server.refused - refused, server.asked


def _wait_until_served(gateway: inside.Inside, names: list[str]) -> None:
    ends = time.monotonic() + 60
    with _client(gateway) as client:
        while any(_get(client, name) != 200 for name in names):
            if time.monotonic() > ends:
                raise RuntimeError("the accounts have no tokens")
            time.sleep(0.1)


def _call(gateway: inside.Inside, names: list[str], calls: int, place: int) -> int:
    """Call at a fixed rate, whatever the answers take; return how many were not 200."""
    failed = 0
    began = time.monotonic() + place / _RATE
    with _client(gateway) as client:
        for number in range(calls):
            time.sleep(max(0.0, began + number * _THREADS / _RATE - time.monotonic()))
            failed += _get(client, names[number % len(names)]) != 200
    return failed


def _get(client: httpx.Client, name: str) -> int:
    return client.get("/api/things", headers={"Tidegate-Connection": name}).status_code


def _client(gateway: inside.Inside) -> httpx.Client:
    headers = {"Tidegate-Token": gateway.token}
    return httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=20)
