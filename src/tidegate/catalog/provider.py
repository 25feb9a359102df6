"""Make a provider of what is declared of it, the preset it starts from and its document.

What the operator says wins over the preset, and the preset over the document. Operations come from
the document or, without one, from the preset; those written by hand are added, and replace what
has the same method and path.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from tidegate.catalog.auth import attach_parts, signer, token_grant
from tidegate.catalog.caching import caching_of
from tidegate.catalog.certificates import WrongCertificatesError, read_certificates
from tidegate.catalog.checking import checking_of
from tidegate.catalog.dialect import built_in_dialect, dialect_names, dialect_of
from tidegate.catalog.documents import Documents, documents_beside
from tidegate.catalog.errors import ConfigError, ConfigErrors, did_you_mean, listed, shown
from tidegate.catalog.fields import check_path, parse_call, variables_of
from tidegate.catalog.login import login_of
from tidegate.catalog.login_form import LoginAuth
from tidegate.catalog.openapi import Api, read_operations
from tidegate.catalog.origins import origin_problem
from tidegate.catalog.parties import contact_of, erasures_of
from tidegate.catalog.patterns import shape
from tidegate.catalog.preset import preset_entry, preset_names
from tidegate.catalog.prices import prices_of
from tidegate.catalog.quota import quotas_of
from tidegate.catalog.resilience import resilience_of
from tidegate.catalog.rotation import over_preset, rotation_of
from tidegate.catalog.schema import ProviderEntry
from tidegate.catalog.yaml_source import Path, Source
from tidegate.domain.attach import AttachBasic, AttachHeader, fields_of
from tidegate.domain.checking import Checking
from tidegate.domain.declaration import Bounds, Deadlines, Provider, TlsPolicy, Variable
from tidegate.domain.dialect import Dialect
from tidegate.domain.login import Login
from tidegate.domain.oauth import TokenGrant
from tidegate.domain.operation import Operation
from tidegate.domain.party import Party
from tidegate.domain.rotation import Rotation
from tidegate.domain.sign import Dpop, Signer


def of_preset(name: str) -> Provider:
    """A preset's provider, with nothing declared beside it."""
    builder = _Builder(name, ProviderEntry(preset=name), Source(name, None), FilePath())
    return builder.build(Documents(None))


def resolve_provider(
    name: str, entry: ProviderEntry, source: Source, folder: FilePath, documents: Documents
) -> Provider:
    """Make the provider.

    Raises:
        ConfigErrors: all that is wrong with it.
    """
    return _Builder(name, entry, source, folder).build(documents)


@dataclass(slots=True)
class _Builder:
    name: str
    declared: ProviderEntry
    source: Source
    folder: FilePath
    errors: list[ConfigError] = field(default_factory=list[ConfigError])

    def build(self, documents: Documents) -> Provider:
        preset = self._preset()
        entry = _over(self.declared, preset)
        origins = (entry.origin,) if entry.origin else tuple(entry.origins)
        api = self._api(entry, origins, documents) if entry.openapi else None
        if api is not None:
            origins = api.origins
        operations = self._operations(entry, preset, api, origins)
        self._check_whole(entry, origins, operations)
        provider = Provider(
            name=self.name,
            title=entry.title or (api.title if api else "") or self.name,
            origins=origins,
            attach=tuple(part for form in entry.auth for part in attach_parts(form)),
            operations=operations,
            preset=entry.preset,
            headers=tuple(entry.headers.items()),
            hosts=tuple(entry.hosts),
            allow_private=tuple(entry.allow_private),
            http=entry.http,
            tls=self._tls(entry),
            deadlines=Deadlines(
                connect_ms=entry.deadlines.connect,
                first_byte_ms=entry.deadlines.first_byte,
                idle_ms=entry.deadlines.idle,
                total_ms=entry.deadlines.total,
            ),
            bounds=Bounds(entry.bounds.request_body, entry.bounds.response_body),
            encoded_slash=entry.encoded_slash,
            echo=entry.echo,
            token_grant=self._token_grant(entry),
            login=self._login(entry, preset, origins),
            sign=self._signer(entry),
            dialect=self._dialect(entry),
            cache=caching_of(entry.cache, operations, self._wrong) if entry.cache else None,
            checking=self._checking(entry, api, operations),
            price=entry.price,
            prices=prices_of(entry.prices, operations, self._wrong),
            unprotected=entry.unprotected,
            observe=entry.observe.one_in if entry.observe else 0,
            party=Party(legal_name=entry.legal_name or "", contact=contact_of(entry.contact)),
            erasures=erasures_of(entry.erasure, operations, self._wrong),
        )
        variables = _variables(provider)
        provider = replace(
            provider,
            variables=variables,
            variable_rules=self._rules(entry, variables),
            rotation=self._rotation(entry, preset, provider),
            resilience=resilience_of(entry, self.declared, origins, operations, self._wrong),
            quotas=quotas_of(entry.quotas, self.declared, preset, provider.operations, self._wrong),
        )
        self._check_fields(provider)
        if self.errors:
            raise ConfigErrors(self.errors)
        return provider

    def _wrong(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> None:
        whole = ("providers", self.name, *path)
        self.errors.append(self.source.error(whole, message, hint, key=key))

    def _preset(self) -> ProviderEntry | None:
        name = self.declared.preset
        if name is None:
            return None
        if name not in preset_names():
            hint = did_you_mean(name, preset_names())
            self._wrong(("preset",), f"there is no preset {shown(name)}", hint)
            raise ConfigErrors(self.errors)
        return preset_entry(name)

    def _api(
        self, entry: ProviderEntry, origins: tuple[str, ...], documents: Documents
    ) -> Api | None:
        name = entry.openapi or ""
        try:
            document, url = documents.read(name, self.folder)
            api = read_operations(
                document,
                origins=origins,
                base_path=entry.base_path,
                variables=entry.variables,
                url=url,
            )
        except ConfigErrors as error:
            self.errors += error.errors
        except OSError as error:
            siblings = [] if "://" in name else documents_beside(self.folder / name)
            reason = error.strerror or str(error) or type(error).__name__
            hint = did_you_mean(FilePath(name).name, siblings, otherwise=" ").strip()
            self._wrong(("openapi",), f"the document cannot be read: {reason}", hint)
        else:
            documents.described[self.name] = api.described
            return api
        return None

    def _operations(
        self,
        entry: ProviderEntry,
        preset: ProviderEntry | None,
        api: Api | None,
        origins: tuple[str, ...],
    ) -> tuple[Operation, ...]:
        known = list(api.operations) if api else []
        if preset is not None and not entry.openapi:
            known = [_by_place(one, len(origins)) for one in _preset_operations(preset)]
        by_hand = self._by_hand(origins)
        replaced = {(one.method, shape(one.path)) for _, one in by_hand}
        kept = [one for one in known if (one.method, shape(one.path)) not in replaced]
        taken = {one.id for one in kept}
        for path, one in by_hand:
            if one.id in taken:
                self._wrong(path, f"{shown(one.id)} names another operation already", key=True)
            taken.add(one.id)
        return (*kept, *(one for _, one in by_hand))

    def _checking(
        self, entry: ProviderEntry, api: Api | None, operations: tuple[Operation, ...]
    ) -> Checking | None:
        if entry.openapi and api is None:
            # What is wrong with the document has been said.
            return None
        try:
            return checking_of(entry, api, operations, self._wrong)
        except ConfigErrors as error:
            self.errors += error.errors
        return None

    def _by_hand(self, origins: tuple[str, ...]) -> list[tuple[Path, Operation]]:
        """The operations that the operator wrote, each once; a shape that comes twice is wrong."""
        by_shape: dict[tuple[str, str], tuple[Path, Operation]] = {}
        for key, name, text in _calls(self.declared):
            path: Path = ("operations", key)
            call = parse_call(text)
            whole = (self.declared.base_path or "") + call.path
            number = 0
            if call.origin is not None:
                if call.origin not in origins:
                    known = f"there is {listed(origins)}" if origins else ""
                    self._wrong(path, f"`{call.origin}` is no origin of this provider", known)
                    continue
                number = origins.index(call.origin)
            one = Operation(name or f"{call.method} {whole}", call.method, whole, number)
            same = by_shape.setdefault((call.method, shape(whole)), (path, one))[1]
            if same is not one:
                message = f"`{one.method}` {shown(one.path)} overlaps {shown(same.path)}"
                self._wrong(path, message, "no call can tell them apart")
        return list(by_shape.values())

    def _check_whole(
        self, entry: ProviderEntry, origins: tuple[str, ...], operations: tuple[Operation, ...]
    ) -> None:
        """What a provider cannot be without, and what its origins ask for."""
        preset = f"`preset: {self.name}` has what is needed" if self.name in preset_names() else ""
        if not origins and not entry.openapi:
            hint = preset or "like `https://api.example.com`"
            self._wrong((), "`origin` is missing", hint, key=True)
        if not entry.auth:
            self._wrong(
                (), "`auth` is missing", preset or "`none` where nothing is asked", key=True
            )
        if not operations and not entry.openapi:
            hint = preset or "list `operations`, or name a document by `openapi`"
            self._wrong((), "the provider has no operations, so all is denied", hint, key=True)
        if len(set(origins)) < len(origins):
            self._wrong(("origins",), "an origin stands twice")
        ranges = [ipaddress.ip_network(text) for text in entry.allow_private]
        for number, text in enumerate(origins):
            path: Path = ("origin",) if self.declared.origin else ("origins", number)
            problem = origin_problem(text, ranges)
            if problem:
                self._wrong(path, *problem)

    def _rules(self, entry: ProviderEntry, used: tuple[str, ...]) -> tuple[Variable, ...]:
        for name in self.declared.variables:
            if name not in used:
                known = f"the addresses have {listed(used)}" if used else "the addresses have none"
                message = f"no address has a variable {shown('{' + name + '}')}"
                self._wrong(("variables", name), message, known, key=True)
        described = ((name, entry.variables.get(name)) for name in used)
        return tuple(
            Variable(name, one.pattern if one else "", one.description if one else "")
            for name, one in described
        )

    def _token_grant(self, entry: ProviderEntry) -> TokenGrant | None:
        grants = [grant for grant in map(token_grant, entry.auth) if grant is not None]
        if grants and len(entry.auth) > 1:
            self._wrong(("auth",), "`oauth2` stands alone: its access token is the credential")
        return grants[0] if grants else None

    def _login(
        self, entry: ProviderEntry, preset: ProviderEntry | None, origins: tuple[str, ...]
    ) -> Login | None:
        logins = [form.login for form in entry.auth if isinstance(form, LoginAuth)]
        if not logins:
            return None
        if len(logins) > 1 or any(token_grant(form) is not None for form in entry.auth):
            self._wrong(("auth",), "two forms issue tokens", "a call carries one token")
        mine = "auth" in self.declared.model_fields_set
        base = (self.declared if mine else preset or self.declared).base_path or ""
        known = list(origins)
        if not mine and preset is not None:
            # A preset's further origins may be replaced by one for all.
            own = [preset.origin] if preset.origin else preset.origins
            known += [one for one in own if one not in known]
        parts = [part for form in entry.auth for part in attach_parts(form)]
        made = login_of(
            logins[0],
            base,
            tuple(known),
            fields_of(tuple(parts)),
            lambda path, message, hint: self._wrong(("auth", "login", *path), message, hint),
        )
        return _within(made, len(origins))

    def _rotation(
        self, entry: ProviderEntry, preset: ProviderEntry | None, provider: Provider
    ) -> Rotation:
        grant = provider.token_grant
        signed = () if provider.sign is None else provider.sign.fields
        fields = (*fields_of(provider.attach), *signed) if grant is None else grant.fields
        if provider.login is not None:
            fields = provider.login.entered
        return rotation_of(entry, self.declared, preset, provider.origins, fields, self._wrong)

    def _tls(self, entry: ProviderEntry) -> TlsPolicy:
        tls = entry.tls
        return TlsPolicy(
            ca_pem=None if tls.ca is None else self._certificates(tls.ca),
            pins=tuple(tls.pins),
            min_version=tls.min_version,
            client_certificate=tls.client_certificate,
        )

    def _certificates(self, name: str) -> str | None:
        try:
            return read_certificates(self.folder / name)
        except WrongCertificatesError as wrong:
            self._wrong(("tls", "ca"), str(wrong), wrong.hint)
        return None

    def _signer(self, entry: ProviderEntry) -> Signer | None:
        signers = [made for form in entry.auth if (made := signer(form)) is not None]
        if len(signers) > 1:
            self._wrong(("auth",), "two signatures are declared", "a call is signed once")
        issuing = any(
            token_grant(form) is not None or isinstance(form, LoginAuth) for form in entry.auth
        )
        if issuing and any(not isinstance(made, Dpop) for made in signers):
            self._wrong(("auth",), "a call with an issued token is not signed", "keep one of them")
        return signers[0] if signers else None

    def _dialect(self, entry: ProviderEntry) -> Dialect | None:
        if entry.limits is None:
            return None
        named = entry.limits.dialect
        if not isinstance(named, str):
            return dialect_of(named)
        if named in dialect_names():
            return built_in_dialect(named)
        hint = did_you_mean(named, dialect_names())
        self._wrong(("limits", "dialect"), f"there is no dialect {shown(named)}", hint)
        return None

    def _check_fields(self, provider: Provider) -> None:
        headers = [part.name.lower() for part in provider.attach if isinstance(part, AttachHeader)]
        basic = any(isinstance(part, AttachBasic) for part in provider.attach)
        headers += ["authorization"] if basic else []
        if len(set(headers)) < len(headers):
            self._wrong(("auth",), "two credentials go into one header")
        fixed = {name.lower() for name, _ in provider.headers} & set(headers)
        for name in sorted(fixed):
            self._wrong(("headers",), f"`{name}` carries the credential; it cannot be set here")
        asked = fields_of(provider.attach)
        if provider.tls.client_certificate and set(asked) & {"tls_certificate", "tls_key"}:
            message = "`tls_certificate` and `tls_key` are the client certificate's fields"
            self._wrong(("auth",), message)


def _within(login: Login, origins: int) -> Login:
    """A login at the first origin, where the operator named fewer of them than the preset."""
    requests = {
        name: replace(one, hook=replace(one.hook, origin=0))
        for name in ("request", "logout")
        if (one := getattr(login, name)) is not None and one.hook.origin >= origins
    }
    return replace(login, **requests)


def _variables(provider: Provider) -> tuple[str, ...]:
    grant = provider.token_grant
    addresses = (*provider.origins, *(grant.endpoints.values() if grant else ()))
    return tuple(dict.fromkeys(name for one in addresses for name in variables_of(one)))


def _over(entry: ProviderEntry, preset: ProviderEntry | None) -> ProviderEntry:
    """The operator's entry laid over the preset's."""
    if preset is None:
        return entry
    said: dict[str, Any] = {name: getattr(entry, name) for name in entry.model_fields_set}
    if said.keys() & {"origin", "origins"}:
        said.setdefault("origin", None)
        said.setdefault("origins", [])
    named = {name.lower() for name in entry.headers}
    kept = {name: value for name, value in preset.headers.items() if name.lower() not in named}
    said["headers"] = {**kept, **entry.headers}
    said["variables"] = {**preset.variables, **entry.variables}
    said["base_path"] = entry.base_path
    said["quotas"] = {**preset.quotas, **entry.quotas}
    said["rotation"] = over_preset(entry.rotation, preset.rotation)
    return preset.model_copy(update=said)


def _preset_operations(preset: ProviderEntry) -> Iterable[Operation]:
    origins = [preset.origin] if preset.origin else preset.origins
    for _, name, text in _calls(preset):
        call = parse_call(text)
        path = check_path((preset.base_path or "") + call.path)
        number = 0 if call.origin is None else origins.index(call.origin)
        yield Operation(name or f"{call.method} {path}", call.method, path, number)


def _by_place(operation: Operation, origins: int) -> Operation:
    """An operator who names other origins names them in the preset's order, or one for all."""
    return operation if operation.origin < origins else replace(operation, origin=0)


def _calls(entry: ProviderEntry) -> Iterable[tuple[str | int, str, str]]:
    """Operations by hand: where each stands, its name (may be empty) and its call."""
    if isinstance(entry.operations, dict):
        return ((name, name, text) for name, text in entry.operations.items())
    return ((number, "", text) for number, text in enumerate(entry.operations))
