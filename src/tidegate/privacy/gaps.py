"""Name what policies let go and no agreement does: calls that a grant allows, and the gate refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from tidegate.catalog import OperationTable
from tidegate.catalog.errors import listed
from tidegate.catalog.protection import Policies
from tidegate.domain.agreement import Register
from tidegate.domain.declaration import Client, Declaration, Provider
from tidegate.snapshot.covering import Need, cover
from tidegate.snapshot.gates import needs

_NAMED_MAX = 4


@dataclass(frozen=True, slots=True)
class Gap:
    """What of a policy has no agreement in force with a provider, for clients that a grant lets use it."""

    policy: str
    provider: str
    purpose: str
    categories: tuple[str, ...]
    clients: tuple[str, ...]

    @property
    def what(self) -> str:
        """In words, with what becomes of the calls."""
        return (
            f"no agreement in force lets {listed(self.categories, _NAMED_MAX)} of "
            f"{listed(self.clients, _NAMED_MAX)} go to `{self.provider}` for `{self.purpose}`; calls are "
            "refused with `no_agreement` until `tidegate agreements add` records one"
        )


def gaps(declaration: Declaration, register: Register, now: datetime) -> list[Gap]:
    """Judge every policy that sends personal data, as the gate will at `now`."""
    policies = Policies(declaration)
    return [
        gap
        for provider in declaration.providers
        for gap in _at(declaration, provider, policies, register, now)
    ]


def _at(
    declaration: Declaration,
    provider: Provider,
    policies: Policies,
    register: Register,
    now: datetime,
) -> Iterator[Gap]:
    numbers: dict[str, set[int]] = {}
    for number, policy in policies.of(provider).items():
        numbers.setdefault(policy.name, set()).add(number)
    for policy in declaration.protection:
        wanted = needs(policy, now)
        if not wanted or policy.name not in numbers:
            continue
        able = _able(declaration, provider, numbers[policy.name])
        lacking: dict[tuple[str, ...], list[str]] = {}
        for client in declaration.clients:
            if client.name in able:
                without = tuple(
                    need.category
                    for need in wanted
                    if not _goes(client, provider.name, need, register, now)
                )
                lacking.setdefault(without, []).append(client.name)
        for categories, clients in lacking.items():
            if categories:
                yield Gap(policy.name, provider.name, policy.purpose, categories, tuple(clients))


def _able(declaration: Declaration, provider: Provider, numbers: set[int]) -> set[str]:
    """The clients for whom some consumer may call one of these operations."""
    table = OperationTable(provider.operations)
    consumers = {one.name: one.clients for one in declaration.consumers}
    return {
        client
        for grant in declaration.grants
        if grant.provider == provider.name
        and any(numbers & set(table.matching(pattern)) for pattern in grant.operations)
        for client in consumers.get(grant.consumer, ())
        if not grant.clients or client in grant.clients
    }


def _goes(client: Client, provider: str, need: Need, register: Register, now: datetime) -> bool:
    return any(
        window.starts <= now and (window.ends is None or now < window.ends)
        for window in cover(client, provider, need, register).windows
    )
