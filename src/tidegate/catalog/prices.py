"""Make the prices of a provider's calls of what is declared of them, and say where that selects nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tidegate.catalog.errors import did_you_mean, shown
from tidegate.catalog.patterns import OperationTable
from tidegate.domain.operation import Operation
from tidegate.domain.price import Price


def prices_of(
    entries: Mapping[str, Price], operations: tuple[Operation, ...], wrong: Callable[..., None]
) -> tuple[tuple[str, Price], ...]:
    """Name each operation that has a price of its own; of several patterns that fit the first one counts."""
    table = OperationTable(operations)
    priced: dict[str, Price] = {}
    for pattern, price in entries.items():
        numbers = table.matching(pattern)
        if not numbers:
            hint = did_you_mean(
                pattern, table.words(), otherwise="`tidegate operations` lists them"
            )
            wrong(("prices", pattern), f"no operation is called {shown(pattern)}", hint, key=True)
        for number in numbers:
            priced.setdefault(operations[number].id, price)
    return tuple(priced.items())
