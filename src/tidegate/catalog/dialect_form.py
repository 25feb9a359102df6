"""The form of a dialect: how a provider's answers speak of its limits, as data."""

from __future__ import annotations

import re
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.functional_validators import model_validator

from tidegate.catalog.entry import Entry
from tidegate.catalog.errors import shown
from tidegate.catalog.fields import Duration, refuse
from tidegate.domain.dialect import TimeForm

_PLACE = re.compile(r"(?=.)([!#$%&'+.^_`|~0-9A-Za-z-]{0,64})((/([^/~]|~[01]){0,64}){0,8})")
_SCOPE = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"


def _check_place(text: str) -> str:
    if not _PLACE.fullmatch(text):
        refuse(
            f"{shown(text)} is not a place in an answer",
            "a field's name, a JSON Pointer like `/error/code`, or both for JSON in a field",
        )
    return (
        text.lower()
        if "/" not in text
        else text.partition("/")[0].lower() + text[text.index("/") :]
    )


def _listed(value: Any) -> Any:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


Place = Annotated[str, AfterValidator(_check_place)]
Scope = Annotated[str, Field(pattern=_SCOPE)]
Texts = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=200)]],
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
]


class TimedEntry(Entry):
    """A place that says a time."""

    at: Place
    """Where."""
    form: Annotated[
        list[TimeForm], BeforeValidator(_listed, json_schema_input_type=TimeForm | list[TimeForm])
    ]
    """How it is written; of several forms, the first that fits."""


class BudgetEntry(Entry):
    """One quota that answers speak of."""

    scope: Scope | None = None
    """The quota's name."""
    scope_at: Place | None = None
    """Where an answer has the quota's name."""
    limit: Place | None = None
    """Where it says how much there is."""
    remaining: Place | None = None
    """Where it says how much is left."""
    used: Place | None = None
    """Where it says how much is used."""
    used_of_limit: Place | None = None
    """Where it says both, as `18/5000`."""
    percent: list[Place] = []
    """Where it says how many percent are used; the highest counts."""
    reset: TimedEntry | None = None
    """Where it says when there is all of it again."""
    cost: Place | None = None
    """Where it says what the call came to."""
    shared: bool = False
    """It counts the calls for other clients, too: its fields go no further than Tidegate."""

    @model_validator(mode="after")
    def _says_something(self) -> BudgetEntry:
        said = (self.limit, self.remaining, self.used, self.used_of_limit, self.cost)
        if not any(said) and not self.percent:
            refuse(
                "nothing is said of this quota", "name `remaining`, `used_of_limit` or `percent`"
            )
        return self


class SignEntry(Entry):
    """What an answer looks like; all that is given must be so."""

    status: Annotated[
        list[Annotated[int, Field(ge=200, le=599)]],
        BeforeValidator(_listed, json_schema_input_type=int | list[int]),
    ] = []
    """Its status: one, or one of several; any where absent."""
    at: Place | None = None
    """Something stands here."""
    equals: Texts = []
    """What stands there is this, or one of these."""
    has: Texts = []
    """What stands there, or in the body, has this or one of these in it, in any case of letters."""
    wait: Duration | None = None
    """How long to stay away where the answer does not say."""
    scope: Scope | None = None
    """Which quota was met."""
    scope_at: Place | None = None
    """Where the answer names the quota that was met."""

    @model_validator(mode="after")
    def _looks_somehow(self) -> SignEntry:
        if not self.status and self.at is None and not self.has:
            refuse("every answer looks like this", "give a `status`, `at` or `has`")
        if self.equals and self.at is None:
            refuse("`equals` is for what stands at a place", "say where, by `at`")
        return self


class DialectEntry(Entry):
    """How a provider's answers speak of its limits."""

    budgets: list[BudgetEntry] = []
    """The quotas that answers speak of."""
    waits: list[TimedEntry] = [TimedEntry(at="retry-after", form=["retry_after"])]
    """Where an answer says when to come again; the first that does counts."""
    throttled: list[SignEntry] = [SignEntry(status=[429])]
    """The signs that a call was refused for a limit: any of them."""
    unless: list[SignEntry] = []
    """The signs that it was not, whatever the others say."""
    ietf: bool = False
    """`RateLimit` and `RateLimit-Policy`, as the IETF's draft has them."""


class ProviderLimitsEntry(Entry):
    """What a provider's answers say of its limits."""

    dialect: Annotated[str | DialectEntry, Field(union_mode="left_to_right")]
    """The name of a built-in dialect (`github`, `ietf`), or one of your own."""
