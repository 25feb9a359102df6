"""What applications call their credentials, and how these look: read from `known_variables.yaml`.

Data about presets, kept beside them: `tidegate import` recognises variables by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Annotated, Final

from pydantic import Field
from pydantic.functional_validators import AfterValidator

from tidegate.catalog.pasted_secrets import FORM_NAMES
from tidegate.catalog.schema import Entry
from tidegate.catalog.shipped import read_shipped

VALUE_CHARACTERS_MAX: Final = 8 * 1024
"""What is longer is no credential that a header field could carry; its form is not judged."""


def normal_name(text: str) -> str:
    """Write a name as environment variables are: `Stripe secret-key` is `STRIPE_SECRET_KEY`."""
    return re.sub(r"[\s.\-/:]+", "_", text.strip()).upper()


def _check_pattern(pattern: str) -> str:
    re.compile(pattern)
    return pattern


def _check_form(name: str) -> str:
    if name not in FORM_NAMES:
        raise ValueError("pasted_secrets.py has no such form")
    return name


def _check_name(name: str) -> str:
    if name != normal_name(name):
        raise ValueError("names are written as NAME_OF_VARIABLE")
    return name


Pattern = Annotated[str, AfterValidator(_check_pattern)]
VariableNames = list[Annotated[str, AfterValidator(_check_name)]]


class KnownField(Entry):
    """A field of a credential: what its variable is called, and how its value looks."""

    names: VariableNames
    form: Annotated[str, AfterValidator(_check_form)] | None = None
    form_alone: bool = True
    pattern: Pattern | None = None
    described: str = ""

    def accepts(self, text: str, form: str | None) -> bool:
        """Whether a value of that form can be this field's."""
        if self.form is not None and form != self.form:
            return False
        return self.pattern is None or (
            len(text) <= VALUE_CHARACTERS_MAX and bool(re.fullmatch(self.pattern, text))
        )

    @property
    def looks(self) -> str:
        """How its value looks, in words."""
        return self.described or self.form or "any text"


class KnownAddressPart(Entry):
    """A `{variable}` of a provider's address, taken from a variable or from one of the fields."""

    names: VariableNames = Field(default_factory=list)
    of_field: str | None = None
    take: Pattern

    def taken(self, text: str) -> str | None:
        """The part of the address that a value says, if it says one."""
        found = re.fullmatch(self.take, text.strip().lower())
        return found[1] if found else None


class KnownProvider(Entry):
    """What is known of one provider's variables; `title` where there is no preset to ask."""

    title: str = ""
    fields: dict[str, KnownField]
    variables: dict[str, KnownAddressPart] = Field(default_factory=dict)


class KnownVariables(Entry):
    """All that is known."""

    placeholders: dict[str, Pattern]
    providers: dict[str, KnownProvider]

    def placeholder(self, text: str) -> str | None:
        """Say what a value is that stands for another; None where it may be real."""
        if len(text) > VALUE_CHARACTERS_MAX:
            return None
        return next(_matching(text.strip(), self.placeholders.items()), None)


@lru_cache(maxsize=1)
def known_variables() -> KnownVariables:
    """Read the data, once."""
    return KnownVariables.model_validate(read_shipped("known_variables.yaml"))


def _matching(text: str, patterns: Iterable[tuple[str, str]]) -> Iterator[str]:
    return (said for said, pattern in patterns if re.fullmatch(pattern, text))
