"""What of a request goes to a provider, and in which form: the policies of operations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from tidegate.domain.category import NONE

LegalBasis = Literal[
    "consent",
    "contract",
    "legal_obligation",
    "vital_interests",
    "public_task",
    "legitimate_interests",
]
"""Article 6(1) of the GDPR, (a) to (f)."""

Unprotected = Literal["observe", "refuse"]
"""What becomes of calls of operations that have no policy."""

BODY_BYTES: int = 1024**2
"""How large a body that a policy reads may be where nothing else is said."""
BODY_BYTES_MAX: int = 10 * 1024**2


@dataclass(frozen=True, slots=True)
class Plain:
    """Let a field go as it is, leave it out, or refuse the call that has it."""

    kind: Literal["allow", "drop", "reject"]


@dataclass(frozen=True, slots=True)
class Mask:
    """Put `*` in the place of characters, except the last few; never more than half are kept."""

    keep: int = 0
    kind: Literal["mask"] = "mask"


@dataclass(frozen=True, slots=True)
class Generalise:
    """Say less exactly: a date's month or year, an address's network, a number with few decimals."""

    to: Literal["month", "year", "ip", "geo"]
    decimals: int = 0
    """For `geo`."""
    kind: Literal["generalise"] = "generalise"


Action = Plain | Mask | Generalise


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What becomes of the fields that a selector finds.

    `at` is the selector as it is written: `body $.email`, `form metadata[*]`, `query name`. `category`
    is a dotted word of `tidegate.domain.category`; empty where none is declared. `repeated`: the field
    may stand more than once where its place has names (a form, a query, headers).
    """

    at: str
    do: Action
    category: str = ""
    repeated: bool = False

    @property
    def leaves(self) -> bool:
        """Whether the provider gets something of the field."""
        return self.do.kind not in {"drop", "reject"}


@dataclass(frozen=True, slots=True)
class Protection:
    """The policy of some operations: no rule, no send.

    `operations` are pairs of a provider and a pattern of its operations (an id, or `METHOD /path`,
    with `*`). `categories` are those of data that the operations carry besides what fields say. Until
    `report_until` (in UTC) what a call breaks is recorded and the call goes as it is.
    """

    name: str
    operations: tuple[tuple[str, str], ...]
    purpose: str
    fields: tuple[FieldRule, ...] = ()
    legal_basis: LegalBasis | None = None
    subjects: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    unknown_fields: Literal["reject", "drop"] = "reject"
    report_until: date | None = None
    body_bytes: int = BODY_BYTES

    @property
    def sends(self) -> tuple[str, ...]:
        """The categories of all that the provider may get, each once, in order."""
        of_fields = (rule.category for rule in self.fields if rule.leaves)
        return tuple(
            dict.fromkeys(one for one in (*self.categories, *of_fields) if one not in {"", NONE})
        )
