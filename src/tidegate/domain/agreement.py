"""What was agreed with a provider about personal data, and who may lift that for a while.

Agreements are recorded, not declared: they come from contracts, and each has its dates. Whether one
lets a category go is judged in `snapshot.covering`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

Kind = Literal["dpa", "scc", "baa", "ccpa", "pci"]
"""A processing agreement (GDPR Art. 28), standard contractual clauses (Art. 46(2)(c)), a business
associate agreement (45 CFR 164.504(e)), service-provider terms (Cal. Civ. Code 1798.100(d)), or a
responsibility matrix of PCI DSS (12.8.5)."""

Role = Literal["processor", "joint_controller", "controller"]
"""What the provider is, seen from the client: GDPR Art. 4(7), 4(8) and 26."""

TransferTool = Literal["adequacy", "scc", "bcr", "certification", "code_of_conduct"]
"""By what personal data may go to a third country: GDPR Art. 45 and 46(2)."""

ALL: Final = "*"
"""Every client, in an agreement's `clients`."""

OVERRIDE_MAX: Final = timedelta(hours=72)
"""How long an override may last; also how long a question for one waits for its answer."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """By what data may go to another region, and where that was assessed (the TIA's reference)."""

    tool: TransferTool
    assessment: str = ""


@dataclass(frozen=True, slots=True)
class Subprocessor:
    """Whom the provider employs in turn; `reviewed` is when somebody last looked at it."""

    name: str
    region: str
    reviewed: date


@dataclass(frozen=True, slots=True)
class Agreement:
    """One document in force between `starts` and `ends`, the end being the first instant without it.

    `clients` are names, or `*` alone for all of them. `categories` and `purposes` are dotted words that
    each stand for all below them, too. `document` is the SHA-256 of the signed file, in hexadecimal.
    """

    name: str
    kind: Kind
    provider: str
    clients: tuple[str, ...]
    parties: tuple[str, ...]
    role: Role
    categories: tuple[str, ...]
    purposes: tuple[str, ...]
    regions: tuple[str, ...]
    document: str
    starts: datetime
    ends: datetime | None = None
    subjects: tuple[str, ...] = ()
    transfer: Transfer | None = None
    subprocessors: tuple[Subprocessor, ...] = ()
    retention: str = ""
    breach_contact: str = ""

    def is_for(self, client: str, provider: str) -> bool:
        """Whether it was made with this provider, for this client."""
        return self.provider == provider and (client in self.clients or ALL in self.clients)

    def is_in_force(self, at: datetime) -> bool:
        """Whether it holds at an instant."""
        return self.starts <= at and (self.ends is None or at < self.ends)

    def has_ended(self, at: datetime) -> bool:
        """Whether it holds no more."""
        return self.ends is not None and self.ends <= at

    @property
    def destinations(self) -> tuple[str, ...]:
        """Every region that the data may come to, by the provider or by whom it employs."""
        employed = (one.region for one in self.subprocessors)
        return tuple(dict.fromkeys((*self.regions, *employed)))


@dataclass(frozen=True, slots=True)
class Override:
    """Leave to send without an agreement, for some hours: one person asks, another one approves.

    It is in force between its approval and `ends`; `revoked_at` ends it before.
    """

    id: str
    client: str
    provider: str
    categories: tuple[str, ...]
    purposes: tuple[str, ...]
    reason: str
    hours: int
    asked_by: str
    asked_at: datetime
    approved_by: str = ""
    approved_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def ends(self) -> datetime | None:
        """The first instant without it; None while nobody has approved it."""
        if self.approved_at is None:
            return None
        planned = self.approved_at + timedelta(hours=self.hours)
        return planned if self.revoked_at is None else min(planned, self.revoked_at)

    @property
    def lapses(self) -> datetime:
        """Until when it may be approved."""
        return self.asked_at + OVERRIDE_MAX

    def is_in_force(self, at: datetime) -> bool:
        """Whether it holds at an instant."""
        return (
            self.approved_at is not None
            and self.ends is not None
            and (self.approved_at <= at < self.ends)
        )


@dataclass(frozen=True, slots=True)
class Register:
    """All that is on record of agreements. `distrusted` says why none of it counts, if so."""

    agreements: tuple[Agreement, ...] = ()
    overrides: tuple[Override, ...] = ()
    distrusted: str = ""
