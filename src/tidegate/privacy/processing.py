"""Gather what processing there is: what is declared, what was sent, and what was agreed about it.

Pure: a declaration, the ledger's flows and the agreements go in; what a record of processing activities
(GDPR Art. 30) says comes out, together with what it lacks. One client's processing holds nothing of another
client.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tidegate.catalog.patterns import OperationTable
from tidegate.catalog.protection import Policies
from tidegate.domain.agreement import Agreement
from tidegate.domain.category import NONE, covers, is_personal, is_special
from tidegate.domain.declaration import Client, Declaration, Grant, Provider
from tidegate.domain.ledger import UNLISTED, Flow
from tidegate.domain.party import Party
from tidegate.domain.protection import Protection


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that a record should say and cannot, and where to declare it."""

    what: str
    where: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """A provider that gets data for one purpose. `sent` is what did go, `may` what a policy lets go."""

    provider: str
    title: str
    party: Party
    operations: tuple[str, ...]
    may: tuple[str, ...]
    sent: tuple[str, ...]
    first: datetime | None
    last: datetime | None
    calls: int
    agreements: tuple[Agreement, ...]

    @property
    def regions(self) -> tuple[str, ...]:
        """Where the data goes, by what was agreed."""
        return tuple(dict.fromkeys(r for one in self.agreements for r in one.destinations))

    @property
    def has_personal(self) -> bool:
        """Whether it gets, or may get, data about people."""
        return any(is_personal(one) for one in (*self.may, *self.sent))


@dataclass(frozen=True, slots=True)
class Activity:
    """Processing for one purpose; without a purpose, what no policy speaks of."""

    purpose: str
    legal_bases: tuple[str, ...]
    subjects: tuple[str, ...]
    categories: tuple[str, ...]
    retention: str
    recipients: tuple[Recipient, ...]

    @property
    def special(self) -> tuple[str, ...]:
        """The categories of Art. 9 and 10."""
        return tuple(one for one in self.categories if is_special(one))

    @property
    def is_personal(self) -> bool:
        """Whether a record has to have it."""
        return any(is_personal(one) for one in self.categories)


@dataclass(frozen=True, slots=True)
class Unlisted:
    """An operation that was called although no policy says what goes in it."""

    provider: str
    title: str
    operation: str
    calls: int


@dataclass(frozen=True, slots=True)
class Processing:
    """One client's."""

    client: Client
    activities: tuple[Activity, ...]
    unlisted: tuple[Unlisted, ...]
    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """An operation that a client may call, under the policy that says what goes in it."""

    provider: Provider
    operation: str
    policy: Protection


@dataclass(frozen=True, slots=True)
class _Known:
    """All that one client's record is made of."""

    uses: Sequence[Use]
    flows: Sequence[Flow]
    agreements: Sequence[Agreement]
    providers: Mapping[str, Provider]


def processing(
    declaration: Declaration,
    client: Client,
    flows: Sequence[Flow],
    agreements: Iterable[Agreement],
    *,
    called: Mapping[tuple[str, str], int],
    now: datetime,
) -> Processing:
    """Gather one client's processing.

    Args:
        declaration: What is in force.
        client: Whose.
        flows: What the ledger has of this client.
        agreements: All that are on record; those of others and those not in force are passed over.
        called: How often this client's consumers called an operation, by provider and id.
        now: The moment the record speaks of.
    """
    own = [flow for flow in flows if flow.client == client.name]
    uses = list(uses_of(declaration, client))
    held = [one for one in agreements if one.is_in_force(now)]
    providers = {provider.name: provider for provider in declaration.providers}
    known = _Known(uses, own, held, providers)
    purposes = sorted({use.policy.purpose for use in uses} | {flow.purpose for flow in own})
    activities = tuple(_activity(purpose, client, known) for purpose in purposes if purpose)
    listed = {(use.provider.name, use.operation) for use in uses}
    unlisted = tuple(
        Unlisted(name, _title(providers.get(name), name), operation, count)
        for (name, operation), count in sorted(called.items())
        if (name, operation) not in listed
    )
    return Processing(client, activities, unlisted, tuple(_missing(client, activities, unlisted)))


def uses_of(declaration: Declaration, client: Client) -> Iterator[Use]:
    """Every operation with a policy that some consumer may call for the client."""
    consumers = {one.name for one in declaration.consumers if client.name in one.clients}
    policies = Policies(declaration)
    for provider in declaration.providers:
        by_number = policies.of(provider)
        if not by_number:
            continue
        table = OperationTable(provider.operations)
        granted = {
            number
            for grant in declaration.grants
            if _lets(grant, provider, consumers, client)
            for pattern in grant.operations
            for number in table.matching(pattern)
        }
        for number in sorted(granted & by_number.keys()):
            yield Use(provider, provider.operations[number].id, by_number[number])


def _lets(grant: Grant, provider: Provider, consumers: set[str], client: Client) -> bool:
    return (
        grant.provider == provider.name
        and grant.consumer in consumers
        and (not grant.clients or client.name in grant.clients)
    )


def _activity(purpose: str, client: Client, known: _Known) -> Activity:
    uses = [use for use in known.uses if use.policy.purpose == purpose]
    flows = [flow for flow in known.flows if flow.purpose == purpose]
    policies = list(dict.fromkeys(use.policy for use in uses))
    names = sorted({use.provider.name for use in uses} | {flow.provider for flow in flows})
    recipients = tuple(
        _recipient(
            name,
            known.providers.get(name),
            [use for use in uses if use.provider.name == name],
            [flow for flow in flows if flow.provider == name],
            [one for one in known.agreements if _serves(one, client, name, purpose)],
        )
        for name in names
    )
    return Activity(
        purpose,
        legal_bases=tuple(sorted({one.legal_basis for one in policies if one.legal_basis})),
        subjects=tuple(dict.fromkeys(one for policy in policies for one in policy.subjects)),
        categories=tuple(sorted({c for one in recipients for c in (*one.may, *one.sent)})),
        retention=client.party.retention_of(purpose),
        recipients=recipients,
    )


def _serves(agreement: Agreement, client: Client, provider: str, purpose: str) -> bool:
    return agreement.is_for(client.name, provider) and any(
        covers(one, purpose) for one in agreement.purposes
    )


def _recipient(
    name: str,
    provider: Provider | None,
    uses: Sequence[Use],
    flows: Sequence[Flow],
    agreements: Sequence[Agreement],
) -> Recipient:
    told = [flow for flow in flows if flow.action != UNLISTED]
    operations = {use.operation for use in uses} | {flow.operation for flow in flows}
    # The most frequent field of an operation went in as many of its calls as are known.
    calls: dict[str, int] = {}
    for flow in flows:
        calls[flow.operation] = max(calls.get(flow.operation, 0), flow.count)
    return Recipient(
        provider=name,
        title=_title(provider, name),
        party=provider.party if provider else Party(),
        operations=tuple(sorted(operations)),
        may=_categories(one for use in uses for one in use.policy.sends),
        sent=_categories(flow.category for flow in told),
        first=min((flow.first for flow in flows), default=None),
        last=max((flow.last for flow in flows), default=None),
        calls=sum(calls.values()),
        agreements=tuple(agreements),
    )


def _categories(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({one for one in found if one not in {"", NONE}}))


def _title(provider: Provider | None, name: str) -> str:
    return provider.title if provider else name


def _missing(
    client: Client, activities: Sequence[Activity], unlisted: Sequence[Unlisted]
) -> Iterator[Missing]:
    """What Art. 30(1) asks for and nobody has said."""
    place, party = f"clients.{client.name}", client.party
    known = {
        "legal_name": (party.legal_name, "the controller's legal name"),
        "contact": (party.contact.is_known, "the controller's contact"),
        "dpo": (party.dpo.is_known, "the data protection officer, where there is one"),
        "security": (party.security, "security measures of the client's own"),
    }
    yield from (
        Missing(what, f"{place}.{key}") for key, (there, what) in known.items() if not there
    )
    for activity in activities:
        if activity.is_personal:
            yield from _missing_of(activity, place)
    if unlisted:
        what = f"what goes in {len(unlisted)} called operations that have no policy"
        yield Missing(what, "`protection`; `tidegate protect list` names them")


def _missing_of(activity: Activity, place: str) -> Iterator[Missing]:
    purpose = f"`{activity.purpose}`"
    policy = f"the policy of purpose {purpose} under `protection`"
    if not activity.retention:
        yield Missing(f"when data is erased that is processed for {purpose}", f"{place}.retention")
    if not activity.subjects:
        yield Missing(f"whom {purpose} is about", f"`subjects` of {policy}")
    if not activity.legal_bases:
        yield Missing(f"the legal basis of {purpose}", f"`legal_basis` of {policy}")
    for recipient in activity.recipients:
        if recipient.has_personal and not recipient.agreements:
            what = f"an agreement in force with `{recipient.provider}` for {purpose}"
            yield Missing(what, "`tidegate agreements add`")


def missing_of_organisation(organisation: Party) -> tuple[Missing, ...]:
    """What Art. 30(2) asks a processor for and nobody has said."""
    known = {
        "legal_name": (organisation.legal_name, "the processor's legal name"),
        "contact": (organisation.contact.is_known, "the processor's contact"),
        "dpo": (organisation.dpo.is_known, "the data protection officer, where there is one"),
        "security": (organisation.security, "security measures"),
    }
    return tuple(
        Missing(what, f"organisation.{name}") for name, (there, what) in known.items() if not there
    )
