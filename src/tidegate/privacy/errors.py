"""Why a record cannot be made, or a request of a subject not be carried out."""

from __future__ import annotations


class PrivacyError(Exception):
    """The message is for whoever runs the command, and names nobody; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class CannotReportError(PrivacyError):
    """A record cannot be made in the form that was asked for."""


class SubjectRefused(PrivacyError):  # noqa: N818 - as the other refusals are called
    """What was asked for about a subject cannot be done."""
