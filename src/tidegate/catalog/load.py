"""Make one declaration of all files, with every reference followed.

1. `files` reads the first file and what it includes; `validate` checks each one's form.
2. Names are joined: a name declared twice is wrong, in whichever file.
3. `provider` makes each provider of its entry, preset and document.
4. Consumers, grants and denials are held against what is declared; patterns must match something.

Nothing stops at the first error: what is wrong in one place does not hide what is wrong in another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any, TypeVar

from tidegate.catalog.certificates import WrongCertificatesError, read_certificates
from tidegate.catalog.documents import Documents, Fetch
from tidegate.catalog.errors import ConfigError, ConfigErrors, did_you_mean, listed, shown
from tidegate.catalog.files import DeclaredFile, read_files
from tidegate.catalog.limits import limit_of
from tidegate.catalog.openapi import NoPropertyError, places_of
from tidegate.catalog.parties import party_of
from tidegate.catalog.patterns import OperationTable, shape
from tidegate.catalog.preset import preset_names
from tidegate.catalog.protection import OnePolicyEach, protection_of
from tidegate.catalog.provider import resolve_provider
from tidegate.catalog.schema import (
    CertificateIdentityEntry,
    ConsumerEntry,
    DenyEntry,
    GrantEntry,
    IssuerEntry,
)
from tidegate.catalog.yaml_source import Path
from tidegate.domain.declaration import (
    CertificateIdentity,
    Client,
    Consumer,
    Declaration,
    Denial,
    Grant,
    Issuer,
    Provider,
    TokenIdentity,
)
from tidegate.domain.operation import Operation
from tidegate.domain.party import Party
from tidegate.domain.protection import Protection, Tokenise

HINTS_MAX = 50
_T = TypeVar("_T")
_Sited = tuple[DeclaredFile, Path, _T]


def load(path: FilePath, *, fetch: Fetch | None = None) -> Declaration:
    """Read `tidegate.yaml`, or the one in a folder, into what it declares.

    `fetch` reads documents that providers name by URL.

    Raises:
        ConfigErrors: everything that is wrong, in the order of the files.
    """
    files, errors = read_files(path)
    declaration, more = _Resolver(files, Documents(fetch)).resolve()
    errors = [*errors, *more]
    if errors:
        order = {file.source.file: number for number, file in enumerate(files)}
        last = len(order)
        raise ConfigErrors(
            sorted(errors, key=lambda e: (order.get(e.file, last), e.file, e.line, e.column))
        )
    return declaration


@dataclass(slots=True)
class _Resolver:
    files: list[DeclaredFile]
    documents: Documents
    errors: list[ConfigError] = field(default_factory=list[ConfigError])
    names: dict[str, dict[str, None]] = field(default_factory=dict[str, dict[str, None]])
    operations: dict[str, tuple[Operation, ...]] = field(
        default_factory=dict[str, tuple[Operation, ...]]
    )
    tables: dict[str, OperationTable] = field(default_factory=dict[str, OperationTable])
    known_by: dict[CertificateIdentity | TokenIdentity, Path] = field(
        default_factory=dict[CertificateIdentity | TokenIdentity, Path]
    )
    hints: int = 0

    def resolve(self) -> tuple[Declaration, list[ConfigError]]:
        clients = self._joined("clients", lambda file: file.entries.clients)
        consumers = self._joined("consumers", lambda file: file.entries.consumers)
        issuers = self._joined("issuers", lambda file: file.entries.issuers)
        acting = {name: self._consumer(name, *sited) for name, sited in consumers.items()}
        providers = self._providers()
        self.operations = {name: one.operations for name, one in providers.items()}
        self.tables = {name: OperationTable(known) for name, known in self.operations.items()}
        declaration = Declaration(
            clients=tuple(
                Client(
                    name,
                    entry.name,
                    entry.region,
                    limit_of(entry.limit),
                    tuple(dict.fromkeys(entry.residency)),
                    entry.phi,
                    party_of(entry),
                    entry.suppressed,
                )
                for name, (_, _, entry) in clients.items()
            ),
            issuers=tuple(self._issuer(name, *sited) for name, sited in issuers.items()),
            consumers=tuple(acting.values()),
            providers=tuple(providers.values()),
            grants=tuple(self._grant(*sited, acting) for sited in self._listed("grants")),
            denials=tuple(self._denial(*sited) for sited in self._listed("deny")),
            protection=self._protection(),
            organisation=party_of(self.files[0].entries.organisation) if self.files else Party(),
        )
        self._check_names()
        return declaration, self.errors

    def _wrong(
        self, file: DeclaredFile, path: Path, message: str, hint: str = "", *, key: bool = False
    ) -> None:
        self.errors.append(file.source.error(path, message, hint, key=key))

    def _joined(
        self, section: str, entries: Callable[[DeclaredFile], Mapping[str, _T]]
    ) -> dict[str, _Sited[_T]]:
        joined: dict[str, _Sited[_T]] = {}
        for file in self.files:
            for name, entry in entries(file).items():
                path: Path = (section, name)
                if name in joined:
                    first = joined[name][0]
                    line = first.source.place(path, key=True).line
                    message = f"`{name}` is declared a second time"
                    hint = f"the first is in {first.source.file}, line {line}"
                    self._wrong(file, path, message, hint, key=True)
                else:
                    joined[name] = (file, path, entry)
        return joined

    def _listed(self, section: str) -> Iterable[_Sited[Any]]:
        for file in self.files:
            numbers = file.checked.numbers.get(section, ())
            for number, entry in zip(numbers, getattr(file.entries, section), strict=True):
                yield file, (section, number), entry

    def _declared(self, section: str) -> dict[str, None]:
        """Every name of a section, also those whose entries are wrong: they are not missing."""
        if section not in self.names:
            names = (file.checked.names.get(section, frozenset()) for file in self.files)
            self.names[section] = dict.fromkeys(sorted(frozenset[str]().union(*names)))
        return self.names[section]

    def _consumer(
        self, name: str, file: DeclaredFile, path: Path, entry: ConsumerEntry
    ) -> Consumer:
        declared = self._declared("clients")
        limit = limit_of(entry.limit)
        if isinstance(entry.clients, str):
            return Consumer(name, tuple(declared), self._identities(file, path, entry), limit)
        for number, client in enumerate(entry.clients):
            self._refer(file, (*path, "clients", number), "client", client, declared)
        identities = self._identities(file, path, entry)
        return Consumer(name, tuple(dict.fromkeys(entry.clients)), identities, limit)

    def _identities(
        self, file: DeclaredFile, path: Path, entry: ConsumerEntry
    ) -> tuple[CertificateIdentity | TokenIdentity, ...]:
        found: list[CertificateIdentity | TokenIdentity] = []
        for number, one in enumerate(entry.identities):
            here: Path = (*path, "identities", number)
            if isinstance(one, CertificateIdentityEntry):
                identity = CertificateIdentity(one.certificate)
            else:
                issuers = self._declared("issuers")
                self._refer(file, (*here, "issuer"), "issuer", one.issuer, issuers)
                identity = TokenIdentity(one.issuer, tuple(one.claims.items()))
            other = self.known_by.setdefault(identity, path)
            if other != path or identity in found:
                message = f"consumer `{other[-1]}` is known by the same already"
                self._wrong(file, here, message, "a call must be one consumer's")
            found.append(identity)
        return tuple(found)

    def _issuer(self, name: str, file: DeclaredFile, path: Path, entry: IssuerEntry) -> Issuer:
        return Issuer(
            name=name,
            issuer=entry.issuer,
            audiences=tuple(entry.audience),
            algorithms=tuple(entry.algorithms),
            jwks_url=entry.jwks_url or "",
            ca_pem=self._authorities(file, (*path, "ca"), entry.ca) if entry.ca else None,
            allow_private=tuple(entry.allow_private),
        )

    def _authorities(self, file: DeclaredFile, path: Path, name: str) -> str | None:
        try:
            return read_certificates(file.folder / name)
        except WrongCertificatesError as wrong:
            self._wrong(file, path, str(wrong), wrong.hint)
        return None

    def _providers(self) -> dict[str, Provider]:
        found = self._joined("providers", lambda file: file.entries.providers)
        providers: dict[str, Provider] = {}
        hosts: dict[str, str] = {}
        strict = any(file.entries.unprotected == "refuse" for file in self.files)
        for name, (file, path, entry) in found.items():
            try:
                provider = resolve_provider(name, entry, file.source, file.folder, self.documents)
            except ConfigErrors as error:
                self.errors += error.errors
                continue
            if strict:
                provider = replace(provider, unprotected="refuse")
            providers[name] = provider
            for number, host in enumerate(provider.hosts):
                if hosts.setdefault(host, name) != name:
                    message = f"the host `{host}` is that of provider `{hosts[host]}`"
                    self._wrong(file, (*path, "hosts", number), message)
        return providers

    def _grant(
        self, file: DeclaredFile, path: Path, entry: GrantEntry, acting: Mapping[str, Consumer]
    ) -> Grant:
        self._refer(
            file, (*path, "consumer"), "consumer", entry.consumer, self._declared("consumers")
        )
        clients = self._declared("clients")
        consumer = acting.get(entry.consumer)
        for number, client in enumerate(entry.clients):
            here = (*path, "clients", number)
            is_declared = self._refer(file, here, "client", client, clients)
            if is_declared and consumer and client not in consumer.clients:
                message = f"consumer `{consumer.name}` does not act for client `{client}`"
                hint = f"add it to the consumer's `clients`, which are {listed(consumer.clients)}"
                self._wrong(file, here, message, hint)
        self._select(file, path, entry.provider, entry.operations)
        return Grant(
            consumer=entry.consumer,
            provider=entry.provider,
            operations=tuple(entry.operations),
            clients=tuple(dict.fromkeys(entry.clients)),
            mode=entry.mode,
            enforce_from=entry.enforce_from,
            name=entry.name or f"{file.label}grants[{path[-1]}]",
            limit=limit_of(entry.limit),
            call_class=entry.call_class,
            unprotected=entry.unprotected,
        )

    def _denial(self, file: DeclaredFile, path: Path, entry: DenyEntry) -> Denial:
        self._select(file, path, entry.provider, entry.operations)
        for section, names in (("clients", entry.clients), ("consumers", entry.consumers)):
            for number, name in enumerate(names):
                here = (*path, section, number)
                self._refer(file, here, section[:-1], name, self._declared(section))
        return Denial(
            provider=entry.provider,
            operations=tuple(entry.operations),
            reason=entry.reason,
            consumers=tuple(dict.fromkeys(entry.consumers)),
            clients=tuple(dict.fromkeys(entry.clients)),
            name=entry.name or f"{file.label}deny[{path[-1]}]",
        )

    def _protection(self) -> tuple[Protection, ...]:
        found: list[Protection] = []
        one_each = OnePolicyEach(self.tables)
        for file, path, entry in self._listed("protection"):

            def wrong(
                below: Path, message: str, hint: str, here: DeclaredFile = file, at: Path = path
            ) -> None:
                self._wrong(here, (*at, *below), message, hint)

            name = f"{file.label}protection[{path[-1]}]"
            policy = protection_of(entry, name, file.folder, self._property, wrong)
            for number, (provider, pattern) in enumerate(policy.operations):
                here: Path = ("operations", number)
                if not pattern:
                    wrong(
                        here, f"{shown(provider)} names no operation", "write `PROVIDER:OPERATION`"
                    )
                else:
                    declared = self._declared("providers")
                    self._refer(file, (*path, *here), "provider", provider, declared)
            self._restorations(file, path, policy)
            one_each.add(policy, self._near, wrong)
            found.append(policy)
        return tuple(found)

    def _property(self, text: str, operations: tuple[tuple[str, str], ...]) -> list[str]:
        """Where a property of providers' documents stands in requests of these operations."""
        found: list[str] = []
        for provider in dict.fromkeys(name for name, _ in operations):
            table = self.tables.get(provider)
            if table is None:
                continue
            described = self.documents.described.get(provider)
            if described is None:
                message = f"provider `{provider}` has no document that has properties"
                raise NoPropertyError(message, "name it by `openapi`, or select by `body`")
            numbers = {
                number
                for name, pattern in operations
                if name == provider
                for number in table.matching(pattern)
            }
            ones = (self.operations[provider][number] for number in sorted(numbers))
            calls = ((one.method, shape(one.path)) for one in ones)
            known = [described.operations[call] for call in calls if call in described.operations]
            found += places_of(text, described, known)
        return list(dict.fromkeys(found))

    def _restorations(self, file: DeclaredFile, path: Path, policy: Protection) -> None:
        """Tokens become values again in answers of operations that are there."""
        for number, rule in enumerate(policy.fields):
            if not isinstance(rule.do, Tokenise):
                continue
            here = (*path, "fields", number, "do", "restore_in")
            for one in rule.do.restore_in:
                declared = self._declared("providers")
                if one.provider and not self._refer(file, here, "provider", one.provider, declared):
                    continue
                names = [one.provider] if one.provider else [name for name, _ in policy.operations]
                tables = [self.tables[name] for name in names if name in self.tables]
                if tables and not any(table.matching(one.pattern) for table in tables):
                    message = f"{shown(one.pattern)} matches no operation to restore in"
                    words = [word for table in tables for word in self._near(table)]
                    hint = did_you_mean(
                        one.pattern, words, otherwise="`tidegate operations` lists them"
                    )
                    self._wrong(file, here, message, hint)

    def _select(
        self, file: DeclaredFile, path: Path, provider: str, patterns: Iterable[str]
    ) -> None:
        declared = self._declared("providers")
        if not self._refer(file, (*path, "provider"), "provider", provider, declared):
            return
        table = self.tables.get(provider)
        if table is None:
            return
        for number, pattern in enumerate(patterns):
            if not table.matching(pattern):
                message = f"{shown(pattern)} matches no operation of provider `{provider}`"
                otherwise = f"`tidegate operations {provider}` lists them"
                hint = did_you_mean(pattern, self._near(table), otherwise=otherwise)
                self._wrong(file, (*path, "operations", number), message, hint)

    def _near(self, table: OperationTable) -> list[str]:
        """What a pattern may have meant. Searching is slow, so only the first errors get a hint."""
        self.hints += 1
        return table.words() if self.hints <= HINTS_MAX else []

    def _refer(
        self, file: DeclaredFile, path: Path, what: str, name: str, declared: dict[str, None]
    ) -> bool:
        if name in declared:
            return True
        message = f"there is no {what} {shown(name)}"
        otherwise = f"declare it under `{what}s`" if not declared else ""
        if what == "provider" and name in preset_names():
            otherwise = f"declare it under `providers`: `{name}: {{preset: {name}}}`"
        self._wrong(file, path, message, did_you_mean(name, declared, otherwise=otherwise))
        return False

    def _check_names(self) -> None:
        """A decision names its rule, so that no two rules may share a name."""
        seen: set[str] = set()
        for section in ("grants", "deny", "protection"):
            for file, path, entry in self._listed(section):
                if entry.name and entry.name in seen:
                    message = f"another rule is called `{entry.name}` already"
                    self._wrong(file, (*path, "name"), message)
                seen.add(entry.name)
