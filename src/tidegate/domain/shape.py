"""What an operation without a policy was seen to send: places and kinds, never a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

CALL: Final = "call"
"""The kind of a sampled call as a whole; its place is empty."""
UNREAD: Final = "unread"
"""The kind of a body that a policy could not read, or that was too large to be looked at."""
REPEATED: Final = "repeated"
"""The mark of a name that stood there more than once; the others say what a value looked like."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What stood at a place of some of a client's calls; `marks` count what it looked like."""

    client: str
    provider: str
    operation: str
    at: str
    kind: str
    count: int
    marks: Mapping[str, int]
    first: datetime
    last: datetime
