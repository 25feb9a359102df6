"""The forms of what is done with a field so that its value does not go out in clear."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, WithJsonSchema
from pydantic.functional_validators import model_validator

from tidegate.catalog.encrypting_form import EncryptDo
from tidegate.catalog.entry import Entry
from tidegate.catalog.errors import did_you_mean, shown
from tidegate.catalog.fields import refuse
from tidegate.catalog.hash_profiles import KEYED, hash_profiles, words
from tidegate.catalog.selectors import WrongSelectorError, read_selector

FIELD_NAME_MAX = 128


def _check_of(text: str) -> str:
    product, _, kind = text.partition(".")
    profile = hash_profiles().get(product)
    if profile is not None and kind in profile.in_clear:
        refuse(f"{profile.title} wants {shown(kind)} as it is", "write `do: allow`")
    if profile is None or kind not in profile.kinds:
        refuse(
            f"there is no hash {shown(text)}",
            did_you_mean(text, words(), otherwise="write `PRODUCT.KIND`, like `meta.email`"),
        )
    return text


def _check_calling_code(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        refuse(f"{shown(text)} is no calling code", 'write its digits, like `"49"`')
    return text


CallingCode = Annotated[
    str,
    AfterValidator(_check_calling_code),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,3}$"}),
]
HashOf = Annotated[str, AfterValidator(_check_of)]


class HashEntry(Entry):
    """A hash, and what is special about the values that it is made of."""

    of: HashOf
    """`PRODUCT.KIND`: `meta.email`, `google_data_manager.phone`, `keyed.pan` …"""
    already_hashed: Literal["refuse", "allow"] = "refuse"
    """`allow` a value that is a hash already to go as it is."""
    calling_code: CallingCode | None = None
    """Of the country that telephone numbers are of which say none (`49`)."""
    numbers: Literal["international"] | None = None
    """Telephone numbers without `+` begin with their calling code."""
    field: str | None = Field(default=None, min_length=1, max_length=FIELD_NAME_MAX)
    """What a keyed hash is bound to besides client and provider; the rule's `at` where absent."""
    root: int = Field(default=1, ge=1)
    """Of a keyed hash: the number of the root that keys it. With another one, all hashes are others."""

    @model_validator(mode="after")
    def _fits(self) -> HashEntry:
        product, _, kind = self.of.partition(".")
        steps = hash_profiles()[product].kinds[kind]
        if (self.calling_code or self.numbers) and "phone" not in steps:
            refuse(f"{shown(self.of)} is no telephone number", "leave `calling_code` out")
        if self.calling_code and self.numbers:
            refuse("`calling_code` and `numbers` say two things of one number", "keep one of them")
        if product == KEYED and self.already_hashed == "allow":
            refuse("what anybody could have hashed is no keyed hash", "leave `already_hashed` out")
        if product != KEYED and (self.root != 1 or self.field is not None):
            refuse(f"{shown(self.of)} is made without a key", "`root` and `field` go with `keyed`")
        return self


class HashDo(Entry):
    """Put a hash in the value's place, by which the provider can match it."""

    hash: Annotated[
        Annotated[HashOf, Tag("of")] | Annotated[HashEntry, Tag("entry")],
        Discriminator(lambda value: "of" if isinstance(value, str) else "entry"),
    ]
    """`PRODUCT.KIND`, or a mapping with `of` and more."""


def _check_restored_at(text: str) -> str:
    try:
        selector = read_selector(text)
    except WrongSelectorError as wrong:
        refuse(str(wrong), wrong.hint)
    if selector.kind != "body":
        refuse(f"{shown(text)} is not in an answer's body", "write `body $.email`")
    return text


class RestoreEntry(Entry):
    """Where in the answers of some operations tokens become values again."""

    operations: list[str] = Field(min_length=1)
    """`OPERATION` or `PROVIDER:OPERATION`, by id or `METHOD /path`, either with `*`."""
    at: Annotated[str, AfterValidator(_check_restored_at)]
    """Where in the answer's body: `body $.data[*].email`."""


RestoreForm = Annotated[
    Annotated[str, Tag("operation")] | Annotated[RestoreEntry, Tag("place")],
    Discriminator(lambda value: "operation" if isinstance(value, str) else "place"),
]


class TokeniseDo(Entry):
    """Put a token in the value's place, which the gateway can turn into the value again."""

    tokenise: Literal["aead", "siv", "ff1"]
    """`aead`: no two are equal; `siv`: equal values have equal ones; `ff1`: digits of the same length."""
    field: str | None = Field(default=None, min_length=1, max_length=FIELD_NAME_MAX)
    """What the token is bound to besides client and provider; the rule's `at` where absent."""
    root: int = Field(default=1, ge=1)
    """Of `ff1`: the number of the root that keys it; nothing in the digits says which."""
    subject_key: bool = False
    """Of `aead`: whether it is sealed by a key of the person too, whom `Tidegate-Subject` names. Erasing them
    destroys the key, and with it every token of theirs."""
    restore_in: list[RestoreForm] = Field(default=[])
    """Operations in whose answers tokens become values again: at the rule's own place in the body, or
    each with `operations` and `at`."""

    @model_validator(mode="after")
    def _fits(self) -> TokeniseDo:
        if self.tokenise != "ff1" and self.root != 1:
            refuse("a token says itself of which root it is", "`root` goes with `ff1`")
        if self.subject_key and self.tokenise != "aead":
            refuse("only `aead` can end with a person's key", "`subject_key` goes with `aead`")
        return self


PROTECTING: dict[str, Any] = {"hash": HashDo, "tokenise": TokeniseDo, "encrypt": EncryptDo}
"""The forms, by the key that each is known by."""
