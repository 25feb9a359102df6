"""Say of every credential how old it is, how old it may become, and what is to be done.

Pure. A credential whose age nobody knows counts as overdue: what was entered by a person may have
been made years before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Declaration
from tidegate.domain.rotation import BY_HAND, OverlapClass
from tidegate.store import RotationRow


class Due(Enum):
    """How urgent it is: from 80 %, 100 % and 150 % of the age that is allowed."""

    OK = "ok"
    SOON = "soon"
    OVERDUE = "overdue"
    CRITICAL = "critical"


_SHARES = ((1.5, Due.CRITICAL), (1.0, Due.OVERDUE), (0.8, Due.SOON))


@dataclass(frozen=True, slots=True)
class CredentialAge:
    """One credential. `age` None: nobody knows it."""

    connection: Connection
    overlap_class: OverlapClass
    age: timedelta | None
    age_max: timedelta
    last_used: datetime | None
    due: Due
    next_act: str


def ages(
    declaration: Declaration,
    connections: Iterable[Connection],
    active: Iterable[RotationRow],
    last_used: Mapping[str, datetime],
    now: datetime,
) -> list[CredentialAge]:
    """Judge all credentials, the most urgent first."""
    rotations = {provider.name: provider.rotation for provider in declaration.providers}
    under_way = {row.connection: row for row in active}
    found: list[CredentialAge] = []
    for one in connections:
        rotation = rotations.get(one.provider, BY_HAND)
        able = rotation.has_hook
        most = timedelta(milliseconds=rotation.age_max_ms)
        age = None if one.issued_at is None else now - one.issued_at
        due = due_of(age, most)
        found.append(
            CredentialAge(
                connection=one,
                overlap_class=rotation.overlap_class if able else OverlapClass.CONSOLE,
                age=age,
                age_max=most,
                last_used=last_used.get(one.id),
                due=due,
                next_act=_next_act(
                    one, under_way.get(one.id), due, automatic=rotation.rotate_every_ms is not None
                ),
            )
        )
    order = list(Due)
    return sorted(found, key=lambda one: -order.index(one.due))


def due_of(age: timedelta | None, most: timedelta) -> Due:
    """Judge an age."""
    if age is None:
        return Due.OVERDUE
    return next((due for share, due in _SHARES if age >= most * share), Due.OK)


def _next_act(one: Connection, row: RotationRow | None, due: Due, *, automatic: bool) -> str:
    if one.is_reference:
        return "" if due is Due.OK else "replace it at OpenBao"
    command = f"tidegate rotate {one.provider} --client {one.client}"
    command += "" if one.name == "default" else f" --name {one.name}"
    if row is not None:
        return command if row.task else f"rotation is under way ({row.state.value})"
    if automatic:
        return "rotates by itself"
    return "" if due is Due.OK else command
