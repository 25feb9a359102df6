"""Say what is wrong in a file, where, and what the nearest right thing is.

Errors are gathered, not raised one by one, so that an operator mends a file in one go. A message
shows a value from the file only through `shown`, which hides whatever could be a secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tidegate.catalog.pasted_secrets import pasted_secret

ERRORS_SHOWN_MAX = 200
_SHOWN_MAX = 80
_CANDIDATES_MAX = 5_000
_RANDOM_RUN = re.compile(r"[A-Za-z0-9+/=_.-]{20,}")
_RANDOM_DIGITS_MIN = 4


class Place(NamedTuple):
    """A position in a file, counted from one."""

    line: int
    column: int


START = Place(1, 1)


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One thing that is wrong, for the person who edits the file."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return f"{text}\n    {self.hint}" if self.hint else text


class ConfigErrors(Exception):  # noqa: N818 (it holds them all)
    """Everything that is wrong with what is declared, in the order of the files."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = list(dict.fromkeys(errors))
        super().__init__(self.errors)

    def __str__(self) -> str:
        lines = [str(error) for error in self.errors[:ERRORS_SHOWN_MAX]]
        if len(self.errors) > ERRORS_SHOWN_MAX:
            lines.append(f"… and {len(self.errors) - ERRORS_SHOWN_MAX} more")
        return "\n".join(lines)


def shown(value: str) -> str:
    """Put a value in backticks for a message, unless it could be a secret or spoil a terminal."""
    if pasted_secret(value) is not None or any(map(_looks_random, _RANDOM_RUN.findall(value))):
        return "the value (not shown: it looks like a secret)"
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)
    return f"`{printable}`" if len(printable) <= _SHOWN_MAX else f"`{printable[:_SHOWN_MAX]}…`"


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Find the candidate that was probably meant."""
    known = list(dict.fromkeys(candidates))[:_CANDIDATES_MAX]
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(word.lower()[:_SHOWN_MAX], by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, candidates: Iterable[str], *, otherwise: str = "") -> str:
    """Word the hint for a name that is not there."""
    known = list(candidates)
    close = nearest(word, known)
    if close is not None:
        return f"did you mean `{close}`?"
    return otherwise or (f"there is {listed(known)}" if known else "")


def listed(words: Iterable[str], most: int = 12) -> str:
    """Name some words of a list: `a`, `b` and 3 more."""
    known = list(words)
    text = ", ".join(f"`{word}`" for word in known[:most])
    return text if len(known) <= most else f"{text} and {len(known) - most} more"


def _looks_random(run: str) -> bool:
    digits = sum(c.isdigit() for c in run)
    return digits >= _RANDOM_DIGITS_MIN and any(c.isalpha() for c in run) and "/" not in run
