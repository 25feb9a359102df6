"""An event from the spool becomes a record, or is named as none."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from support.samples import call

from tidegate.events import UnreadableEventError, read_event


def event(**changed: Any) -> dict[str, Any]:
    return asdict(call()) | changed


def test_event_and_record_have_the_same_fields():
    assert read_event(json.dumps(event()).encode()) == call()


def test_field_of_a_newer_engine_is_passed_over():
    assert read_event(json.dumps(event(weather="fair")).encode()) == call()


def test_field_that_may_be_unknown_may_be_absent():
    older = {name: value for name, value in event().items() if name not in {"tls_group", "query"}}
    record = read_event(json.dumps(older).encode())
    assert (record.tls_group, record.query) == (None, ())


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'"id"', b"\xff", b"{}"])
def test_what_is_no_event_is_named_without_its_content(line: bytes):
    with pytest.raises(UnreadableEventError, match=r"it (is|has) no"):
        read_event(line)


def test_event_without_what_every_record_has_is_unreadable():
    cut = {name: value for name, value in event().items() if name != "outcome"}
    with pytest.raises(UnreadableEventError, match="it has no outcome"):
        read_event(json.dumps(cut).encode())
