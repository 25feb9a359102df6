from __future__ import annotations

import random  # noqa: TID251 - seeded, so that each run has the same numbers
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from support.samples import NOON, call

from tidegate.domain.call import Gap
from tidegate.store import Store

HOUR_MS = 3_600_000


def test_a_record_comes_back_as_it_was(store: Store):
    bare = call(2, client=None, consumer=None, provider=None, operation=None, steps_us={}, query=())
    assert store.calls.add([call(1), bare]) == 2
    assert store.calls.recent().calls == (call(1), bare)


def test_storing_twice_changes_nothing(store: Store):
    records = [call(n) for n in range(10)]
    assert store.calls.add(records) == 10
    assert store.calls.add([*records, call(10), call(10)]) == 1
    assert store.calls.add(records) == 0
    assert store.calls.add([]) == 0
    assert len(store.calls.recent().calls) == 11
    assert [usage.calls for usage in store.calls.usage()] == [11]


def test_batches_stored_at_once_count_each_call_once(store: Store):
    batches = [[call(n) for n in range(start, start + 60)] for start in range(0, 300, 30)]
    with ThreadPoolExecutor(4) as pool:
        added = sum(pool.map(store.calls.add, batches))
    assert added == 330
    assert [usage.calls for usage in store.calls.usage()] == [330]


def test_records_are_found_by_whom_and_how_they_ended(store: Store):
    store.calls.add(
        [
            call(1),
            call(2, client="globex"),
            call(3, consumer="agency"),
            call(4, provider="maps"),
            call(5, outcome="denied", status=403),
        ]
    )

    def found(**wanted: str) -> list[int]:
        return [int(record.id[-1]) for record in store.calls.recent(**wanted).calls]

    assert found(client="globex") == [2]
    assert found(consumer="agency") == [3]
    assert found(provider="maps") == [4]
    assert found(outcome="denied") == [5]
    assert found(client="acme", provider="pay", outcome="ok", consumer="shop") == [1]
    assert found() == [1, 2, 3, 4, 5]


def test_the_newest_come_first_into_the_page_and_stand_in_order(store: Store):
    store.calls.add([call(n) for n in range(20)])
    assert [record.id for record in store.calls.recent(limit=3).calls] == [
        call(n).id for n in (17, 18, 19)
    ]


def test_following_by_cursor_misses_and_repeats_nothing(store: Store):
    store.calls.add([call(n) for n in range(5)])
    page = store.calls.recent(limit=2)
    seen = [record.id for record in page.calls]
    store.calls.add([call(n, client="globex" if n % 2 else "acme") for n in range(5, 12)])
    cursor = page.cursor
    while (page := store.calls.recent(limit=3, after=cursor)).calls:
        seen += [record.id for record in page.calls]
        cursor = page.cursor
    assert seen == [call(n).id for n in range(3, 12)]
    assert store.calls.recent(after=cursor).cursor == cursor
    assert store.calls.recent(after=0, client="nobody").cursor == cursor


def test_an_empty_store_can_be_followed(store: Store):
    page = store.calls.recent()
    assert page.calls == ()
    store.calls.add([call(1)])
    assert store.calls.recent(after=page.cursor).calls == (call(1),)


def test_usage_counts_by_client_provider_and_operation(store: Store):
    store.calls.add(
        [
            call(1),
            call(2, provider_status=500, status=500),
            call(3, outcome="denied", status=403, provider_status=None, sent_bytes=0),
            call(4, outcome="tls_failed", status=502, provider_status=None),
            call(5, client="globex", operation="CreateCharge"),
            call(
                6, client=None, provider=None, operation=None, outcome="unauthenticated", status=401
            ),
        ]
    )
    unknown, acme, globex = store.calls.usage()
    assert (unknown.client, unknown.provider, unknown.operation) == (None, None, None)
    assert (unknown.calls, unknown.refused, unknown.p50_us) == (1, 1, None)
    assert (acme.calls, acme.ok, acme.refused, acme.failed) == (4, 2, 1, 1)
    assert (acme.sent_bytes, acme.received_bytes) == (300, 2400)
    assert (globex.client, globex.operation, globex.calls) == ("globex", "CreateCharge", 1)


def test_usage_is_counted_by_whole_hours(store: Store):
    store.calls.add([call(n, at_ms=call().at_ms + n * HOUR_MS) for n in range(5)])

    def counted(since: float | None, until: float | None) -> int:
        hours = [None if h is None else NOON + timedelta(hours=h) for h in (since, until)]
        return sum(usage.calls for usage in store.calls.usage(since=hours[0], until=hours[1]))

    assert counted(None, None) == 5
    assert counted(1, None) == 4
    assert counted(1.5, 3.5) == 3
    assert counted(None, 0) == 1
    assert counted(9, None) == 0


def test_percentiles_are_exact_to_a_tenth(store: Store):
    rng = random.Random(7)
    durations = sorted(int(rng.lognormvariate(9, 1)) + 1 for _ in range(2000))
    store.calls.add([call(n, total_us=us) for n, us in enumerate(durations)])
    (usage,) = store.calls.usage()
    assert usage.p50_us == pytest.approx(durations[1000], rel=0.1)
    assert usage.p95_us == pytest.approx(durations[1900], rel=0.1)


def test_a_detail_with_nul_does_not_hold_up_the_batch(store: Store):
    store.calls.add([call(1, detail="a\0b"), call(2)])
    assert [record.id for record in store.calls.recent().calls] == [call(1).id, call(2).id]


def test_gaps_come_back_as_they_were(store: Store):
    gaps = (Gap(5, 1, 100, "killed"), Gap(9, 7, 3, "disk full"))
    for gap in gaps:
        store.calls.add_gap(gap)
    assert store.calls.gaps() == gaps


def test_records_do_not_change_the_generation(store: Store):
    before = store.generation()
    store.calls.add([replace(call(1))])
    store.calls.add_gap(Gap(5, 1, 100, "killed"))
    assert store.generation() == before
