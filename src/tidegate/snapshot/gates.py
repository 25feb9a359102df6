"""Compile what agreements let go into the gates of operations, as docs/reference/snapshot.md has them.

A policy that sends personal data makes a gate for its operations at each provider. Whom the gate lets
through is written once for all clients that are alike to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any

from tidegate.domain.agreement import ALL, Register
from tidegate.domain.category import is_personal
from tidegate.domain.declaration import Client, Declaration
from tidegate.domain.protection import Protection
from tidegate.snapshot.covering import Cover, Need, Window, cover


def needs(policy: Protection, now: datetime) -> tuple[Need, ...]:
    """What a policy asks of agreements; nothing where it sends nothing personal.

    While it only reports, calls go as they are: what it would drop goes out too.
    """
    until = policy.report_until
    sent = policy.sends
    if until is not None and now < datetime.combine(until, time.min, UTC):
        sent = tuple(dict.fromkeys((*policy.categories, *(one.category for one in policy.fields))))
    personal = (one for one in sent if one and is_personal(one))
    return tuple(Need(category, policy.purpose) for category in personal)


def gates(
    declaration: Declaration,
    provider: str,
    policies: Mapping[int, Protection],
    register: Register,
    now: datetime,
) -> list[dict[str, Any]]:
    """Compile the gates of one provider's operations, whose policies are given by their numbers."""
    found: list[dict[str, Any]] = []
    numbers: dict[str, list[int]] = {}
    for number, policy in sorted(policies.items()):
        numbers.setdefault(policy.name, []).append(number)
    alike = _Alike(provider, register)
    for policy in declaration.protection:
        wanted = needs(policy, now)
        if policy.name not in numbers or not wanted:
            continue
        lists: list[tuple[Cover, ...]] = []
        of: list[tuple[str, int]] = []
        for client in declaration.clients:
            covers = alike.covers(client, wanted)
            if covers not in lists:
                lists.append(covers)
            of.append((client.name, lists.index(covers)))
        found.append(
            {
                "policy": policy.name,
                "operations": numbers[policy.name],
                "needs": [{"category": need.category, "purpose": need.purpose} for need in wanted],
                "covers": [[_written(one) for one in covers] for covers in lists],
                "of": of,
            }
        )
    return found


class _Alike:
    """Judges each need once for all clients that the agreements with a provider do not tell apart."""

    def __init__(self, provider: str, register: Register) -> None:
        self._provider = provider
        self._register = Register(
            tuple(one for one in register.agreements if one.provider == provider),
            tuple(one for one in register.overrides if one.provider == provider),
            register.distrusted,
        )
        everyones = (name for one in self._register.agreements for name in one.clients)
        lifted = (one.client for one in self._register.overrides)
        self._named = {*everyones, *lifted} - {ALL}
        self._known: dict[tuple[object, Need], Cover] = {}

    def covers(self, client: Client, wanted: Sequence[Need]) -> tuple[Cover, ...]:
        own = client.name if client.name in self._named else ""
        kind = (own, client.region, client.residency, client.phi)
        for need in wanted:
            if (kind, need) not in self._known:
                judged = cover(client, self._provider, need, self._register)
                self._known[kind, need] = judged
        return tuple(self._known[kind, need] for need in wanted)


def _written(one: Cover) -> dict[str, Any]:
    if one.windows:
        return {"windows": [_window(window) for window in one.windows]}
    return {"missing": one.missing}


def _window(window: Window) -> dict[str, Any]:
    ends = None if window.ends is None else _seconds(window.ends)
    return {"starts": _seconds(window.starts), "ends": ends, "names": " ".join(window.names)}


def _seconds(at: datetime) -> int:
    return max(0, int(at.timestamp()))
