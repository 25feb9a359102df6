"""Say of which kind a field probably is, by its name and by what stood in it: `field_words.yaml`, as data."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, Literal, cast

from tidegate.catalog import ConfigErrors
from tidegate.catalog.yaml_source import read_yaml

_FILE = files("tidegate.privacy") / "field_words.yaml"
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True, slots=True)
class FieldWords:
    """One kind of field. Names are words in their order."""

    category: str
    names: tuple[tuple[str, ...], ...]
    exact: frozenset[tuple[str, ...]]
    formats: frozenset[str]
    looks: frozenset[str]
    do: Literal["allow", "reject"]

    def is_called(self, words: tuple[str, ...]) -> bool:
        """Whether a field of these words is probably one."""
        return words in self.exact or any(words[-len(name) :] == name for name in self.names)


@lru_cache(maxsize=1)
def field_words() -> tuple[FieldWords, ...]:
    """All kinds, in the order in which they are tried."""
    source = read_yaml(_FILE.read_bytes(), _FILE.name)
    if source.errors:
        raise ConfigErrors(source.errors)
    written = cast("dict[str, dict[str, Any]]", source.root)
    return tuple(
        FieldWords(
            category=said["category"],
            names=tuple(words_of(name) for name in said.get("names", ())),
            exact=frozenset(words_of(name) for name in said.get("exact", ())),
            formats=frozenset(said.get("formats", ())),
            looks=frozenset(said.get("looks", ())),
            do=said.get("do", "allow"),
        )
        for said in written.values()
    )


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, however it parts them: `billingEmail`, `billing_email`, `billing email`."""
    return tuple(word.lower() for word in _WORDS.findall(name))


def kind_of(
    names: Collection[str], form: str = "", looks: Collection[str] = ()
) -> FieldWords | None:
    """The kind of a field: by what values looked like, else its name or format; None: nothing is known.

    `names` are those of the field and of what it stands in, the outermost first.
    """
    kinds = field_words()
    words = tuple(word for name in names for word in words_of(name))
    seen = next((one for one in kinds if one.looks & frozenset(looks)), None)
    called = next((one for one in kinds if one.is_called(words) or form in one.formats), None)
    return seen or called
