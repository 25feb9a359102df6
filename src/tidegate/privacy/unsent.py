"""Find what policies let go and nobody sends: a rule that is not needed is a risk for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tidegate.catalog.patterns import OperationTable
from tidegate.catalog.protection import operations_of
from tidegate.domain.declaration import Declaration
from tidegate.domain.ledger import Flow
from tidegate.domain.protection import Action, FieldRule, Protection


@dataclass(frozen=True, slots=True)
class UnsentField:
    """A rule that lets a field go which has not gone; `last` is when it went last, if ever."""

    policy: str
    purpose: str
    at: str
    category: str
    action: str
    last: datetime | None
    providers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unsent:
    """`fields` have not gone for the time asked; `young` counts rules that do not stand so long yet."""

    fields: tuple[UnsentField, ...]
    young: int


def unsent(
    declaration: Declaration,
    then: Declaration | None,
    flows: Sequence[Flow],
    since: datetime,
) -> Unsent:
    """Compare the rules with what went.

    Args:
        declaration: What is in force.
        then: What was in force at `since`; None where nothing was. Rules that are not in it are young.
        flows: What the ledger has.
        since: From when on nothing went.
    """
    stood = {
        (policy.name, rule.at)
        for policy in (then.protection if then else ())
        for rule in policy.fields
    }
    found: list[UnsentField] = []
    young = 0
    for policy in declaration.protection:
        operations = _operations(declaration, policy)
        for rule in policy.fields:
            if not rule.leaves:
                continue
            last = max(
                (
                    f.last
                    for f in flows
                    if f.at == rule.at and (f.provider, f.operation) in operations
                ),
                default=None,
            )
            if last is not None and last >= since:
                continue
            if (policy.name, rule.at) not in stood:
                young += 1
                continue
            found.append(_unsent(policy, rule, last))
    return Unsent(tuple(found), young)


def since_days(days: int, now: datetime) -> datetime:
    """The moment some days ago."""
    return now - timedelta(days=days)


def action_word(action: Action) -> str:
    """Name an action as events do."""
    return action.kind


def _operations(declaration: Declaration, policy: Protection) -> set[tuple[str, str]]:
    return {
        (provider.name, provider.operations[number].id)
        for provider in declaration.providers
        if any(name == provider.name for name, _ in policy.operations)
        for number in operations_of(policy, provider.name, OperationTable(provider.operations))
    }


def _unsent(policy: Protection, rule: FieldRule, last: datetime | None) -> UnsentField:
    providers = tuple(dict.fromkeys(name for name, _ in policy.operations))
    return UnsentField(
        policy.name, policy.purpose, rule.at, rule.category, action_word(rule.do), last, providers
    )
