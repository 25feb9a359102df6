"""Agreements gate the traffic of a running gateway: from their first instant, to their last."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from support.agreeing import ANNA, BORIS, agreement
from support.people import ADDRESS, People, declared, people
from support.running import Running, running, wait_until

BODY = {"email": ADDRESS}


@pytest.fixture
def provider():
    with people() as served:
        yield served


@contextmanager
def gateway(folder: Path, text: str) -> Iterator[Running]:
    with running(folder, text, {}) as started:
        yield started


def post(started: Running, token: str, **more: object) -> httpx.Response:
    headers = {"Tidegate-Token": token} | dict(more.pop("headers", {}))  # type: ignore[call-overload]
    return httpx.post(
        f"{started.url}/pay/people", json=BODY, headers=headers, trust_env=False, timeout=20, **more
    )


def get(started: Running, token: str) -> httpx.Response:
    return httpx.get(
        f"{started.url}/pay/status", headers={"Tidegate-Token": token}, trust_env=False, timeout=20
    )


def code(answer: httpx.Response) -> str:
    return "ok" if answer.status_code == 200 else answer.json()["code"]


def in_force(**changes: object):
    now = datetime.now(UTC).replace(microsecond=0)
    dates = {"starts": now - timedelta(days=1), "ends": now + timedelta(days=300)}
    return agreement(**(dates | changes))


def test_nothing_personal_goes_before_an_agreement_is_recorded_and_all_else_does(
    tmp_path: Path, provider: People
):
    with gateway(tmp_path, declared(provider)) as started:
        shop, other = started.token("shop"), started.token("other")
        refused = post(started, shop)
        assert (refused.status_code, code(refused)) == (403, "no_agreement")
        assert refused.json()["rule"] == "protection[0]"
        assert "`contact.email` for `payment`: none is on record" in refused.json()["detail"]
        assert ADDRESS not in refused.text
        assert get(started, shop).status_code == 200
        assert provider.posted == []

        started.state.agreements.add(ANNA, in_force())
        wait_until(lambda: post(started, shop).status_code == 200)
        # It is acme's agreement, and no other client's.
        assert code(post(started, other)) == "no_agreement"
        wait_until(lambda: any(r.agreements for r in started.records(1)))
        wait_until(lambda: sum(r.client == "globex" for r in started.records(1)) == 1)
        records = started.records(4)
        gone = [r for r in records if r.operation == "AddPerson" and r.outcome == "ok"]
        assert [r.agreements for r in gone] == ["acme-pay-dpa"]
        assert {r.decision for r in records if r.outcome == "no_agreement"} == {"deny"}
        assert {r.agreements for r in records if r.operation == "GetStatus"} == {None}


def test_an_agreement_that_ends_mid_traffic_lets_nothing_go_after_its_instant(
    tmp_path: Path, provider: People
):
    """Nobody publishes, nobody looks: the engine's own clock is what ends it."""
    with gateway(tmp_path, declared(provider)) as started:
        token = started.token("shop")
        ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
        started.state.agreements.add(ANNA, in_force(ends=ends))
        wait_until(lambda: post(started, token).status_code == 200)
        stop = threading.Event()

        def call_on(what) -> list[str]:
            codes: list[str] = []
            while not stop.is_set():
                codes.append(code(what(started, token)))
            return codes

        with ThreadPoolExecutor(3) as pool:
            posting = [pool.submit(call_on, post) for _ in range(2)]
            reading = pool.submit(call_on, get)
            try:
                wait_until(lambda: datetime.now(UTC) > ends + timedelta(seconds=2))
            finally:
                stop.set()
            posted = [one for done in posting for one in done.result()]
            read = reading.result()

        assert set(posted) == {"ok", "no_agreement"}
        assert set(read) == {"ok"}
        records = started.records(len(posted) + len(read))
        people_records = [r for r in records if r.operation == "AddPerson"]
        after = [r for r in people_records if r.at_ms >= ends.timestamp() * 1000]
        assert after
        assert {(r.outcome, r.provider_status, r.sent_bytes) for r in after} == {
            ("no_agreement", None, 0)
        }
        went = [r for r in people_records if r.outcome == "ok"]
        assert len(provider.posted) == len(went)
        assert any(r.at_ms >= ends.timestamp() * 1000 for r in records if r.outcome == "ok")


def test_what_is_still_being_sent_at_the_instant_stops_there(tmp_path: Path, provider: People):
    with gateway(tmp_path, declared(provider)) as started:
        token = started.token("shop")
        ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
        started.state.agreements.add(ANNA, in_force(ends=ends))
        wait_until(lambda: post(started, token).status_code == 200)
        before = len(provider.posted)
        body = json.dumps(BODY).encode()
        host, _, port = started.url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as wire:
            head = (
                f"POST /pay/people HTTP/1.1\r\nHost: {host}:{port}\r\nTidegate-Token: {token}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            wire.sendall(head.encode() + body[:5])
            time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()) + 0.2)
            wire.sendall(body[5:])
            answer = wire.makefile("rb").readline()
        assert answer.startswith(b"HTTP/1.1 403")
        wait_until(lambda: any(r.outcome == "no_agreement" for r in started.records(1)))
        assert not any(ADDRESS.encode() in body for body in provider.bodies[before:])


def test_an_agreement_that_is_ended_by_hand_ends_at_once(tmp_path: Path, provider: People):
    with gateway(tmp_path, declared(provider)) as started:
        token = started.token("shop")
        started.state.agreements.add(ANNA, in_force())
        wait_until(lambda: post(started, token).status_code == 200)
        started.state.agreements.end(BORIS, "acme-pay-dpa")
        wait_until(lambda: post(started, token).status_code == 403)
        assert "`acme-pay-dpa` ended at" in post(started, token).json()["detail"]


def test_an_override_lets_go_only_once_another_person_approved_it(tmp_path: Path, provider: People):
    with gateway(tmp_path, declared(provider)) as started:
        token = started.token("shop")
        asked = started.state.agreements.ask(
            ANNA,
            client="acme",
            provider="pay",
            categories=["contact"],
            purposes=["payment"],
            hours=1,
            reason="the contract is being signed",
        )
        generation = started.state.store.generation()
        assert generation
        time.sleep(1)
        assert code(post(started, token)) == "no_agreement"
        started.state.agreements.approve(BORIS, asked.id)
        wait_until(lambda: post(started, token).status_code == 200)
        started.state.agreements.revoke(BORIS, asked.id)
        wait_until(lambda: code(post(started, token)) == "no_agreement")


@pytest.mark.parametrize(
    ("client", "changes", "reason"),
    [
        ("region: eu", {"regions": ("us",)}, "without a transfer tool"),
        (
            "region: eu, residency: [eu]",
            {"regions": ("eu", "us")},
            "outside the client's residency",
        ),
        ("region: eu", {"kind": "ccpa"}, "of kind `ccpa`"),
    ],
)
def test_a_place_or_a_paper_that_the_law_does_not_know_lets_nothing_go(
    tmp_path: Path, provider: People, client: str, changes: dict[str, object], reason: str
):
    with gateway(tmp_path, declared(provider, client=client)) as started:
        token = started.token("shop")
        started.state.agreements.add(ANNA, in_force(**changes))
        wait_until(lambda: reason in post(started, token).json()["detail"])
        assert provider.posted == []


def test_report_mode_does_not_soften_it(tmp_path: Path, provider: People):
    text = declared(provider, policy="report_until: 2099-01-01")
    text = text.replace('operations: ["*"]}', 'operations: ["*"], mode: report}')
    with gateway(tmp_path, text) as started:
        assert code(post(started, started.token("shop"))) == "no_agreement"
        assert provider.posted == []


def test_a_register_that_was_altered_lets_nothing_go(tmp_path: Path, provider: People):
    from support.agreeing import tamper

    with gateway(tmp_path, declared(provider)) as started:
        token = started.token("shop")
        started.state.agreements.add(ANNA, in_force(clients=("globex",)))
        started.state.agreements.add(ANNA, in_force(name="own"))
        wait_until(lambda: post(started, token).status_code == 200)
        database = started.file.parent / "data" / "tidegate.db"
        tamper(
            database,
            "UPDATE acts SET details = replace(details, 'globex', 'acme') WHERE seq = 1",
            "UPDATE generation SET value = value + 1",
        )
        wait_until(lambda: post(started, token).status_code == 403)
        assert "entry 1 was altered" in post(started, token).json()["detail"]
        assert get(started, token).status_code == 200
