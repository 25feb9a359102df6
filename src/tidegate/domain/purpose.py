"""What data is sent for: dotted words, the most general first (`marketing.advertising.profiling`).

The words are those of the fideslang taxonomy's data uses; what is advertising, or sale and sharing, is
said here alone.
"""

from __future__ import annotations

from typing import Final

_ADVERTISING: Final = "advertising"
_SHARING: Final = frozenset({_ADVERTISING, "third_party_sharing", "sell", "sale"})


def is_advertising(purpose: str) -> bool:
    """Whether it is advertising, or something below it."""
    return _ADVERTISING in purpose.split(".")


def is_sharing(purpose: str) -> bool:
    """Whether it is one that Global Privacy Control opts out of: sale, sharing, advertising."""
    return not _SHARING.isdisjoint(purpose.split("."))
