"""Nobody gets more of a provider's quota than is his, or learns what others use of it."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from support.gate import gate, origin, provider_at
from support.strict import strict
from support.up import install

from tidegate.domain.declaration import Client, Consumer
from tidegate.domain.quota import Quota, QuotaQueue

ALL = (("*", 1),)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "10.9.8.7"},
        {"Tidegate-Class": "interactive"},
        {"Tidegate-Connection": "default"},
        {"X-Request-Id": "another"},
    ],
)
@pytest.mark.parametrize("path", ["/there/x", "/there/x?again=1", "/THERE/x", "//there/x"])
def test_another_way_of_asking_gives_no_second_share(
    tmp_path: Path, headers: dict[str, str], path: str
):
    quota = Quota("q", "log", 1, ALL, window_ms=3_600_000)
    with strict() as provider, gate(tmp_path, provider.url) as gateway:
        declared = provider_at(
            provider.url, "there", allow_private=("127.0.0.0/8",), quotas=(quota,)
        )
        gateway.declare(declared)
        assert gateway.call("/there/x").status_code == 200
        sent = {"Tidegate-Token": gateway.token, **headers}
        answer = httpx.get(gateway.url + path, headers=sent, trust_env=False)
        assert answer.status_code in {400, 404, 429}
    assert provider.calls == 1


def test_a_thousand_calls_that_are_broken_off_hold_nothing(tmp_path: Path):
    quota = Quota("q", "concurrency", 2, ALL, queue=QuotaQueue(30_000, 2_000))
    with strict() as provider, gate(tmp_path, provider.url, workers=2) as gateway:
        gateway.declare(
            provider_at(provider.url, "there", allow_private=("127.0.0.0/8",), quotas=(quota,))
        )
        provider.hold_s = 0.02
        head = f"GET /there/x HTTP/1.1\r\nHost: x\r\nTidegate-Token: {gateway.token}\r\n\r\n"

        def break_off(_: int) -> None:
            for number in range(50):
                with socket.create_connection(("127.0.0.1", gateway.port)) as leaving:
                    leaving.sendall(head.encode())
                    time.sleep(0.001 * (number % 5))

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(break_off, range(20)))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            (live,) = gateway.engine.limits()["quotas"]
            if live["in_flight"] == 0 and not any(live["queued"].values()):
                break
            time.sleep(0.05)
        assert (live["in_flight"], live["left"], set(live["queued"].values())) == (0, 2, {0})
        assert gateway.call("/there/x").status_code in {200, 503}


def test_a_room_that_is_full_takes_no_more(tmp_path: Path):
    quota = Quota("q", "concurrency", 1, ALL, queue=QuotaQueue(3_000, 5))
    with strict() as provider, gate(tmp_path, provider.url) as gateway:
        gateway.declare(
            provider_at(provider.url, "there", allow_private=("127.0.0.0/8",), quotas=(quota,))
        )
        provider.hold_s = 4
        with ThreadPoolExecutor(20) as pool:
            calls = [pool.submit(gateway.call, "/there/x") for _ in range(20)]
            codes = [call.result().json().get("code") for call in calls]
    # One is at the provider, five wait in vain, and for most of the others there is no room.
    assert codes.count("quota_exceeded") >= 5


def test_a_client_that_fills_the_room_makes_some_for_the_others(tmp_path: Path):
    quota = Quota("q", "concurrency", 1, ALL, scope="provider", queue=QuotaQueue(20_000, 6))
    with strict() as provider, gate(tmp_path, provider.url) as gateway:
        gateway.declaration = replace(
            gateway.declaration,
            clients=(Client("acme"), Client("globex")),
            consumers=(Consumer("shop", ("acme", "globex")),),
        )
        gateway.declare(
            provider_at(provider.url, "there", allow_private=("127.0.0.0/8",), quotas=(quota,))
        )
        provider.hold_s = 0.5

        def call(client: str) -> str:
            sent = {"Tidegate-Token": gateway.token, "Tidegate-Client": client}
            url = f"{gateway.url}/there/x"
            answer = httpx.get(url, headers=sent, trust_env=False, timeout=30)
            assert "q" not in answer.headers.get("RateLimit", "")
            return answer.json().get("code", "ok")

        with ThreadPoolExecutor(24) as pool:
            busy = [pool.submit(call, "acme") for _ in range(20)]
            deadline = time.monotonic() + 10
            while sum(f.done() for f in busy) < 12 and time.monotonic() < deadline:
                time.sleep(0.02)
            modest = [pool.submit(call, "globex") for _ in range(2)]
            assert [future.result() for future in modest] == ["ok", "ok"]
            codes = [future.result() for future in busy]
    assert codes.count("quota_exceeded") >= 12


def test_killing_the_gateway_gives_nothing_of_a_days_quota_back(tmp_path: Path):
    amount = 60
    with origin() as provider:
        installed = install(tmp_path, provider.url)
        quotas = f"quotas: {{daily: {{model: calendar, amount: {amount}}}}}\n    operations:"
        text = installed.file.read_text()
        installed.file.write_text(text.replace("operations:", quotas, 1))
        for answers in (1, 7, 13):
            with installed.up() as gateway, ThreadPoolExecutor(4) as pool:
                assert gateway.url
                waiting = [pool.submit(gateway.get) for _ in range(answers + 8)]
                for future in waiting[:answers]:
                    future.result()
                gateway.kill()
                for future in waiting:
                    future.exception()
            lines = (installed.place.spool / "debits").read_text().splitlines()
            assert max(json.loads(line)["used"] for line in lines) >= len(provider.seen)
        with installed.up() as gateway:
            statuses = [gateway.get().status_code for _ in range(amount + 1)]
            assert gateway.stop() == 0
    assert statuses[-1] == 429
    assert len(provider.seen) <= amount
