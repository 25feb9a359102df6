"""The ledger gives out what ended, in the order of the ends."""

from __future__ import annotations

from itertools import islice

from tidegate.sandbox import Ledger, Received


def call(path: str) -> Received:
    return Received(
        number=0,
        at_ms=0,
        method="GET",
        path=path,
        http="1.1",
        operation=None,
        credential="absent",
        account=None,
        query=(),
        headers=(("x", "1"), ("x", "2")),
    )


def test_calls_are_given_in_the_order_they_ended():
    ledger = Ledger()
    first, second = ledger.add(call("/first")), ledger.add(call("/second"))
    ledger.settle(second.number, "answered")
    ledger.settle(first.number, "cut")
    assert [c.path for c in islice(ledger.ended(), 2)] == ["/second", "/first"]


def test_ledger_is_bounded():
    ledger = Ledger(kept=3)
    for number in range(5):
        ledger.add(call(f"/{number}"))
    assert [c.path for c in ledger] == ["/2", "/3", "/4"]
    assert ledger[-1].number == 5


def test_several_values_of_a_header_are_joined():
    assert call("/").header("X") == "1, 2"
    assert call("/").header("y") is None
