"""Make the rules by which a provider's requests and answers are checked, for each of its operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tidegate.catalog.checking_form import (
    AnswerRulesEntry,
    AnswersEntry,
    SchemaEntry,
    SchemaRulesEntry,
)
from tidegate.catalog.entry import Entry
from tidegate.catalog.errors import did_you_mean, shown
from tidegate.catalog.openapi import Api, describe
from tidegate.catalog.openapi.describing import Wanted
from tidegate.catalog.patterns import OperationTable, shape
from tidegate.catalog.schema import ProviderEntry
from tidegate.catalog.yaml_source import Path
from tidegate.domain.checking import Checking, CheckRules
from tidegate.domain.operation import Operation

_Wrong = Callable[..., None]


def checking_of(
    entry: ProviderEntry, api: Api | None, operations: tuple[Operation, ...], wrong: _Wrong
) -> Checking | None:
    """Make the rules, and read what they need of the document; `wrong` is told what does not fit.

    Raises:
        ConfigErrors: the document says something of these operations that cannot be checked by.
    """
    schema, answers = entry.schema_, entry.answers
    if schema is None and answers is None:
        return None
    table = OperationTable(operations)
    of_schema = _selected(("schema",), schema, table, wrong)
    of_answers = _selected(("answers",), answers, table, wrong)
    rules = [
        _rules(
            schema or SchemaEntry(),
            of_schema.get(number),
            answers or AnswersEntry(),
            of_answers.get(number),
        )
        for number in range(len(operations))
    ]
    _check_document(entry, rules, wrong)
    distinct = tuple(dict.fromkeys(one for one in rules if not one.is_idle))
    numbers = {one: number for number, one in enumerate(distinct)}
    schemas = describe(api.described, _wanted(api, operations, rules)) if api else ""
    return Checking(distinct, tuple(numbers.get(one) for one in rules), schemas)


def _selected(
    path: Path, entry: SchemaEntry | AnswersEntry | None, table: OperationTable, wrong: _Wrong
) -> Mapping[int, Entry]:
    """The entry of its own that each operation has, of those that have one."""
    selected: dict[int, Entry] = {}
    named: Mapping[str, Entry] = entry.operations if entry is not None else {}
    for pattern, own in named.items():
        numbers = table.matching(pattern)
        if not numbers:
            hint = did_you_mean(
                pattern, table.words(), otherwise="`tidegate operations` lists them"
            )
            message = f"no operation is called {shown(pattern)}"
            wrong((*path, "operations", pattern), message, hint, key=True)
        for number in numbers:
            selected.setdefault(number, own)
    return selected


def _rules(
    schema: SchemaEntry, own_schema: Entry | None, answers: AnswersEntry, own_answers: Entry | None
) -> CheckRules:
    said = _laid_over(SchemaRulesEntry, schema, own_schema)
    of_answers = _laid_over(AnswerRulesEntry, answers, own_answers)
    whole: dict[str, Any] = {
        **{name: said[name] for name in ("requests", "responses", "unknown")},
        **{name: of_answers[name] for name in ("html", "prototype")},
        **{name: tuple(of_answers[name]) for name in ("types", "keep", "drop")},
    }
    return CheckRules(**whole, answers=of_answers["mode"], body_max_bytes=said["body_max"])


def _laid_over(form: type[Entry], base: Entry, own: Entry | None) -> dict[str, Any]:
    said = own.model_fields_set if own is not None else frozenset[str]()
    return {name: getattr(own if name in said else base, name) for name in form.model_fields}


def _check_document(entry: ProviderEntry, rules: list[CheckRules], wrong: _Wrong) -> None:
    if entry.openapi or all(one.requests == one.responses == "off" for one in rules):
        return
    wrong(
        ("schema",),
        "there is no document that requests and answers could be held against",
        "name it by `openapi`; `answers` needs none",
        key=True,
    )


def _wanted(
    api: Api, operations: tuple[Operation, ...], rules: list[CheckRules]
) -> dict[int, Wanted]:
    """What is asked of the document, by the operations' numbers."""
    described = api.described.operations
    return {
        number: Wanted(described[call], one.requests != "off", one.responses != "off")
        for number, (operation, one) in enumerate(zip(operations, rules, strict=True))
        if (call := (operation.method, shape(operation.path))) in described
        and not one.requests == one.responses == "off"
    }
