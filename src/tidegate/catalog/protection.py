"""Make policies of what is declared, and say which operation has which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tidegate.catalog.errors import did_you_mean, shown
from tidegate.catalog.patterns import OperationTable
from tidegate.catalog.protection_form import DoForm, FieldEntry, MaskDo, ProtectionEntry
from tidegate.catalog.selectors import Selector, read_selector
from tidegate.catalog.yaml_source import Path
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.protection import Action, FieldRule, Generalise, Mask, Plain, Protection

_Wrong = Callable[[Path, str, str], None]


def protection_of(entry: ProtectionEntry, name: str, wrong: _Wrong) -> Protection:
    """Make one policy; `wrong` is told what is wrong and where in the entry.

    That the operations are there is not checked here: `split` gives what to look for.
    """
    _check_fields(entry.fields, wrong)
    return Protection(
        name=entry.name or name,
        operations=tuple(split(text) for text in entry.operations),
        purpose=entry.purpose,
        fields=tuple(
            FieldRule(one.at, _action(one.do), one.category or "", one.repeated)
            for one in entry.fields
        ),
        legal_basis=entry.legal_basis,
        subjects=tuple(dict.fromkeys(entry.subjects)),
        categories=tuple(dict.fromkeys(entry.categories)),
        unknown_fields=entry.unknown_fields,
        report_until=entry.report_until,
        body_bytes=entry.bounds.body,
    )


def split(text: str) -> tuple[str, str]:
    """`PROVIDER:OPERATION` in its two parts; the second is empty where there is no `:`."""
    provider, _, pattern = text.partition(":")
    return provider, pattern.strip()


class Policies:
    """Which operation of a declaration has which policy."""

    def __init__(self, declaration: Declaration) -> None:
        self._tables = {
            provider.name: OperationTable(provider.operations)
            for provider in declaration.providers
            if any(
                name == provider.name
                for one in declaration.protection
                for name, _ in one.operations
            )
        }
        self._declaration = declaration

    def of(self, provider: Provider) -> Mapping[int, Protection]:
        """The policies of one provider's operations, by their numbers."""
        table = self._tables.get(provider.name)
        if table is None:
            return {}
        return {
            number: policy
            for policy in self._declaration.protection
            for number in operations_of(policy, provider.name, table)
        }


def operations_of(policy: Protection, provider: str, table: OperationTable) -> Iterable[int]:
    """The numbers of the operations of one provider that a policy is for, each once, in order."""
    patterns = [pattern for name, pattern in policy.operations if name == provider]
    return sorted({number for pattern in patterns for number in table.matching(pattern)})


class OnePolicyEach:
    """Finds operations that two policies are for: no call could tell by which to go."""

    def __init__(self, tables: Mapping[str, OperationTable]) -> None:
        self._tables = tables
        self._taken: dict[tuple[str, int], tuple[str, str]] = {}

    def add(
        self, policy: Protection, words: Callable[[OperationTable], list[str]], wrong: _Wrong
    ) -> None:
        """Take a policy's operations; `wrong` is told of those that are not there or taken."""
        for number, (provider, pattern) in enumerate(policy.operations):
            table = self._tables.get(provider)
            if table is None:
                continue
            path: Path = ("operations", number)
            found = table.matching(pattern)
            if not found:
                message = f"{shown(pattern)} matches no operation of provider `{provider}`"
                otherwise = f"`tidegate operations {provider}` lists them"
                wrong(path, message, did_you_mean(pattern, words(table), otherwise=otherwise))
            for operation in found:
                other, by = self._taken.setdefault((provider, operation), (policy.name, pattern))
                if other != policy.name:
                    message = f"the policy `{other}` has operations of {shown(pattern)} already"
                    wrong(
                        path, message, f"it takes them by {shown(by)}; an operation has one policy"
                    )
                    break


def _action(do: DoForm) -> Action:
    if isinstance(do, str):
        return Mask() if do == "mask" else Plain(do)
    if isinstance(do, MaskDo):
        return Mask(do.mask)
    to = do.generalise
    return Generalise(to) if isinstance(to, str) else Generalise("geo", to.geo)


def _check_fields(fields: list[FieldEntry], wrong: _Wrong) -> None:
    read: list[tuple[FieldEntry, Selector]] = []
    for number, field in enumerate(fields):
        path: Path = ("fields", number)
        selector = read_selector(field.at)
        twin = next(
            (one for one, other in read if one.at == field.at or selector.ties(other)), None
        )
        if twin is not None and twin.at == field.at:
            wrong((*path, "at"), f"{shown(field.at)} has a rule already", "keep one of them")
        elif twin is not None:
            message = f"{shown(field.at)} and {shown(twin.at)} can select one field"
            wrong((*path, "at"), message, "neither is more specific: say more in one of them")
        read.append((field, selector))
        _check_do(field, selector, path, wrong)


def _check_do(field: FieldEntry, selector: Selector, path: Path, wrong: _Wrong) -> None:
    if selector.kind == "path" and field.do == "drop":
        wrong((*path, "do"), "a path without one of its parameters is another path", "reject it")
    if selector.kind in {"path", "body"} and field.repeated:
        wrong((*path, "repeated"), f"nothing repeats in a {selector.kind}", "leave `repeated` out")
