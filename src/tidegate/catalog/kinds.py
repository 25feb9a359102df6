"""Name a value's type in the words of the file."""

from __future__ import annotations

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "`true` or `false`"),
    (str, "a text"),
    ((int, float), "a number"),
    (dict, "a mapping"),
    (list, "a list"),
)


def kind(value: object) -> str:
    """`a text`, `a number`, `a list` …, or `nothing`."""
    return next((name for types, name in _KINDS if isinstance(value, types)), "nothing")
