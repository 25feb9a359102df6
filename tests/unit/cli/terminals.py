"""Sit at the terminal of a command."""

from __future__ import annotations

import os
import select
import time


def until(terminal: int, words: bytes, within_s: float = 60) -> bytes:
    """Read what the terminal shows until the words are there."""
    seen = b""
    deadline = time.monotonic() + within_s
    while words not in seen:
        assert select.select([terminal], [], [], deadline - time.monotonic())[0], seen
        seen += os.read(terminal, 4096)
    return seen
