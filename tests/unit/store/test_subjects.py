"""Whom a client sends nothing about, and what was done for those who asked, on each database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tidegate.domain.ledger import SubjectRequest, Suppression
from tidegate.store import Store
from tidegate.store import subjects as stored
from tidegate.store.subjects import StoredSalt

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADA = Suppression("acme", b"a" * 32, "email", NOON, "anna", "dsr_1")
REQUEST = SubjectRequest(
    "dsr_1", "acme", ADA.index, "email", "erase", NOON, "anna", "{}", "ab" * 32, is_done=False
)


def test_a_subject_is_suppressed_once_and_for_its_client_alone(store: Store):
    before = store.generation()
    store.subjects.suppress(ADA)
    store.subjects.suppress(replace(ADA, author="boris", since=NOON + timedelta(days=1)))
    store.subjects.suppress(replace(ADA, client="globex"))
    assert store.subjects.suppressions("acme") == (ADA,)
    assert [one.client for one in store.subjects.suppressions()] == ["acme", "globex"]
    assert store.generation() > before
    assert store.subjects.lift("acme", ADA.index)
    assert not store.subjects.lift("acme", ADA.index)
    assert [one.client for one in store.subjects.suppressions()] == ["globex"]


def test_a_request_is_its_clients_alone_and_read_back_whole(store: Store):
    store.subjects.record(REQUEST)
    assert store.subjects.request("acme", "dsr_1") == REQUEST
    assert store.subjects.request("globex", "dsr_1") is None
    assert store.subjects.requests("globex") == ()


def test_a_list_shows_the_newest_requests_oldest_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stored, "REQUESTS_MAX", 2)
    made = [replace(REQUEST, id=f"dsr_{n}", at=NOON + timedelta(hours=n)) for n in (2, 0, 1)]
    for one in made:
        store.subjects.record(one)
    assert [one.id for one in store.subjects.requests("acme")] == ["dsr_1", "dsr_2"]


def test_a_salt_stays_the_first_ones_and_nothing_is_left_of_one_destroyed(store: Store):
    store.subjects.add_salts([StoredSalt("acme", 1, b"first", b"m")])
    store.subjects.add_salts(
        [StoredSalt("acme", 1, b"second", b"m"), StoredSalt("x", 1, b"x", b"")]
    )
    assert store.subjects.salts()["acme"].salt == b"first"
    store.subjects.destroy_salt(StoredSalt("acme", 1, None, b"gone"))
    store.subjects.add_salts([StoredSalt("acme", 2, b"third", b"m")])
    salts = store.subjects.salts()
    assert (salts["acme"].number, salts["acme"].salt, salts["x"].salt) == (2, b"third", b"x")
