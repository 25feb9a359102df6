"""Make cache rules of what is declared, for each operation of a provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from tidegate.catalog.cache_form import CacheEntry, CacheRulesEntry
from tidegate.catalog.errors import did_you_mean, shown
from tidegate.catalog.patterns import OperationTable
from tidegate.domain.caching import CacheRules, Caching
from tidegate.domain.operation import Operation

_READING = frozenset({"GET", "HEAD", "OPTIONS", "QUERY"})


def caching_of(
    entry: CacheEntry, operations: tuple[Operation, ...], wrong: Callable[..., None]
) -> Caching:
    """Make the rules; `wrong` is told what is wrong and where."""
    if entry.read_only:
        wrong(
            ("cache", "read_only"),
            "`read_only` holds for operations that are named",
            "write it under `cache: {operations: {…}}`",
            key=True,
        )
    rules = [_rules(entry)]
    of = [0] * len(operations)
    table = OperationTable(operations)
    named: dict[int, str] = {}
    for pattern, own in entry.operations.items():
        numbers = table.matching(pattern)
        path = ("cache", "operations", pattern)
        if not numbers:
            hint = did_you_mean(
                pattern, table.words(), otherwise="`tidegate operations` lists them"
            )
            wrong(path, f"no operation is called {shown(pattern)}", hint, key=True)
        _check(own, [operations[number] for number in numbers], path, wrong)
        rules.append(_rules(entry, own))
        for number in numbers:
            if number not in named:
                named[number] = pattern
                of[number] = len(rules) - 1
    return _each_once(rules, of)


def _check(
    own: CacheRulesEntry,
    operations: list[Operation],
    path: tuple[str, ...],
    wrong: Callable[..., None],
) -> None:
    changing = [one for one in operations if one.method not in _READING]
    others = [one for one in changing if one.method != "POST"]
    if own.read_only and others:
        message = (
            f"`{others[0].method}` is never `read_only`: {shown(others[0].id)} changes something"
        )
        wrong((*path, "read_only"), message, "only a POST can be", key=True)
    if own.body is not None and changing and not own.read_only:
        message = f"nothing is stored of {shown(changing[0].id)}, a `{changing[0].method}`"
        wrong((*path, "body"), message, "add `read_only: true` if it changes nothing", key=True)


def _rules(entry: CacheEntry, own: CacheRulesEntry | None = None) -> CacheRules:
    said = own.model_fields_set if own is not None else frozenset[str]()
    source = {
        name: getattr(own if name in said else entry, name) for name in CacheRulesEntry.model_fields
    }
    times = ("ttl", "stale_if_error", "stale_while_revalidate", "stale_on_throttle", "max_stale")
    written = {f"{name}_ms": source.pop(name) for name in times}
    return CacheRules(
        **{
            name: tuple(cast("list[str]", value)) if isinstance(value, list) else value
            for name, value in source.items()
        },
        **written,
    )


def _each_once(rules: list[CacheRules], of: list[int]) -> Caching:
    distinct = tuple(dict.fromkeys(rules[number] for number in of))
    numbers = {rule: number for number, rule in enumerate(distinct)}
    return Caching(distinct, tuple(numbers[rules[number]] for number in of))
