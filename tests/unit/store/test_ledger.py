"""What was sent is kept with the calls, once, without a value, and found by subject."""

from __future__ import annotations

from dataclasses import replace

from support import samples

from tidegate.domain.call import CallRecord, FieldRecord
from tidegate.domain.ledger import UNLISTED
from tidegate.store import Store

ADA, GRACE = "a1" * 32, "b2" * 32
EMAIL = FieldRecord("body $.email", "contact.email", "allow")
NAME = FieldRecord("body $.name", "name", "mask")
LEFT = {"authenticate": 10, "attach": 20, "forward": 900}


def call(number: int, **changed: object) -> CallRecord:
    values: dict[str, object] = {
        "id": f"CALL{number:022}",
        "at_ms": 1_700_000_000_000 + number,
        "client": "acme",
        "provider": "mailer",
        "operation": "AddContact",
        "steps_us": LEFT,
        "sent": (EMAIL, NAME),
        "purpose": "marketing",
        "subjects": (ADA,),
        "revision": number,
    }
    return replace(samples.call(number), **(values | changed))


def test_each_field_of_a_call_is_a_row_for_each_subject(store: Store):
    store.calls.add([call(1, subjects=(ADA, GRACE), agreements="dpa-1 scc-2"), call(2)])
    flows = store.ledger.about("acme", bytes.fromhex(ADA))
    assert [(f.at, f.category, f.action, f.purpose, f.count) for f in flows] == [
        ("body $.email", "contact.email", "allow", "marketing", 2),
        ("body $.name", "name", "mask", "marketing", 2),
    ]
    assert flows[0].revisions == (1, 2)
    assert flows[0].agreements == ("dpa-1", "scc-2")
    assert (flows[0].last - flows[0].first).microseconds == 1_000
    assert {f.count for f in store.ledger.about("acme", bytes.fromhex(GRACE))} == {1}


def test_flows_count_calls_and_not_subjects(store: Store):
    store.calls.add([call(1, subjects=(ADA, GRACE)), call(2, subjects=())])
    assert [(f.at, f.count) for f in store.ledger.flows("acme")] == [
        ("body $.email", 2),
        ("body $.name", 2),
    ]
    store.calls.add([call(5), call(3)])
    (first, _) = store.ledger.flows()
    assert (first.count, first.first.microsecond, first.last.microsecond) == (4, 1_000, 5_000)


def test_a_batch_that_comes_again_adds_nothing(store: Store):
    for _ in range(3):
        store.calls.add([call(1), call(2)])
    assert {f.count for f in store.ledger.about("acme", bytes.fromhex(ADA))} == {2}
    assert {f.count for f in store.ledger.flows()} == {2}


def test_what_did_not_leave_is_not_in_it(store: Store):
    stayed = {"authenticate": 10, "protect": 20}
    store.calls.add(
        [call(1, steps_us=stayed), call(2, steps_us=stayed | {"cache": 3}, cache="hit")]
    )
    assert store.ledger.flows() == ()
    assert store.ledger.about("acme", bytes.fromhex(ADA)) == ()


def test_a_call_that_no_policy_lists_is_known_to_have_been_about_somebody(store: Store):
    store.calls.add([call(1, sent=(), purpose=None)])
    (flow,) = store.ledger.about("acme", bytes.fromhex(ADA))
    assert (flow.at, flow.category, flow.action, flow.purpose) == ("", "", UNLISTED, "")


def test_a_call_about_nobody_without_a_policy_leaves_no_row(store: Store):
    store.calls.add([call(1, sent=(), subjects=())])
    assert store.ledger.flows() == ()
    assert not store.ledger.knows_subjects_of("acme")


def test_one_clients_rows_are_never_anothers(store: Store):
    store.calls.add([call(1), call(2, client="globex")])
    assert {f.client for f in store.ledger.flows("globex")} == {"globex"}
    assert {f.count for f in store.ledger.about("globex", bytes.fromhex(ADA))} == {1}
    assert store.ledger.about("initech", bytes.fromhex(ADA)) == ()


def test_the_connections_that_were_used_are_known(store: Store):
    store.calls.add([call(1, connection="con_1"), call(2, connection="con_2"), call(3)])
    found = store.ledger.connections("acme", bytes.fromhex(ADA))
    assert found["mailer"] >= {"con_1", "con_2"}
    assert store.ledger.connections("globex", bytes.fromhex(ADA)) == {}


def test_a_record_comes_back_as_it_was(store: Store):
    made = call(1, subjects=(ADA, GRACE), agreements="dpa-1")
    store.calls.add([made])
    assert store.calls.recent().calls == (made,)
