"""Make who answers for data, and how providers are asked to forget, of what is declared of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tidegate.catalog.errors import did_you_mean, listed, shown
from tidegate.catalog.patterns import OperationTable
from tidegate.domain.operation import Operation
from tidegate.domain.party import Contact, Erasure, Party

if TYPE_CHECKING:
    from tidegate.catalog.party_form import ContactEntry, ErasureEntry, PartyEntry

_PARAMETER = re.compile(r"\{([^{}]*)\}")


def party_of(entry: PartyEntry) -> Party:
    """Make a party; what is not declared is empty, and a record says that it is missing."""
    return Party(
        legal_name=entry.legal_name or "",
        contact=contact_of(entry.contact),
        dpo=contact_of(entry.dpo),
        representative=contact_of(entry.representative),
        retention=tuple(entry.retention.items()),
        security=tuple(entry.security),
    )


def contact_of(entry: ContactEntry | None) -> Contact:
    """Make a contact."""
    if entry is None:
        return Contact()
    return Contact(entry.name or "", entry.email or "", entry.phone or "", entry.address or "")


def erasures_of(
    entries: Sequence[ErasureEntry], operations: tuple[Operation, ...], wrong: Callable[..., None]
) -> tuple[Erasure, ...]:
    """Find each erasure's operation; `wrong` is told where there is none, or a value has no place."""
    table = OperationTable(operations)
    found: list[Erasure] = []
    for number, entry in enumerate(entries):
        numbers = table.matching(entry.operation)
        if len(numbers) != 1:
            words = table.words()
            message = (
                f"{shown(entry.operation)} is more than one operation"
                if numbers
                else f"no operation is called {shown(entry.operation)}"
            )
            hint = did_you_mean(entry.operation, words, otherwise="name one operation's id")
            wrong(("erasure", number, "operation"), message, hint)
            continue
        operation = operations[numbers[0]]
        _check_places(entry, operation, number, wrong)
        found.append(
            Erasure(
                operation.id,
                tuple(entry.values.items()),
                tuple(dict.fromkeys(entry.kinds)),
                tuple(entry.gone),
            )
        )
    return tuple(found)


def _check_places(
    entry: ErasureEntry, operation: Operation, number: int, wrong: Callable[..., None]
) -> None:
    parameters = set(_PARAMETER.findall(operation.path))
    filled = {place.partition(" ")[2] for place in entry.values if place.startswith("path ")}
    for name in sorted(filled - parameters):
        known = f"it has {listed(sorted(parameters))}" if parameters else "it has none"
        message = f"the path of `{operation.id}` has no parameter {shown(name)}"
        wrong(("erasure", number, "with", f"path {name}"), message, known, key=True)
    for name in sorted(parameters - filled):
        message = f"nothing says what `{{{name}}}` in the path of `{operation.id}` is"
        wrong(("erasure", number, "with"), message, f'add `"path {name}": "{{object}}"`')
    places = {place.partition(" ")[0] for place in entry.values}
    if {"form", "body"} <= places:
        wrong(("erasure", number, "with"), "a body is a form or JSON, not both", "keep one of them")
