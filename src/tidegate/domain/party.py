"""Who answers for data: the organisation, its clients, and how a provider is asked to forget somebody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom to write to: a name and at least one way to reach them."""

    name: str = ""
    email: str = ""
    phone: str = ""
    address: str = ""

    @property
    def is_known(self) -> bool:
        """Whether anything is declared."""
        return any((self.name, self.email, self.phone, self.address))


@dataclass(frozen=True, slots=True)
class Party:
    """A controller or a processor, as GDPR Art. 30(1)(a) and 30(2)(a) want it named.

    `retention` is the time limit for erasure (Art. 30(1)(f)) by purpose, `*` for all others; `security`
    are the technical and organisational measures (Art. 32(1)), each one sentence.
    """

    legal_name: str = ""
    contact: Contact = Contact()
    dpo: Contact = Contact()
    representative: Contact = Contact()
    retention: tuple[tuple[str, str], ...] = ()
    security: tuple[str, ...] = ()

    def retention_of(self, purpose: str) -> str:
        """The time limit for a purpose; empty where none is declared."""
        limits = dict(self.retention)
        return limits.get(purpose, limits.get("*", ""))


NOBODY: Final = Party()
"""Of whom nothing is declared."""

Suppressing = Literal["refuse", "report"]
"""What becomes of a call about a suppressed subject."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """How a provider is asked to forget somebody.

    `values` are places in the request (`path NAME`, `query NAME`, `form NAME`, `body /pointer`) with what
    goes there: text in which `{identifier}`, `{kind}` and `{object}` (the provider's own id, as the ledger
    knows it) stand for what they say. It is for subjects of these `kinds`; for all where there are none.
    `gone` are the statuses, besides 2xx, by which the provider says that it has nothing (any more).
    """

    operation: str
    values: tuple[tuple[str, str], ...]
    kinds: tuple[str, ...] = ()
    gone: tuple[int, ...] = (404, 410)

    def is_for(self, kind: str) -> bool:
        """Whether it erases subjects of this kind."""
        return not self.kinds or kind in self.kinds

    @property
    def needs_object(self) -> bool:
        """Whether the provider's own id of the subject is wanted."""
        return any("{object}" in text for _, text in self.values)
