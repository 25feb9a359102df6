"""The reader of YAML: what it reads is what stands there, and whatever stands there it survives."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tidegate.catalog.yaml_source import Bounds, read_yaml

BOUNDS = Bounds(bytes_max=4096, values_max=500, depth_max=16)
# The characters that JSON and YAML read alike.
TEXT = st.text(
    st.characters(
        exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="\ufeff\ufffe\uffff"
    ),
    max_size=20,
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
YAML_LIKE = st.text(alphabet="ab01 \n\t-:?,[]{}&*!|>'\"%@`#<\\\x00\x85\ufeff\u2028é", max_size=200)


@given(VALUES)
def test_json_is_read_as_what_it_says(value: object):
    text = json.dumps({"it": value}, ensure_ascii=False)
    read = read_yaml(text.encode(), "x", Bounds(2**20, 10_000, 64))
    assert read.errors == ()
    assert read.root == {"it": value}


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(data: bytes):
    bounded(read_yaml(data, "x", BOUNDS).root)


@given(YAML_LIKE)
def test_no_yaml_makes_it_fail_or_grow(text: str):
    read = read_yaml(text.encode(), "x", BOUNDS)
    if not read.errors:
        bounded(read.root)
    for error in read.errors:
        assert 1 <= error.line <= text.count("\n") + text.count("\x85") + text.count("\u2028") + 2


def bounded(value: object, depth: int = 0) -> None:
    assert depth <= BOUNDS.depth_max
    if isinstance(value, dict):
        for inner in value.values():
            bounded(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            bounded(inner, depth + 1)


def test_words_that_older_yaml_turns_are_text():
    read = read_yaml(b"a: [no, on, 12:30, 0o7, 0x1f, 1_000, .inf, 2001-01-01]", "x")
    assert read.root == {
        "a": ["no", "on", "12:30", "0o7", "0x1f", "1_000", ".inf", "2001-01-01"]
    }  # fmt: skip


def test_an_alias_is_what_it_stands_for():
    assert read_yaml(b"a: &x [1, 2]\nb: *x", "x").root == {"a": [1, 2], "b": [1, 2]}


def test_an_alias_within_itself_is_refused():
    (error,) = read_yaml(b"a: &x [*x]", "x").errors
    assert "names nothing that stands complete before it" in error.message
