"""How a command ends: its exit code, or a refusal with what to do about it."""

from __future__ import annotations

DONE = 0
REFUSED = 1
CHANGES = 2
INTERRUPTED = 130


class Refusal(Exception):  # noqa: N818 - its name says what it is
    """What was asked cannot be done. `hint` says what can."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
