"""The form of `protection`: what of a request goes to a provider, and in which form."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic.functional_validators import model_validator

from tidegate.catalog.encrypting_form import EncryptDo
from tidegate.catalog.entry import Entry
from tidegate.catalog.errors import shown
from tidegate.catalog.fields import Date, LongDuration, Name, Size, refuse
from tidegate.catalog.protecting_form import PROTECTING, HashDo, TokeniseDo
from tidegate.catalog.selectors import WrongSelectorError, read_selector
from tidegate.catalog.xml_names import PREFIX_PATTERN, wrong_namespaces
from tidegate.domain.category import CATEGORY_PATTERN, is_category
from tidegate.domain.protection import (
    BODY_BYTES,
    BODY_BYTES_MAX,
    CONSENT_AGE_S_MAX,
    Detector,
    LegalBasis,
)
from tidegate.domain.purpose import is_advertising

FIELDS_MAX = 1_000


def _check_category(text: str) -> str:
    if not is_category(text):
        refuse(
            f"{shown(text)} is not a dotted word",
            "write it in lower case, the most general first, like `contact.email`",
        )
    return text


TO_BE_SAID = "TODO"
"""What a draft has where a person must say something."""


def _check_purpose(text: str) -> str:
    if text == TO_BE_SAID:
        refuse(
            "this draft does not say yet what the data is sent for",
            "put the purpose in the place of `TODO`, like `payment` or `marketing.email`",
        )
    return _check_category(text)


def _check_at(text: str) -> str:
    try:
        read_selector(text)
    except WrongSelectorError as wrong:
        refuse(str(wrong), wrong.hint)
    return text


def _check_namespaces(namespaces: dict[str, str]) -> dict[str, str]:
    wrong = wrong_namespaces(namespaces)
    if wrong:
        refuse(*wrong)
    return namespaces


Category = Annotated[
    str,
    AfterValidator(_check_category),
    WithJsonSchema({"type": "string", "pattern": f"^{CATEGORY_PATTERN}$"}),
]
Purpose = Annotated[
    str,
    AfterValidator(_check_purpose),
    WithJsonSchema({"type": "string", "pattern": f"^{CATEGORY_PATTERN}$"}),
]
SelectorText = Annotated[str, AfterValidator(_check_at)]


Namespaces = Annotated[
    dict[str, str],
    AfterValidator(_check_namespaces),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": f"^{PREFIX_PATTERN}$"},
            "additionalProperties": {"type": "string"},
        }
    ),
]


class MaskDo(Entry):
    """Put `*` in the place of characters, except the last few."""

    mask: int = Field(ge=0, le=16)
    """How many of the last characters stay; never more than half."""


class GeoEntry(Entry):
    """A coordinate with fewer decimals."""

    geo: int = Field(ge=0, le=6)
    """How many; 2 are about a kilometre."""


class GeneraliseDo(Entry):
    """Say less exactly."""

    generalise: Annotated[
        Annotated[Literal["month", "year", "ip"], Tag("word")] | Annotated[GeoEntry, Tag("geo")],
        Discriminator(lambda value: "word" if isinstance(value, str) else "geo"),
    ]
    """`month` or `year` of a date, the network of an IP address (/24, /48), or `{geo: 2}`."""


DoWord = Literal["allow", "drop", "reject", "mask"]
_DO_FORMS = {"mask": "MaskDo", "generalise": "GeneraliseDo"} | {
    key: form.__name__ for key, form in PROTECTING.items()
}


def _do_form(value: Any) -> str | None:
    if isinstance(value, str):
        return "DoWord"
    if isinstance(value, dict):
        return next((form for key, form in _DO_FORMS.items() if key in value), None)
    return type(value).__name__ if isinstance(value, Entry) else None


DoForm = Annotated[
    Annotated[DoWord, Tag("DoWord")]
    | Annotated[MaskDo, Tag("MaskDo")]
    | Annotated[GeneraliseDo, Tag("GeneraliseDo")]
    | Annotated[HashDo, Tag("HashDo")]
    | Annotated[TokeniseDo, Tag("TokeniseDo")]
    | Annotated[EncryptDo, Tag("EncryptDo")],
    Discriminator(
        _do_form,
        custom_error_type="do_form",
        custom_error_message=(
            "what is done is `allow`, `drop`, `reject`, `mask`, or a mapping with `mask`, "
            "`generalise`, `hash`, `tokenise` or `encrypt`"
        ),
    ),
]


class FieldEntry(Entry):
    """What becomes of the fields that a selector finds; the most specific one holds."""

    at: SelectorText
    """Where: `body $.a[*].b` (JSONPath), `body /a/b` (JSON Pointer), `form name`, `form name[*]`,
    `part name`, `part name filename`, `part name $.a`, `file *`, `graphql name`,
    `graphql $.a`, `graphql (argument)`, `csv column`, `xml /a/b`, `xml /a/@b`, `query name`, `header name`,
    `path name` or `property Schema.name`."""
    category: Category | None = None
    """Of which kind the data is, as a dotted word (`contact.email`); `none` says nothing of anybody."""
    do: DoForm
    """What becomes of it."""
    repeated: bool = False
    """It may stand more than once in a form, among parts, in XML, in a query or the header."""


class ProtectionBoundsEntry(Entry):
    """How much a policy reads of a request."""

    body: Size = BODY_BYTES
    """Bytes of a body, at most 10MiB; a larger one is refused."""

    @model_validator(mode="after")
    def _fits(self) -> ProtectionBoundsEntry:
        if self.body > BODY_BYTES_MAX:
            refuse("a body that a policy reads has at most 10MiB")
        return self


class ProtectionEntry(Entry):
    """The policy of some operations: of their requests nothing goes out that no rule lets go."""

    name: Name | None = None
    """How problems call this policy; its place in the file where absent."""
    operations: list[str] = Field(min_length=1)
    """`PROVIDER:OPERATION`, the operation by id or `METHOD /path`, either with `*`."""
    purpose: Purpose
    """What the data is sent for, as a dotted word (`payment`, `marketing.email`)."""
    legal_basis: LegalBasis | None = None
    """Why it may be (article 6 of the GDPR)."""
    subjects: list[Category] = []
    """Whom it is about (`customer`, `employee`)."""
    categories: list[Category] = []
    """Of which kinds the data is that the operations carry, besides what `fields` say."""
    namespaces: Namespaces = {}
    """Of XML: by which prefix rules name each; that of `""` is of elements without a prefix."""
    fields: list[FieldEntry] = Field(default=[], max_length=FIELDS_MAX)
    """What becomes of each field."""
    unknown_fields: Literal["reject", "drop"] = "reject"
    """What becomes of a field that no rule is for: the call is refused, or it goes without."""
    report_until: Date | None = None
    """Until this day calls go as they are, and what would become of them is recorded."""
    assert_absent: list[Detector] = ["pan", "secret"]
    """What must not stand in fields that go out in clear and were declared for something else."""
    consent: Literal["required"] | None = None
    """What is personal goes only with the consent of whom it is about (`Tidegate-Consent`); advertising
    asks for it anyway."""
    consent_max_age: LongDuration = CONSENT_AGE_S_MAX * 1000
    """How old their decision may be (`90d`), 395d at most."""
    without_consent: Literal["refuse", "drop"] = "refuse"
    """What becomes of a call without it: it is refused, or goes without what is personal."""
    tcf_purposes: list[Annotated[int, Field(ge=1, le=24)]] | None = None
    """To which purposes of the IAB's framework a TCF string must consent; for advertising 1, 3, 4 and 7."""
    tcf_vendor: int | None = Field(default=None, ge=1, le=65_535)
    """The provider's number on the IAB's list of vendors: a TCF string must consent to it, and be there."""
    signals: Literal["google_ads", "google_data_manager", "meta"] | None = None
    """By which product's words the provider is told of it, whatever the application wrote."""
    bounds: ProtectionBoundsEntry = ProtectionBoundsEntry()
    """How much is read."""

    @property
    def asks_for_consent(self) -> bool:
        """Whether it is asked for."""
        return self.consent is not None or is_advertising(self.purpose)

    @model_validator(mode="after")
    def _asks(self) -> ProtectionEntry:
        if self.consent_max_age > CONSENT_AGE_S_MAX * 1000:
            refuse("a decision is asked for again after 395d (13 months) at most", "write `395d`")
        idle = {
            "consent_max_age",
            "signals",
            "tcf_purposes",
            "tcf_vendor",
            "without_consent",
        } & self.model_fields_set
        if idle and not self.asks_for_consent:
            refuse(
                f"`{min(idle)}` is for policies that ask for consent",
                "add `consent: required`, or leave it out",
            )
        return self
