"""Make a provider's quotas of what is declared of them, and say where that selects nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tidegate.catalog.errors import did_you_mean, shown
from tidegate.catalog.patterns import OperationTable
from tidegate.catalog.quota_form import QUOTAS_MAX, QuotaEntry
from tidegate.catalog.schema import ProviderEntry
from tidegate.domain.operation import Operation
from tidegate.domain.quota import Quota, QuotaQueue, QuotaSettlement

_HEADROOM: Final = {"gcra": 3, "bucket": 3}
"""Percent; the other models know what is under way, and need none."""
_BURST_SHARE: Final = 10


def quotas_of(
    entries: Mapping[str, QuotaEntry | None],
    declared: ProviderEntry,
    preset: ProviderEntry | None,
    operations: tuple[Operation, ...],
    wrong: Callable[..., None],
) -> tuple[Quota, ...]:
    """Make the quotas; `declared` is what stands in the file, which is where mistakes are told."""
    table = OperationTable(operations)
    for name, entry in declared.quotas.items():
        if entry is None:
            if preset is None or name not in preset.quotas:
                known = preset.quotas if preset else ()
                message = f"there is no quota {shown(name)} to leave out"
                wrong(("quotas", name), message, did_you_mean(name, known), key=True)
            continue
        places = [*enumerate(entry.operations), *((key, key) for key in entry.costs)]
        for place, pattern in places:
            if operations and not table.matching(pattern):
                message = f"{shown(pattern)} matches no operation"
                section = "operations" if isinstance(place, int) else "costs"
                hint = did_you_mean(pattern, table.words(), otherwise=" ").strip()
                wrong(("quotas", name, section, place), message, hint, key=section == "costs")
    if len(entries) > QUOTAS_MAX:
        wrong(("quotas",), f"a provider has at most {QUOTAS_MAX} quotas", key=True)
    return tuple(_quota(name, entry) for name, entry in entries.items() if entry is not None)


def _quota(name: str, entry: QuotaEntry) -> Quota:
    # What costs something else comes first: the first pattern that selects an operation counts.
    costs = (*entry.costs.items(), *((pattern, entry.cost) for pattern in entry.operations))
    settle, queue = entry.settle, entry.queue
    headroom = _HEADROOM.get(entry.model, 0) if entry.headroom is None else entry.headroom
    return Quota(
        name=name,
        model=entry.model,
        amount=entry.amount,
        costs=costs,
        window_ms=entry.window or 0,
        burst=(entry.burst or max(entry.amount // _BURST_SHARE, 1)) if entry.model == "gcra" else 0,
        restored=entry.restored or 0,
        anchor=entry.anchor,
        period=entry.period,
        zone=entry.zone,
        adaptive=entry.adaptive,
        headroom=headroom,
        scope=entry.scope,
        free=tuple(entry.free),
        settle=None if settle is None else QuotaSettlement(settle.header or "", settle.body or ""),
        queue=None if queue is None else QuotaQueue(queue.wait, queue.length),
    )
