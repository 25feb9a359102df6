"""Say how a provider's keys are made, listed, tested and deleted, as data. No secret is in here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

DAY_MS: Final = 24 * 3_600_000


class RotationState(Enum):
    """How far a rotation has come; see docs/guides/rotation.md."""

    INTENT = "intent"
    CREATED = "created"
    TESTED = "tested"
    PROMOTED = "promoted"
    DRAINING = "draining"
    REVOKED = "revoked"
    DONE = "done"
    ROLLED_BACK = "rolled_back"
    UNKNOWN = "unknown"
    MANUAL = "manual"


class OverlapClass(Enum):
    """How many keys a provider lets live beside each other."""

    MANY = "A"
    TWO_SLOTS = "B"
    IN_PLACE = "C"
    """The new key is the end of the old one, at once."""
    CONSOLE = "D"
    """Only a person can make one, in the provider's console."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One request to the provider. `{placeholders}` stand in `path`, `query`, `headers` and `body`.

    `body` is JSON text, also where it is sent as a form. `origin` is the number of the origin, of
    the provider that the credential it is made with belongs to. `answer` is what comes back.
    """

    method: str
    path: str
    origin: int = 0
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    encoding: Literal["json", "form"] = "json"
    answer: Literal["json", "xml"] = "json"


@dataclass(frozen=True, slots=True)
class NewField:
    """Where an answer has a field of the new credential (a JSON Pointer, RFC 6901).

    `inside`: what is decoded is a JSON document of its own, and this is where it has the field.
    """

    field: str
    at: str
    decode: Literal["text", "base64"] = "text"
    inside: str = ""


@dataclass(frozen=True, slots=True)
class CreateHook:
    """Makes a key. `id_at` empty: the answer names none, and `identify` finds it."""

    hook: Hook
    fields: tuple[NewField, ...]
    id_at: str = ""


@dataclass(frozen=True, slots=True)
class ListHook:
    """Lists the keys. `name_at` empty: the provider's keys bear no names.

    `next_at` is where an answer has the cursor of the next page, which goes into the query
    parameter `next_as`; without a name it is the next page's address, of which the query is used.
    `page_as` is the query parameter that has the page's number, beginning with `page_from`.
    """

    hook: Hook
    items_at: str
    id_at: str
    name_at: str = ""
    created_at: str = ""
    last_used_at: str = ""
    suffix_at: str = ""
    """Where an item shows the last characters of its key."""
    next_at: str = ""
    next_as: str = ""
    page_as: str = ""
    page_from: int = 1


@dataclass(frozen=True, slots=True)
class LastUsedHook:
    """Asks when a key was used last; nothing at `at` means never."""

    hook: Hook
    at: str


@dataclass(frozen=True, slots=True)
class Identify:
    """How the id of the key in use is known: by a field, by asking with it, or by the list.

    `pattern` has one group, the id within the field. `id_at` belongs to `hook`. Where both are
    absent the list's `suffix_at` tells. `only`: it is the one in the list, where there is no other.
    """

    field: str = ""
    pattern: str = ""
    hook: Hook | None = None
    id_at: str = ""
    only: bool = False


@dataclass(frozen=True, slots=True)
class JsonText:
    """A value that is a list or mapping of its own, as JSON; it fills a whole place of a body."""

    text: str


ParameterValue = str | tuple[str, ...] | JsonText


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a hook needs to be told besides (a project, the new key's scopes), and the value.

    `special` are single clients' own values.
    """

    name: str
    description: str
    value: ParameterValue | None = None
    special: tuple[tuple[str, ParameterValue], ...] = ()

    def value_for(self, client: str) -> ParameterValue | None:
        """The client's own value, or the one for all."""
        return dict(self.special).get(client, self.value)


@dataclass(frozen=True, slots=True)
class Rotation:
    """How a provider's credentials are replaced.

    `by` names the connection whose credential makes the requests, at `by_provider` where that is
    another provider; empty: the rotated credential itself. `id_pattern` has one group, the key's id
    within what an answer says. `deactivate` comes before `delete`, for a provider that deletes no
    key that is active. `lifetime_ms` is how long a new key is asked to live.
    """

    overlap_class: OverlapClass = OverlapClass.CONSOLE
    by: str = ""
    by_provider: str = ""
    create: CreateHook | None = None
    list: ListHook | None = None
    deactivate: Hook | None = None
    delete: Hook | None = None
    test: Hook | None = None
    last_used: LastUsedHook | None = None
    identify: Identify | None = None
    id_pattern: str = ""
    parameters: tuple[Parameter, ...] = ()
    keys_max: int | None = None
    overlap_ms: int = 600_000
    propagation_ms: int = 60_000
    lifetime_ms: int | None = None
    max_age_ms: int | None = None
    rotate_every_ms: int | None = None
    steps: tuple[str, ...] = ()
    revoke_steps: tuple[str, ...] = ()
    console: str = ""

    @property
    def has_hook(self) -> bool:
        """Whether Tidegate can make a new key by itself."""
        return self.overlap_class is not OverlapClass.CONSOLE and self.create is not None

    @property
    def age_max_ms(self) -> int:
        """How old a credential may become: 90 days where a hook replaces it, 365 by hand."""
        if self.max_age_ms is not None:
            return self.max_age_ms
        return (90 if self.has_hook else 365) * DAY_MS


BY_HAND: Final = Rotation()
"""What holds where nothing is declared: a person makes the new key."""
