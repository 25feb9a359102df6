"""Carry out that somebody asked to be forgotten.

    1. suppress  nothing more is sent about them, before anything else can go wrong
    2. ask       each provider to which the ledger shows a send, and no other: asking one that never heard
                 of a person tells it of them
    3. destroy   what makes our own ciphertexts about them readable
    4. record    what was done, and what is left to do by hand, as a document with a digest

Operators' acts say that it was begun, before anything that cannot be taken back, and what came of it, with
the document's digest. A request that was cut off is made again: providers that were asked are asked once more,
and say that they have nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from tidegate.domain.act import Act
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.ledger import SubjectFlow, SubjectRequest
from tidegate.domain.operation import Operation
from tidegate.domain.party import Erasure
from tidegate.privacy.acts import Operator
from tidegate.privacy.evidence import Outcome, Step, erased, proven
from tidegate.privacy.request import ErasureCall, fill
from tidegate.privacy.subjects import Found, Subject, SubjectRegister, new_request_id
from tidegate.store import Store

Destroy = Callable[[str, bytes], Sequence[str]]
"""Destroys what a client's subject is known by elsewhere, and names what that was."""

ERASE: Final = "subject.erase"

OBJECTS_ASKED_MAX = 100
"""How many of a subject's ids a provider is asked to erase in one request."""


@dataclass(frozen=True, slots=True)
class Answered:
    """How an erasure's call ended. `status` is what the consumer got, `problem` Tidegate's own, if any."""

    status: int
    call: str
    problem: str = ""


class Carrier(Protocol):
    """Makes a call through the gateway, as a consumer would."""

    def carry(self, client: str, call: ErasureCall) -> Answered:
        """Make the call.

        Raises:
            SubjectRefused: it cannot be made at all.
        """
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask, and what has to be done by hand: what `erase` would do."""

    found: Found
    calls: tuple[ErasureCall, ...]
    by_hand: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Objects:
    """Providers' own ids of a subject that somebody looked up, by provider; the ledger may know more."""

    given: Mapping[str, tuple[str, ...]]

    def of(self, provider: str, flows: Sequence[SubjectFlow]) -> tuple[str, ...]:
        """All that are known at a provider."""
        known = (one for flow in flows if flow.provider == provider for one in flow.objects)
        return tuple(dict.fromkeys((*self.given.get(provider, ()), *known)))


def plan(store: Store, declaration: Declaration, found: Found, objects: Objects) -> Plan:
    """Work out whom to ask to forget a subject."""
    providers = {provider.name: provider for provider in declaration.providers}
    connections = store.ledger.connections(found.subject.client, found.subject.index)
    names = {one.id: one.name for one in store.connections.all()}
    calls: list[ErasureCall] = []
    by_hand: list[Step] = []
    for name in dict.fromkeys(flow.provider for flow in found.flows):
        provider = providers.get(name)
        erasure = _erasure(provider, found.subject.kind)
        if provider is None or erasure is None:
            by_hand.append(_by_hand(name, provider, _why_not(provider)))
            continue
        ids = objects.of(name, found.flows)
        if erasure.needs_object and not ids:
            why = "its own id of the subject is not known; look it up, and give it by `--object`"
            by_hand.append(_by_hand(name, provider, why))
            continue
        operation = _operation(provider, erasure)
        through = [names.get(id_) for id_ in sorted(connections.get(name, ()))] or [None]
        for object_ in ids[:OBJECTS_ASKED_MAX] if erasure.needs_object else (None,):
            filled = fill(operation, erasure, found.subject.kind, found.subject.identifier, object_)
            calls += [
                ErasureCall(provider, operation, erasure, connection, filled)
                for connection in through
            ]
    return Plan(found, tuple(calls), tuple(by_hand))


def erase(
    store: Store,
    register: SubjectRegister,
    made: Plan,
    carrier: Carrier,
    *,
    operator: Operator,
    revision: int,
    destroy: Sequence[Destroy] = (),
) -> SubjectRequest:
    """Carry a plan out, and keep what proves it.

    Raises:
        ActsAltered: what operators did was altered, so that nothing is added; nothing is sent about them from
            now on, and nothing else was done.
    """
    subject, now, id_ = made.found.subject, datetime.now(UTC), new_request_id()
    author = operator.name
    register.suppress(subject, author, id_, now)
    register.act(operator, ERASE, id_, subject, now, keys=register.key_ids(subject))
    steps = (*made.by_hand, *_asked(subject, made.calls, carrier))
    destroyed = [what for one in destroy for what in one(subject.client, subject.index)]
    document = erased(
        id_,
        subject,
        author,
        now,
        revision=revision,
        sent=made.found.flows,
        steps=steps,
        destroyed=destroyed,
    )
    is_done = all(step.outcome in {"erased", "nothing_there"} for step in steps)
    request = proven(id_, subject, author, now, act="erase", document=document, is_done=is_done)
    store.subjects.record(request)
    what = {"document": request.digest, "done": is_done, "keys_destroyed": len(destroyed)}
    register.act(operator, "subject.erased", id_, subject, datetime.now(UTC), **what)
    return request


def erased_keys(acts: Iterable[Act]) -> frozenset[bytes]:
    """Name the keys of persons that erasures destroy, by their ids: from the act on none of them counts."""
    begun = (json.loads(act.details) for act in acts if act.act == ERASE)
    return frozenset(bytes.fromhex(id_) for details in begun for id_ in details["keys"])


def _asked(subject: Subject, calls: Sequence[ErasureCall], carrier: Carrier) -> Iterator[Step]:
    for call in calls:
        at = datetime.now(UTC)
        answer = carrier.carry(subject.client, call)
        yield Step(
            provider=call.provider.name,
            title=call.provider.title,
            outcome=_outcome(call.erasure, answer),
            detail=answer.problem,
            operation=call.operation.id,
            connection=call.connection or "",
            status=answer.status,
            call=answer.call,
            at=at,
        )


def _outcome(erasure: Erasure, answer: Answered) -> Outcome:
    if not answer.problem and 200 <= answer.status < 300:  # noqa: PLR2004
        return "erased"
    if not answer.problem and answer.status in erasure.gone:
        return "nothing_there"
    return "failed"


def _erasure(provider: Provider | None, kind: str) -> Erasure | None:
    if provider is None:
        return None
    return next((one for one in provider.erasures if one.is_for(kind)), None)


def _operation(provider: Provider, erasure: Erasure) -> Operation:
    return next(one for one in provider.operations if one.id == erasure.operation)


def _why_not(provider: Provider | None) -> str:
    if provider is None:
        return "it is not declared any more; ask it"
    contact = provider.party.contact
    address = contact.email or contact.address or contact.phone
    whom = f"write to {address}" if address else "ask it"
    return f"no `erasure` is declared for this kind of subject; {whom}"


def _by_hand(name: str, provider: Provider | None, why: str) -> Step:
    return Step(name, provider.title if provider else name, "by_hand", why)
