"""How a token or a connection is refused: a sentence for the person who asked for it."""

from __future__ import annotations

from collections.abc import Iterable

from tidegate.catalog.errors import did_you_mean, shown


class CredentialRefused(Exception):  # noqa: N818 - its name says what it is
    """What was asked for cannot be; the message says what to change, and holds no secret."""


def require_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is not declared, with the nearest one that is."""
    names = list(known)
    if name not in names:
        hint = did_you_mean(name, names)
        raise CredentialRefused(
            f"No {kind} {shown(name)} is declared{f'; {hint}' if hint else '.'}"
        )
