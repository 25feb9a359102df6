"""The form of who answers for data, and of how a provider is asked to forget somebody."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from tidegate.catalog.entry import Entry
from tidegate.catalog.errors import shown
from tidegate.catalog.fields import refuse
from tidegate.domain.category import is_category

TEXT_MAX = 2_000
ANY_PURPOSE = "*"

_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
_PLACE = re.compile(r"(path|query|form) [^\s]+|body (/[^\s]*)+")
_HOLE = re.compile(r"\{([^{}]*)\}")
_HOLES = ("identifier", "kind", "object")

Text = Annotated[str, Field(min_length=1, max_length=TEXT_MAX)]


def _check_email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        refuse(f"{shown(text)} is no e-mail address")
    return text


def _check_purpose(text: str) -> str:
    if text != ANY_PURPOSE and not is_category(text):
        refuse(f"{shown(text)} is no purpose", "write a policy's `purpose`, or `*` for all others")
    return text


def _check_kind(text: str) -> str:
    if not _KIND.fullmatch(text):
        refuse(
            f"{shown(text)} is no kind of subject", "lower-case letters and digits, like `email`"
        )
    return text


def _check_place(text: str) -> str:
    if not _PLACE.fullmatch(text):
        refuse(
            f"{shown(text)} is no place in a request",
            "write `path NAME`, `query NAME`, `form NAME` or `body /json/pointer`",
        )
    return text


def _check_template(text: str) -> str:
    for hole in _HOLE.findall(text):
        if hole not in _HOLES:
            refuse(
                f"{shown('{' + hole + '}')} stands for nothing here",
                "write `{identifier}`, `{kind}` or `{object}`",
            )
    return text


class ContactEntry(Entry):
    """Whom to write to."""

    name: Text | None = None
    """A person's or an office's name."""
    email: Annotated[str, AfterValidator(_check_email)] | None = None
    """An e-mail address."""
    phone: Text | None = None
    """A telephone number."""
    address: Text | None = None
    """A postal address, on one line."""


def _email_alone(value: Any) -> Any:
    return {"email": value} if isinstance(value, str) else value


ContactForm = Annotated[
    ContactEntry, BeforeValidator(_email_alone, json_schema_input_type=ContactEntry | str)
]


class PartyEntry(Entry):
    """Who answers for data, for the records of processing (GDPR Art. 30)."""

    legal_name: Text | None = None
    """The name under which it is registered."""
    contact: ContactForm | None = None
    """Whom an authority writes to: an e-mail address, or a mapping."""
    dpo: ContactForm | None = None
    """The data protection officer."""
    representative: ContactForm | None = None
    """The representative in the Union (Art. 27), where one is needed."""
    retention: dict[Annotated[str, AfterValidator(_check_purpose)], Text] = {}
    """When data is erased, in your own words, by purpose; `*` for all others."""
    security: list[Text] = []
    """Technical and organisational measures (Art. 32), a sentence each."""


class ErasureEntry(Entry):
    """How the provider is asked to forget somebody."""

    operation: Annotated[str, Field(min_length=1)]
    """Its operation for that: an id, or `METHOD /path`."""
    values: Annotated[
        dict[
            Annotated[str, AfterValidator(_check_place)],
            Annotated[str, AfterValidator(_check_template)],
        ],
        Field(alias="with", min_length=1),
    ]
    """What goes where: `{"body /email": "{identifier}"}`. `{object}` is the provider's own id."""
    kinds: list[Annotated[str, AfterValidator(_check_kind)]] = []
    """For which kinds of subjects; for all where absent."""
    gone: list[Annotated[int, Field(ge=400, le=499)]] = [404, 410]
    """The statuses, besides 2xx, by which it says that it has nothing."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, dict | ErasureEntry) else value


ErasureForms = Annotated[
    list[ErasureEntry],
    BeforeValidator(_listed, json_schema_input_type=ErasureEntry | list[ErasureEntry]),
]
SuppressedWord = Literal["refuse", "report"]
