"""Prometheus collects from a running gateway: calls, limits, refusals and what the engine does now."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.gate import CREDENTIAL, origin
from support.running import running
from support.servers import wait_until
from support.up import DECLARED

METRICS = ", metrics: {bind: '127.0.0.1:0'}"


@pytest.fixture
def declared() -> str:
    text = DECLARED.replace(
        "clients: {{acme: {{}}}}", "clients: {{acme: {{limit: {{rate: 3/h, concurrency: 9}}}}}}"
    )
    assert text != DECLARED
    return text


def by_label(labels: dict[str, str]) -> tuple[str, ...]:
    return tuple(value for _, value in sorted(labels.items()))


def test_prometheus_collects_calls_limits_and_refusals(tmp_path: Path, declared: str):
    keys = {("echo", "acme"): {"token": CREDENTIAL}}
    with (
        origin() as provider,
        running(tmp_path, declared.format(origin=provider.url, settings=METRICS), keys) as gateway,
    ):
        headers = {"Tidegate-Token": gateway.token("shop")}
        url = f"http://{gateway.addresses['http-metrics']}/metrics"
        with httpx.Client(trust_env=False, timeout=20) as client:
            statuses = [
                client.get(f"{gateway.url}/echo/things/1", headers=headers).status_code
                for _ in range(5)
            ]
            assert statuses == [200, 200, 200, 429, 429]

            def samples() -> dict[tuple[str, tuple[str, ...]], float]:
                answer = client.get(url)
                assert answer.status_code == 200
                assert answer.headers["content-type"].startswith("text/plain; version=")
                return {
                    (sample.name, by_label(sample.labels)): sample.value
                    for family in text_string_to_metric_families(answer.text)
                    for sample in family.samples
                }

            throttled = ("tidegate_calls_total", ("acme", "throttled", "echo"))
            wait_until(lambda: samples().get(throttled) == 2)
            found = samples()
            assert found["tidegate_calls_total", ("acme", "ok", "echo")] == 3
            assert found["tidegate_call_seconds_count", ("echo",)] == 5
            assert found["tidegate_limit_left", ("", "acme", "client")] == 0
            assert found["tidegate_limit_refused_total", ("", "acme", "client")] == 2
            assert found["tidegate_limit_in_flight", ("", "acme", "client")] == 0
            assert found["tidegate_revision", ()] == 1
            assert found["tidegate_events_lost_total", ()] == 0
            # There is nothing else at the address, and no metrics where calls are taken.
            assert client.get(url.removesuffix("metrics")).status_code == 404
            assert client.post(url).status_code == 404
            assert client.get(f"{gateway.url}/metrics").status_code in {401, 404}


def test_without_it_declared_nothing_listens(tmp_path: Path):
    keys = {("echo", "acme"): {"token": CREDENTIAL}}
    with (
        origin() as provider,
        running(tmp_path, DECLARED.format(origin=provider.url, settings=""), keys) as gateway,
    ):
        assert list(gateway.addresses) == ["http-0"]
