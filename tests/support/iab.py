"""Strings of the IAB's frameworks, as consent managements write them."""

from __future__ import annotations

from collections.abc import Iterable

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
PURPOSES = 24

NATIONAL = "DBABLA~BVQqAAAAAAJY.QA"
"""GPP, the United States' national section: nothing opted out of."""
OPTED_OUT = "DBABLA~BVQpAAAAAAJY.QA"
"""The same with targeted advertising opted out of."""
OBJECTING = "DBABLA~BVQqAAAAAAJY.YA"
"""The same from a browser with Global Privacy Control."""


def tcf(updated: int, purposes: Iterable[int], vendors: Iterable[int], *, version: int = 2) -> str:
    """Write a TCF string; `updated` is in Unix seconds."""
    consents = sum(1 << (PURPOSES - one) for one in purposes)
    vendors = sorted(vendors)
    bits = "".join(
        format(value, f"0{count}b")
        for count, value in (
            *((6, version), (36, updated * 10), (36, updated * 10), (12, 27), (12, 0), (6, 0)),
            *((12, 0), (12, 15), (6, 5), (2, 0), (12, 0), (24, consents), (24, 0), (1, 0), (12, 0)),
            *((16, max(vendors, default=0)), (1, 1), (12, len(vendors))),
            *(pair for one in vendors for pair in ((1, 0), (16, one))),
            *((16, 0), (1, 0), (12, 0)),
        )
    )
    padded = bits + "0" * (-len(bits) % 6)
    return "".join(_LETTERS[int(padded[at : at + 6], 2)] for at in range(0, len(padded), 6))
