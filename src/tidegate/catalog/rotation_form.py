"""The form of `rotation`: how a provider's keys are made, listed, tried and deleted, as data."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic.functional_validators import model_validator

from tidegate.catalog.entry import Entry
from tidegate.catalog.fields import (
    CallText,
    FieldName,
    LongDuration,
    Name,
    OneGroup,
    Pointer,
    VariableName,
    check_fixed_headers,
    refuse,
)


class HookEntry(Entry):
    """One request. `{placeholders}` may stand in the path, the query and the body."""

    call: CallText
    """`METHOD /path`, below the provider's `base_path`; or `METHOD https://…`, one of its origins."""
    query: dict[str, str] = {}
    """The query's parameters."""
    headers: Annotated[dict[str, str], AfterValidator(check_fixed_headers)] = {}
    """Headers besides those of the provider."""
    body: dict[str, Any] | None = None
    """A JSON object."""
    form: bool = False
    """Send the body as a form instead."""
    xml: bool = False
    """The answer is XML: places in it are the elements' names, and a list's elements are `member`."""


class NewFieldEntry(Entry):
    """Where an answer has a field that is encoded."""

    at: Pointer
    """Its place."""
    decode: Literal["base64"]
    """How it is encoded."""
    inside: Pointer | None = None
    """Where it is in what was decoded, if that is a JSON document of its own."""


class CreateEntry(HookEntry):
    """The request that makes a key, and where its answer has what."""

    id: Pointer | None = None
    """Where the new key's id is."""
    fields: dict[FieldName, Pointer | NewFieldEntry] = Field(min_length=1)
    """The credential's fields that are new, and where they are; the others stay as they are."""


class KeysEntry(HookEntry):
    """The request that lists the keys, and where its answer has what."""

    items: Pointer | None = None
    """Where the list is; the whole answer where absent."""
    id: Pointer
    """Where an item has the key's id."""
    name: Pointer | None = None
    """Where an item has the key's name; absent where keys bear none."""
    created: Pointer | None = None
    """Where an item says when the key was made."""
    last_used: Pointer | None = None
    """Where an item says when the key was used last."""
    suffix: Pointer | None = None
    """Where an item shows the last characters of the key."""
    next: Pointer | None = None
    """Where an answer has the cursor of the next page, or its address."""
    next_as: str = ""
    """The query parameter that the cursor goes into; absent where `next` is an address."""
    page_as: str = ""
    """The query parameter that has the page's number, where pages are numbered."""
    page_from: int = Field(default=1, ge=0, le=1)
    """The first page's number."""

    @model_validator(mode="after")
    def _one_way_of_paging(self) -> KeysEntry:
        if self.next_as and not self.next:
            refuse("`next_as` needs `next`: where an answer has the cursor")
        if self.next and self.page_as:
            refuse("pages are numbered, or have a cursor", "keep `page_as` or `next`")
        return self


class LastUsedEntry(HookEntry):
    """The request that asks when a key was used last."""

    at: Pointer
    """Where the answer has the moment."""


class IdentifyEntry(Entry):
    """How the id of the key in use is known."""

    field: FieldName | None = None
    """The field that is the id, holds it, or ends with what the list shows of the key."""
    pattern: OneGroup = ""
    """An expression whose one group is the id within the field."""
    call: CallText | None = None
    """A request that is made with the key in use, and tells its id."""
    id: Pointer | None = None
    """Where its answer has the id."""
    only: bool = False
    """It is the one key in the list, where there is no other."""

    @model_validator(mode="after")
    def _one_way(self) -> IdentifyEntry:
        ways = [bool(self.call), bool(self.field), self.only]
        if bool(self.call) != bool(self.id) or ways.count(True) != 1:
            refuse(
                "the id is in a `field`, told by a `call` and where its answer has the `id`, or "
                "that of the `only` key"
            )
        if self.pattern and not self.field:
            refuse("`pattern` is for a `field`")
        return self


class AdminEntry(Entry):
    """A connection at another provider."""

    provider: Name
    """That provider, as declared."""
    connection: Name = "default"
    """The connection's name there."""


def _check_value(value: Any) -> Any:
    if not isinstance(value, str | list | dict):
        refuse("a value is a text, a list or a mapping", 'a number stands in quotes: `"1"`')
    return cast("Any", value)


Value = Annotated[
    Any,
    AfterValidator(_check_value),
    WithJsonSchema({"type": ["string", "array", "object"]}),
]


class RotationEntry(Entry):
    """How a provider's credentials are replaced."""

    overlap_class: Literal["A", "B", "C", "D"] = "D"
    """A: many keys at a time; B: two; C: the new one ends the old one; D: a person makes it."""
    by: Name | AdminEntry | None = None
    """The connection of the same client whose key may manage keys; `self`: the key itself."""
    create: CreateEntry | None = None
    """Makes a key."""
    keys: KeysEntry | None = None
    """Lists the keys."""
    deactivate: HookEntry | None = None
    """Ends the key `{id}` before it is deleted, where a provider deletes none that is active."""
    delete: HookEntry | None = None
    """Deletes the key `{id}`."""
    test: HookEntry | None = None
    """A call that changes nothing, to try a new key with."""
    last_used: LastUsedEntry | None = None
    """Asks when the key `{id}` was used last, where the list does not say it."""
    identify: IdentifyEntry | None = None
    """How the id of the key in use is known."""
    id_pattern: OneGroup = ""
    """An expression whose one group is a key's id within what an answer says."""
    parameters: dict[VariableName, str] = {}
    """What else the requests need, and what that is: further placeholders."""
    values: dict[VariableName, Value] = {}
    """Their values: texts, lists, or mappings that fill a whole place of a body."""
    values_of: dict[Name, dict[VariableName, Value]] = {}
    """Their values for single clients."""
    keys_max: int | None = Field(default=None, ge=2, le=10_000)
    """How many keys there may be; two in class B."""
    overlap: LongDuration = 600_000
    """For how long at least the old key stays good beside the new one."""
    propagation: LongDuration = 60_000
    """How long a new key may take to be known everywhere; no more than a minute is waited for."""
    lifetime: LongDuration | None = None
    """How long a new key is asked to live: `{expires_on}`, `{expires_at}` and `{lifetime_s}`."""
    max_age: LongDuration | None = None
    """How old a credential may become: 90 days, or 365 where only a person can replace it."""
    rotate_every: LongDuration | None = None
    """Replace it by itself whenever it is this old."""
    console: str = ""
    """Where the provider's console is."""
    steps: list[str] = []
    """What a person does there to make a key."""
    revoke_steps: list[str] = []
    """What a person does there to end the old one."""
