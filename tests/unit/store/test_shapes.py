"""Shapes are counted with the calls that tell them, once, by client and operation, within bounds."""

from __future__ import annotations

import pytest
from support import samples

from tidegate.domain.call import CallRecord, ShapeRecord
from tidegate.store import Store
from tidegate.store import shapes as stored

EMAIL = ShapeRecord("body $.email", "string", 3, {"email": 2})
CALL = ShapeRecord("", "call", 1, {})


def call(number: int, *shapes: ShapeRecord, **changed: object) -> CallRecord:
    from dataclasses import replace

    values: dict[str, object] = {
        "id": f"CALL{number:022}",
        "at_ms": 1_700_000_000_000 + number,
        "client": "acme",
        "provider": "crm",
        "operation": "PostPeople",
    }
    return replace(samples.call(number), **(values | changed), shapes=shapes)


def told(store: Store, **only: str) -> list[tuple[str, str, int, dict[str, int]]]:
    return [(one.client, one.at, one.count, dict(one.marks)) for one in store.shapes.of(**only)]


def test_shapes_add_up_over_calls(store: Store):
    store.calls.add([call(1, CALL, EMAIL), call(2, CALL)])
    store.calls.add([call(3, CALL, ShapeRecord("body $.email", "string", 1, {"email": 1}))])
    assert told(store) == [("acme", "", 3, {}), ("acme", "body $.email", 4, {"email": 3})]
    (whole, _) = store.shapes.of()
    assert (whole.first.microsecond, whole.last.microsecond) == (1_000, 3_000)


def test_a_batch_that_comes_again_counts_nothing_twice(store: Store):
    for _ in range(3):
        store.calls.add([call(1, EMAIL)])
    assert told(store) == [("acme", "body $.email", 3, {"email": 2})]


def test_a_calls_own_record_has_no_shapes(store: Store):
    store.calls.add([call(1, EMAIL)])
    (record,) = store.calls.recent().calls
    assert record.shapes == ()


def test_clients_operations_and_kinds_are_apart_and_forgotten_apart(store: Store):
    null = ShapeRecord("body $.email", "null", 1, {})
    store.calls.add(
        [call(1, EMAIL, null), call(2, EMAIL, client="globex"), call(3, EMAIL, operation="Other")]
    )
    assert len(told(store)) == 4
    assert len(told(store, client="globex")) == 1
    assert len(told(store, provider="crm", operation="PostPeople")) == 3
    assert store.shapes.delete("crm", "PostPeople", "acme") == 3
    assert [one.operation for one in store.shapes.of(client="acme")] == ["Other"]
    store.shapes.delete()
    assert told(store) == []


def test_an_operation_has_so_many_rows_and_counts_on_in_those(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stored, "ROWS_MAX", 4)
    several = [ShapeRecord(f"query q{n}", "string", 1, {}) for n in range(4)]
    store.calls.add([call(1, *several)])
    store.calls.add([call(2, *several, EMAIL), call(3, EMAIL, client="globex")])
    assert {(whose, at, count) for whose, at, count, _ in told(store)} == {
        *(("acme", f"query q{n}", 2) for n in range(4)),
        ("globex", "body $.email", 3),
    }
