"""Make policies of what is declared, and say which operation has which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path as FilePath

from tidegate.catalog.ad_signals import ad_signals
from tidegate.catalog.encrypting import check_sealed
from tidegate.catalog.encrypting_form import EncryptDo
from tidegate.catalog.errors import did_you_mean, shown
from tidegate.catalog.openapi import NoPropertyError
from tidegate.catalog.patterns import OperationTable
from tidegate.catalog.protecting import action_of, split
from tidegate.catalog.protection_form import FieldEntry, ProtectionEntry
from tidegate.catalog.selectors import Selector, WrongSelectorError, read_selector
from tidegate.catalog.xml_names import prefixes
from tidegate.catalog.yaml_source import Path
from tidegate.domain.category import is_personal
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.protection import (
    TCF_PURPOSES_OF_ADVERTISING,
    FieldRule,
    Protection,
    SubjectConsent,
    Tokenise,
)
from tidegate.domain.purpose import is_advertising, is_sharing

_NEVER_REPEATED = {
    "path": "a path",
    "body": "a body",
    "graphql": "a GraphQL request",
    "csv": "a table's first row",
    "file": "a body",
}

_Wrong = Callable[[Path, str, str], None]
_Placed = tuple[int, FieldEntry, str]
"""A field by its number, with one place that it is in."""
FindProperty = Callable[[str, tuple[tuple[str, str], ...]], list[str]]
"""Where `SCHEMA.PROPERTY` stands in requests of operations, or a NoPropertyError."""


def protection_of(
    entry: ProtectionEntry, name: str, folder: FilePath, find: FindProperty, wrong: _Wrong
) -> Protection:
    """Make one policy; `wrong` is told what is wrong and where in the entry.

    Files of keys are named beside `folder`; `find` says where properties stand. That the operations
    are there is not checked here: `split` gives what to look for.
    """
    operations = tuple(split(text) for text in entry.operations)
    placed = list(_placed(entry.fields, operations, find, wrong))
    _check_fields(placed, wrong)
    _check_prefixes(placed, entry.namespaces, wrong)
    if entry.without_consent == "drop":
        _check_droppable(entry, placed, wrong)
    return Protection(
        name=entry.name or name,
        operations=operations,
        purpose=entry.purpose,
        fields=tuple(
            FieldRule(at, action, one.category or "", one.repeated)
            for number, one, ats in _together(placed)
            if (action := action_of(one, ("fields", number, "do"), folder, wrong)) is not None
            for at in ats
        ),
        legal_basis=entry.legal_basis,
        subjects=tuple(dict.fromkeys(entry.subjects)),
        categories=tuple(dict.fromkeys(entry.categories)),
        unknown_fields=entry.unknown_fields,
        report_until=entry.report_until,
        body_bytes=entry.bounds.body,
        namespaces=tuple(sorted(entry.namespaces.items())),
        assert_absent=tuple(dict.fromkeys(entry.assert_absent)),
        consent=_consent(entry) if entry.asks_for_consent else None,
    )


def _consent(entry: ProtectionEntry) -> SubjectConsent:
    purposes = TCF_PURPOSES_OF_ADVERTISING if is_advertising(entry.purpose) else ()
    return SubjectConsent(
        max_age_s=entry.consent_max_age // 1000,
        sells=is_sharing(entry.purpose),
        drops=entry.without_consent == "drop",
        signals=ad_signals()[entry.signals] if entry.signals else (),
        tcf_purposes=purposes
        if entry.tcf_purposes is None
        else tuple(sorted({*entry.tcf_purposes})),
        tcf_vendor=entry.tcf_vendor,
    )


def _placed(
    fields: list[FieldEntry],
    operations: tuple[tuple[str, str], ...],
    find: FindProperty,
    wrong: _Wrong,
) -> Iterator[_Placed]:
    """Each field with where it is; a property is where the document uses it."""
    for number, one in enumerate(fields):
        kind, _, place = one.at.partition(" ")
        if kind != "property":
            yield number, one, one.at
            continue
        try:
            ats = find(place, operations)
        except NoPropertyError as error:
            wrong(("fields", number, "at"), str(error), error.hint)
            continue
        for at in ats:
            try:
                read_selector(at)
            except WrongSelectorError:
                message = f"{shown(place)} stands where no selector can be for it"
                wrong(("fields", number, "at"), message, "select what it stands in")
            else:
                yield number, one, at


def _together(placed: list[_Placed]) -> Iterator[tuple[int, FieldEntry, list[str]]]:
    for number, group in groupby(placed, key=itemgetter(0)):
        ones = list(group)
        yield number, ones[0][1], [at for _, _, at in ones]


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


def restored(
    policy: Protection, tokenise: Tokenise, provider: str, table: OperationTable
) -> Iterable[tuple[str, tuple[int, ...]]]:
    """Where in the answers of one provider's operations a rule's tokens become values again."""
    of_policy = any(name == provider for name, _ in policy.operations)
    for one in tokenise.restore_in:
        if one.provider == provider or (not one.provider and of_policy):
            yield one.at, table.matching(one.pattern)


def _check_fields(fields: list[_Placed], wrong: _Wrong) -> None:
    read: list[tuple[str, Selector]] = []
    for number, field, at in fields:
        path: Path = ("fields", number)
        selector = read_selector(at)
        twin = next((one for one, other in read if one == at or selector.ties(other)), None)
        if twin == at:
            wrong((*path, "at"), f"{shown(at)} has a rule already", "keep one of them")
        elif twin is not None:
            message = f"{shown(at)} and {shown(twin)} can select one field"
            wrong((*path, "at"), message, "neither is more specific: say more in one of them")
        clash = {"body": "graphql", "graphql": "body"}.get(selector.kind)
        if any(other.kind == clash for _, other in read):
            message = f"{shown(at)} is for other bodies than a rule before it: `{clash}`"
            wrong((*path, "at"), message, "a GraphQL operation needs a policy of its own")
        read.append((at, selector))
        _check_do(field, selector, path, wrong)


def _check_prefixes(fields: list[_Placed], namespaces: Mapping[str, str], wrong: _Wrong) -> None:
    of_xml = [
        (number, at, selector)
        for number, _, at in fields
        if (selector := read_selector(at)).kind == "xml"
    ]
    if namespaces and not of_xml:
        wrong(("namespaces",), "no rule of this policy is for XML", "like `xml /order/email`")
    for number, at, selector in of_xml:
        for prefix in sorted(prefixes(step.name for step in selector.steps or ()) - {*namespaces}):
            message = f"{shown(at)} has a prefix that is not among the policy's `namespaces`"
            wrong(("fields", number, "at"), message, f"add `{prefix}` there, with its address")


def _check_droppable(entry: ProtectionEntry, placed: list[_Placed], wrong: _Wrong) -> None:
    """Without consent a call goes without what is personal: it must be known where that is."""
    for number, one in enumerate(entry.categories):
        if is_personal(one):
            message = f"{shown(one)} is personal, and no field says where it is"
            wrong(
                ("categories", number), message, "without consent it cannot be left out: refuse it"
            )
    for number, field, at in placed:
        may_be_personal = field.category is None or is_personal(field.category)
        if field.do != "reject" and may_be_personal and read_selector(at).kind == "path":
            message = "a path without one of its parameters is another path"
            hint = "without consent it cannot be left out: `refuse` such calls, or say `category: none`"
            wrong(("fields", number, "at"), message, hint)


def _check_do(field: FieldEntry, selector: Selector, path: Path, wrong: _Wrong) -> None:
    if isinstance(field.do, EncryptDo):
        check_sealed(field.do.encrypt, selector, (*path, "do", "encrypt"), wrong)
    if selector.kind == "path" and field.do == "drop":
        wrong((*path, "do"), "a path without one of its parameters is another path", "reject it")
    if selector.within == "()" and field.do not in {"allow", "reject"}:
        message = "a GraphQL query without one of its values is another query"
        wrong((*path, "do"), message, "`allow` or `reject` it; what a variable has can be changed")
    is_of_files = isinstance(field.do, EncryptDo) and field.do.encrypt.pgp is not None
    if selector.kind == "file" and not is_of_files and field.do != "reject":
        message = "a body that nobody reads goes encrypted or not at all"
        wrong((*path, "do"), message, "`encrypt: {pgp: …}` or `reject` it")
    if field.repeated and (selector.kind in _NEVER_REPEATED or selector.within):
        where = _NEVER_REPEATED.get(selector.kind, "what has one name")
        wrong((*path, "repeated"), f"nothing repeats in {where}", "leave `repeated` out")
