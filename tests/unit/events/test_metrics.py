"""Calls are counted in the form that Prometheus collects, under declared names alone."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.samples import call

from tidegate.events.metrics import CallMetrics


def collected(metrics: CallMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    registry = CollectorRegistry()
    registry.register(metrics)
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_calls_are_counted_by_client_provider_and_outcome():
    metrics = CallMetrics()
    metrics.observe([call(1), call(2), call(3, outcome="throttled", status=429)])
    metrics.observe([call(4, client="globex", retries=2)])
    found = collected(metrics)

    def calls(client: str, outcome: str) -> float:
        labels = (("client", client), ("outcome", outcome), ("provider", "pay"))
        return found["tidegate_calls_total", labels]

    assert (calls("acme", "ok"), calls("acme", "throttled"), calls("globex", "ok")) == (2, 1, 1)
    acme = (("client", "acme"), ("provider", "pay"))
    assert found["tidegate_sent_bytes_total", acme] == 300
    assert found["tidegate_received_bytes_total", acme] == 1_800
    assert found["tidegate_retries_total", (("provider", "pay"),)] == 2


def test_times_are_histograms_and_steps_sums():
    metrics = CallMetrics()
    metrics.observe([call(1, total_us=10_000, provider_us=9_000)])
    metrics.observe([call(2, total_us=99_000_000, provider_us=None, steps_us={"decide": 7})])
    found = collected(metrics)

    def bucket(name: str, bound: str) -> float:
        return found[f"{name}_bucket", (("le", bound), ("provider", "pay"))]

    assert bucket("tidegate_call_seconds", "0.005") == 0
    # A bound is part of its bucket.
    assert bucket("tidegate_call_seconds", "0.01") == 1
    assert bucket("tidegate_call_seconds", "60.0") == 1
    assert bucket("tidegate_call_seconds", "+Inf") == 2
    assert found["tidegate_call_seconds_sum", (("provider", "pay"),)] == 99.01
    assert found["tidegate_provider_seconds_count", (("provider", "pay"),)] == 1
    assert bucket("tidegate_own_seconds", "0.001") == 1
    assert found["tidegate_step_seconds_count", (("step", "decide"),)] == 2
    assert found["tidegate_step_seconds_sum", (("step", "decide"),)] == 10e-6


def test_what_a_call_brought_makes_no_series():
    metrics = CallMetrics()
    brought = "brought-by-the-call"
    metrics.observe(
        [
            call(
                number,
                operation=f"{brought}-{number}",
                method=f"M{number}",
                query=(f"{brought}-{number}",),
                detail=f"{brought}-{number}",
                token=f"tok_{number}",
                address=f"192.0.2.{number}:443",
            )
            for number in range(50)
        ]
    )
    metrics.observe([call(number, provider=None, client=None) for number in range(50, 100)])
    found = collected(metrics)
    assert brought not in str(found)
    assert len([name for name, _ in found if name == "tidegate_calls_total"]) == 2


def test_calls_of_cached_operations_are_counted_by_what_the_cache_did():
    metrics = CallMetrics()
    metrics.observe([call(1), call(2, cache="hit"), call(3, cache="hit"), call(4, cache="miss")])
    found = collected(metrics)
    counted = {
        dict(labels)["verdict"]: value
        for (name, labels), value in found.items()
        if name == "tidegate_cached_calls_total"
    }
    assert counted == {"hit": 2, "miss": 1}
