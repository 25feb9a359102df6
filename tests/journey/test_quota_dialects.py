"""What a provider's answers say of its limits, in its own dialect, reaches the count that is kept of them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.gate import Gate, gate, provider_at
from support.strict import Strict, strict

from tidegate.catalog.dialect import built_in_dialect
from tidegate.domain.quota import Quota

ALL = (("*", 1),)
HOUR_MS = 3_600_000
BOTH = {"q", "other"}
Said = tuple[int, object, dict[str, str]]


def declare(gateway: Gate, provider: Strict, dialect: str, *quotas: Quota) -> None:
    gateway.declare(
        provider_at(
            provider.url,
            "there",
            allow_private=("127.0.0.0/8",),
            quotas=quotas,
            dialect=built_in_dialect(dialect),
        )
    )


def answer(
    provider: Strict, status: int = 200, body: object = None, **headers: str
) -> dict[str, str]:
    provider.status = status
    provider.body = b"{}" if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    provider.headers = lambda: named
    return named


def call(gateway: Gate) -> httpx.Response:
    """Call; again where a machine that has no time to spare sheds the call (503)."""
    while True:
        sent = {"Tidegate-Token": gateway.token}
        got = httpx.get(f"{gateway.url}/there/x", headers=sent, trust_env=False, timeout=20)
        if got.headers.get("Retry-After") is None or got.status_code != 503:
            return got
        time.sleep(0.01)


def counts(gateway: Gate) -> dict[str, dict[str, Any]]:
    """Every count by its quota, once nothing is under way."""
    deadline = time.monotonic() + 5
    while True:
        found = {one["quota"]: one for one in gateway.engine.limits()["quotas"]}
        if not any(one["in_flight"] for one in found.values()) or time.monotonic() > deadline:
            return found
        time.sleep(0.01)


def test_what_is_left_by_a_header_corrects_the_quota_that_it_names(tmp_path: Path):
    core = Quota("core", "window", 5_000, ALL, HOUR_MS)
    other = Quota("search", "window", 30, ALL, 60_000)
    with strict() as provider, gate(tmp_path, provider.url) as gateway:
        declare(gateway, provider, "github", core, other)
        answer(
            provider,
            X_RateLimit_Resource="core",
            X_RateLimit_Limit="15000",
            X_RateLimit_Remaining="41",
            X_RateLimit_Reset=str(int(time.time()) + 600),
        )
        told = call(gateway)
        found = counts(gateway)
        # A later answer that is older than what was said before raises nothing.
        answer(provider, X_RateLimit_Resource="core", X_RateLimit_Remaining="14000")
        call(gateway)
        later = counts(gateway)
    assert (found["core"]["limit"], found["core"]["left"]) == (15_000, 41)
    assert 590_000 <= found["core"]["reset_ms"] <= 602_000
    assert found["search"]["left"] == 29
    assert later["core"]["left"] == 40
    assert '"core";r=41;t=' in told.headers["RateLimit"]
    assert '"core";q=15000;w=3600' in told.headers["RateLimit-Policy"]


@pytest.mark.parametrize(
    ("dialect", "said", "closed", "seconds"),
    [
        ("github", (403, {"message": "You have exceeded a secondary rate limit."}, {}), BOTH, 60),
        ("github", (403, {}, {"X_RateLimit_Remaining": "0", "Retry_After": "7"}), BOTH, 7),
        ("shopify", (200, {"errors": [{"extensions": {"code": "THROTTLED"}}]}, {}), {"graphql"}, 1),
        ("salesforce", (403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED"}], {}), {"day"}, 3_600),
        ("hubspot", (429, {"policyName": "DAILY"}, {"Retry_After": "90"}), {"day"}, 90),
        ("slack", (200, {"ok": False, "error": "ratelimited"}, {"Retry_After": "3"}), BOTH, 3),
        ("google", (403, {"error": {"errors": [{"reason": "userRateLimitExceeded"}]}}, {}), BOTH, 1),
        ("stripe", (429, {"error": {"code": "lock_timeout"}}, {}), set(), 0),
        ("openai", (429, {"error": {"code": "insufficient_quota"}}, {}), set(), 0),
        ("openai", (429, {"error": {"code": "rate_limit_exceeded"}}, {"Retry_After_Ms": "2500"}), BOTH, 2.5),
        ("github", (403, {"message": "Resource not accessible"}, {}), set(), 0),
    ],
)  # fmt: skip
def test_a_refusal_wherever_it_stands_closes_what_it_is_about_and_nothing_else(
    tmp_path: Path, dialect: str, said: Said, closed: set[str], seconds: float
):
    status, body, headers = said
    names = [*sorted(closed - BOTH or {"q"}), "other"]
    quotas = [Quota(name, "log", 100, ALL, HOUR_MS) for name in names]
    with strict() as provider, gate(tmp_path, provider.url) as gateway:
        declare(gateway, provider, dialect, *quotas)
        answer(provider, status, body, **headers)
        assert call(gateway).status_code == status
        found = counts(gateway)
        answer(provider)
        again = call(gateway)
    assert {name for name, one in found.items() if one["closed_ms"]} == closed
    for name in closed:
        assert seconds * 990 - 2_000 <= found[name]["closed_ms"] <= seconds * 1_101
    assert again.status_code == (429 if closed else 200)
    if closed:
        assert again.json()["code"] == "quota_exceeded"
        assert again.headers["Tidegate-Throttle"] == "gateway;scope=quota"
        assert "provider refused calls" in again.json()["detail"]


def test_percent_count_for_what_is_declared(tmp_path: Path):
    with strict() as provider, gate(tmp_path, provider.url) as gateway:
        declare(gateway, provider, "meta", Quota("app", "log", 200, ALL, HOUR_MS))
        answer(provider, X_App_Usage='{"call_count":75,"total_time":10,"total_cputime":10}')
        call(gateway)
        app = counts(gateway)["app"]
    assert (app["limit"], app["left"]) == (200, 50)


def test_a_cost_that_only_the_body_tells_settles_the_quota_that_it_is_of(tmp_path: Path):
    graphql = Quota("graphql", "bucket", 1_000, (("*", 200),), 1_000, restored=1)
    calls = Quota("calls", "log", 100, ALL, HOUR_MS)
    cost = {
        "actualQueryCost": 12,
        "throttleStatus": {"maximumAvailable": 1_000, "currentlyAvailable": 900},
    }
    with strict() as provider, gate(tmp_path, provider.url) as gateway:
        declare(gateway, provider, "shopify", graphql, calls)
        answer(provider, 200, {"extensions": {"cost": cost}})
        call(gateway)
        first = counts(gateway)
        # An answer that says nothing of its cost leaves what was held for it.
        answer(provider)
        call(gateway)
        second = counts(gateway)
    assert 899 <= first["graphql"]["left"] <= 901
    assert first["calls"]["used"] == 1
    assert 699 <= second["graphql"]["left"] <= 705
