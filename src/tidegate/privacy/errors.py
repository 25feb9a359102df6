"""How something about agreements, acts, records or subjects is refused: a sentence for whoever asked for it."""

from __future__ import annotations


class PrivacyRefused(Exception):  # noqa: N818 - its name says what it is
    """What was asked for cannot be; `hint` says what can. Neither names a person."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class CannotReportError(PrivacyRefused):
    """A record cannot be made, or not in the form that was asked for."""


class SubjectRefused(PrivacyRefused):
    """What was asked for about a subject cannot be done."""
