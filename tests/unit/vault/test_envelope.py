from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import canaries

from tidegate.domain.secret import Secret
from tidegate.vault import VaultRefused
from tidegate.vault.envelope import Envelope, frame, new_key, unframe

parts = st.lists(st.binary(max_size=40), max_size=6)
KEY = new_key()


@given(st.binary(max_size=300), parts)
def test_what_is_sealed_opens_in_its_place(value: bytes, place: list[bytes]):
    # By chance, or from a constant of our own sources, it may stand elsewhere.
    canaries.public(value)
    assert Envelope(KEY).open(Envelope(KEY).seal(Secret(value), *place), *place).reveal() == value


@given(parts, parts)
def test_no_two_places_read_the_same(one: list[bytes], other: list[bytes]):
    assert (frame(*one) == frame(*other)) == (one == other)
    sealed = Envelope(KEY).seal(Secret("x"), *one)
    if one != other:
        with pytest.raises(VaultRefused):
            Envelope(KEY).open(sealed, *other)


@given(parts)
def test_framed_parts_come_apart_as_they_were(some: list[bytes]):
    assert unframe(frame(*some)) == some


def test_another_key_does_not_open():
    sealed = Envelope(KEY).seal(Secret("x"), "here")
    with pytest.raises(VaultRefused):
        Envelope(new_key()).open(sealed, "here")


@given(st.binary(max_size=80))
def test_anything_else_is_refused(junk: bytes):
    with pytest.raises(VaultRefused):
        Envelope(KEY).open(junk, "here")
