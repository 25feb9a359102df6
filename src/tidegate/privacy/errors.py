"""How something about agreements or acts is refused: a sentence for the person who asked for it."""

from __future__ import annotations


class PrivacyRefused(Exception):  # noqa: N818 - its name says what it is
    """What was asked for cannot be; `hint` says what can."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
