"""Which kinds of data there are: dotted words, the most general first (`contact.email`).

The words are those of the fideslang taxonomy's data categories, with or without its leading `user`:
`user.contact.email` is `contact.email`. What is personal and what is special is said here alone.
"""

from __future__ import annotations

import re
from typing import Final

CATEGORY_PATTERN: Final = r"[a-z][a-z0-9_]{0,39}(\.[a-z][a-z0-9_]{0,39}){0,7}"
NONE: Final = "none"
"""The category of what says nothing about anybody."""

_IMPERSONAL: Final = frozenset({NONE, "system"})
_SPECIAL: Final = frozenset(
    {
        "biometric",
        "criminal",
        "ethnicity",
        "genetic",
        "health",
        "politics",
        "religion",
        "sex_life",
        "union",
    }
)
"""Articles 9 and 10 of the GDPR."""


def is_category(text: str) -> bool:
    """Whether a text is a dotted word that can name a category, or a purpose."""
    return re.fullmatch(CATEGORY_PATTERN, text) is not None


def bare(category: str) -> str:
    """A category without the taxonomy's leading `user`."""
    return category.removeprefix("user.")


def is_personal(category: str) -> bool:
    """Whether a category is of data about a person: all are that are not said to be otherwise."""
    return _top(category) not in _IMPERSONAL


def is_special(category: str) -> bool:
    """Whether a category is one that the law protects more than others."""
    return _top(category) in _SPECIAL


def covers(wider: str, narrower: str) -> bool:
    """Whether one category holds another: `contact` covers `contact.email`, and itself."""
    wide, narrow = bare(wider), bare(narrower)
    return narrow == wide or narrow.startswith(f"{wide}.")


def _top(category: str) -> str:
    return bare(category).partition(".")[0]
