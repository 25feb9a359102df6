"""What was sent to whom, field by field and without a value: the ledger's rows, and what is read of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

UNLISTED: Final = "unlisted"
"""The action of a row for a call whose fields no policy lists: something went, nobody says what."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A field of one kind that went, for a client, to an operation of a provider, `count` times.

    `at` is the selector of the rule that let it go (`body $.email`), `action` what was done to it,
    `purpose` that of its policy; each is empty where none is known.
    """

    client: str
    provider: str
    operation: str
    at: str
    category: str
    action: str
    purpose: str
    first: datetime
    last: datetime
    count: int


@dataclass(frozen=True, slots=True)
class SubjectFlow:
    """A flow about one subject. `revisions` are the first and last policy, `objects` ids at the provider."""

    provider: str
    operation: str
    at: str
    category: str
    action: str
    purpose: str
    first: datetime
    last: datetime
    count: int
    revisions: tuple[int, int]
    agreements: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Suppression:
    """A subject of whom a client sends nothing any more. `index` is keyed; nobody is named."""

    client: str
    index: bytes
    kind: str
    since: datetime
    author: str
    request: str
    """The id of the request in whose course it was made."""


RequestKind = Literal["erase", "lift"]


@dataclass(frozen=True, slots=True)
class SubjectRequest:
    """What was done for a subject, with the document that proves it. `digest` is its SHA-256."""

    id: str
    client: str
    index: bytes
    kind: str
    act: RequestKind
    at: datetime
    author: str
    document: str
    digest: str
    is_done: bool
    """Whether everything was done that Tidegate can do."""
