"""Gather, from what is declared and recorded, what the records of processing say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tidegate.app.services import Services
from tidegate.domain.agreement import Agreement
from tidegate.domain.declaration import Client, Declaration
from tidegate.privacy.errors import CannotReportError, PrivacyRefused
from tidegate.privacy.processing import Processing, processing
from tidegate.privacy.unsent import Unsent, since_days, unsent
from tidegate.store import Revision
from tidegate.vault import VaultError


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a record is made of, as of one moment."""

    revision: Revision
    at: datetime
    processings: tuple[Processing, ...]

    @property
    def declaration(self) -> Declaration:
        """What is in force."""
        return self.revision.declaration


def gather(state: Services, client: str | None) -> Gathered:
    """Gather one client's processing, or with None every client's.

    Raises:
        CannotReportError: nothing is applied, or there is no such client.
    """
    revision, now = _in_force(state), datetime.now(UTC)
    clients = _clients(revision.declaration, client)
    agreements = _agreements(state)
    called = _called(state)
    processings = tuple(
        processing(
            revision.declaration,
            one,
            state.store.ledger.flows(one.name),
            agreements,
            called=called.get(one.name, {}),
            now=now,
        )
        for one in clients
    )
    return Gathered(revision, now, processings)


def gather_unsent(state: Services, client: str | None, days: int) -> Unsent:
    """Find what policies let go and was not sent for some days: for one client, or for any.

    Raises:
        CannotReportError: nothing is applied, or there is no such client.
    """
    revision, now = _in_force(state), datetime.now(UTC)
    _clients(revision.declaration, client)
    since = since_days(days, now)
    before = [one for one in state.store.revisions.all() if one.at <= since]
    then = before[-1].declaration if before else None
    flows = state.store.ledger.flows(client)
    return unsent(revision.declaration, then, flows, since)


def _in_force(state: Services) -> Revision:
    revision = state.store.revisions.current()
    if revision is None:
        raise CannotReportError("nothing is applied yet", "`tidegate apply` stores the declaration")
    return revision


def _clients(declaration: Declaration, name: str | None) -> tuple[Client, ...]:
    if name is None:
        return declaration.clients
    found = tuple(one for one in declaration.clients if one.name == name)
    if not found:
        known = ", ".join(f"`{one.name}`" for one in declaration.clients[:20])
        raise CannotReportError(f"there is no client `{name}`", f"there is {known}")
    return found


def _called(state: Services) -> Mapping[str, Mapping[tuple[str, str], int]]:
    """How often each operation was called for each client, where something may have been sent."""
    found: dict[str, dict[tuple[str, str], int]] = {}
    for one in state.store.calls.usage():
        if one.client and one.provider and one.operation and (one.ok or one.failed):
            found.setdefault(one.client, {})[one.provider, one.operation] = one.ok + one.failed
    return found


def _agreements(state: Services) -> tuple[Agreement, ...]:
    try:
        return state.agreements.register().agreements
    except (PrivacyRefused, VaultError) as refused:
        raise CannotReportError(
            f"the register of agreements cannot be verified: {refused}",
            "`tidegate acts verify` says what was altered",
        ) from refused
