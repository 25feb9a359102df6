"""Write the snapshot: docs/reference/snapshot.md is its contract.

The same inputs give the same bytes, so that a snapshot can be compared, and kept as a golden file.
References that lead nowhere are left out here, because the engine refuses a snapshot that has one:
a token of a consumer that is no longer declared, or a connection of a provider that has moved, must
not keep everyone else's revision from coming into force.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, cast

from tidegate.catalog.patterns import OperationTable
from tidegate.catalog.protection import Policies, restored
from tidegate.domain.agreement import Register
from tidegate.domain.attach import AttachPart, secret_fields
from tidegate.domain.category import is_personal
from tidegate.domain.checking import Checking
from tidegate.domain.connection import AccessToken, Connection
from tidegate.domain.declaration import (
    CertificateIdentity,
    Client,
    Consumer,
    Declaration,
    Denial,
    Grant,
    Issuer,
    Provider,
)
from tidegate.domain.dialect import Dialect
from tidegate.domain.ledger import Suppression
from tidegate.domain.limit import Limit
from tidegate.domain.protection import (
    Protection,
    SubjectConsent,
    Tokenise,
)
from tidegate.domain.quota import Quota
from tidegate.domain.sign import HmacTemplate, HookSigner, Part, Signer, signing_secrets
from tidegate.snapshot.actions import action_json
from tidegate.snapshot.binding import is_bound
from tidegate.snapshot.gates import gates

FORMAT: Final = 1

EXPIRED_TOKENS_KEPT: Final = timedelta(days=30)
"""How long the engine can still say of a token that it has expired, not that it is unknown."""

_Json = dict[str, Any]


def compile_snapshot(
    declaration: Declaration,
    revision: int,
    tokens: Iterable[AccessToken],
    connections: Iterable[Connection],
    *,
    suppressions: Iterable[Suppression] = (),
    register: Register = Register(),  # noqa: B008 - it is frozen
    now: datetime | None = None,
) -> bytes:
    """Compile one snapshot.

    Args:
        declaration: What the revision declares.
        revision: Its number.
        tokens: Every access token on record; those that are revoked or long expired are left out.
        connections: Every connection on record; those that no longer fit are left out.
        suppressions: Of whom nothing is sent any more; those of clients that are gone are left out.
        register: What was agreed with providers; nothing is where none is given.
        now: The moment by which tokens expire; the present where none is given.
    """
    now = now or datetime.now(UTC)
    sets = _OperationSets(declaration.providers)
    policies = Policies(declaration)
    snapshot: _Json = {
        "format": FORMAT,
        "revision": revision,
        "clients": [client.name for client in declaration.clients],
        **_client_limits(declaration.clients),
        "issuers": [_issuer(issuer) for issuer in declaration.issuers],
        "consumers": [_consumer(consumer) for consumer in declaration.consumers],
        "tokens": _tokens(declaration, tokens, now),
        "providers": [
            _provider(provider, sets, alone=len(declaration.clients) < 2)  # noqa: PLR2004
            | _protection(provider, policies.of(provider), now)
            | _gates(declaration, provider, policies.of(provider), register, now)
            | _restorations(provider, declaration.protection)
            for provider in declaration.providers
        ],
        # Quotas, grants and denials fill the sets, so that these are written after them.
        "grants": [_grant(grant, sets) for grant in declaration.grants],
        "denials": [_denial(denial, sets) for denial in declaration.denials],
        "operation_sets": sets.written,
        "connections": _connections(declaration, connections),
        **_suppressed(declaration.clients, suppressions),
    }
    return json.dumps(snapshot, ensure_ascii=False, separators=(",", ":")).encode()


def _issuer(issuer: Issuer) -> _Json:
    return {
        "name": issuer.name,
        "issuer": issuer.issuer,
        "audiences": issuer.audiences,
        "algorithms": issuer.algorithms,
    }


def _consumer(consumer: Consumer) -> _Json:
    identities = [
        {"certificate": one.certificate}
        if isinstance(one, CertificateIdentity)
        else {"token": {"issuer": one.issuer, "claims": one.claims}}
        for one in consumer.identities
    ]
    return {
        "name": consumer.name,
        "clients": consumer.clients,
        "identities": identities,
        **_limit(consumer.limit),
    }


def _client_limits(clients: Iterable[Client]) -> _Json:
    limits = [(client.name, asdict(client.limit)) for client in clients if client.limit]
    return {"client_limits": limits} if limits else {}


def _suppressed(clients: Iterable[Client], suppressions: Iterable[Suppression]) -> _Json:
    ways = {client.name: client.suppressed for client in clients}
    indexes: dict[str, list[str]] = {}
    for one in suppressions:
        if one.client in ways:
            indexes.setdefault(one.client, []).append(one.index.hex())
    written = [
        {"client": client, "way": ways[client], "indexes": sorted(found)}
        for client, found in sorted(indexes.items())
    ]
    return {"suppressed": written} if written else {}


def _limit(limit: Limit | None) -> _Json:
    return {"limit": asdict(limit)} if limit else {}


class _OperationSets:
    """The sets of operations that grants and denials name, each written once.

    A thousand grants of one shape share one set, in the snapshot as in the engine.
    """

    def __init__(self, providers: Sequence[Provider]) -> None:
        self.written: list[_Json] = []
        self._operations = {provider.name: provider.operations for provider in providers}
        self._tables: dict[str, OperationTable] = {}
        self._by_patterns: dict[tuple[str, tuple[str, ...]], int] = {}
        self._by_members: dict[tuple[str, frozenset[int]], int] = {}

    def number(self, provider: str, patterns: tuple[str, ...]) -> int:
        """Say under which number the set of these patterns stands, writing it when it is new."""
        known = self._by_patterns.get((provider, patterns))
        if known is None:
            known = self._by_patterns[provider, patterns] = self._intern(provider, patterns)
        return known

    def numbers(self, provider: str, patterns: tuple[str, ...]) -> list[int]:
        """The numbers of the operations that the patterns select, in order."""
        table = self._table(provider)
        return sorted({number for pattern in patterns for number in table.matching(pattern)})

    def _intern(self, provider: str, patterns: tuple[str, ...]) -> int:
        table = self._table(provider)
        members = frozenset(number for pattern in patterns for number in table.matching(pattern))
        known = self._by_members.get((provider, members))
        if known is None:
            known = self._by_members[provider, members] = len(self.written)
            everything = len(members) == len(self._operations[provider])
            numbers = "all" if everything else sorted(members)
            self.written.append({"provider": provider, "operations": numbers})
        return known

    def _table(self, provider: str) -> OperationTable:
        table = self._tables.get(provider)
        if table is None:
            table = self._tables[provider] = OperationTable(self._operations[provider])
        return table


def _tokens(declaration: Declaration, tokens: Iterable[AccessToken], now: datetime) -> list[_Json]:
    clients = {client.name for client in declaration.clients}
    consumers = {consumer.name for consumer in declaration.consumers}
    providers = {provider.name for provider in declaration.providers}

    def counts(token: AccessToken) -> bool:
        return (
            token.revoked_at is None
            and token.expires_at > now - EXPIRED_TOKENS_KEPT
            and token.consumer in consumers
            and (token.client is None or token.client in clients)
            # A token whose providers are all gone must not turn into one for every provider.
            and (not token.providers or not providers.isdisjoint(token.providers))
        )

    return [
        {
            "id": token.id,
            "hmac": token.hmac_hex,
            "consumer": token.consumer,
            "client": token.client,
            "providers": [name for name in token.providers if name in providers],
            "expires": int(token.expires_at.timestamp()),
        }
        for token in sorted(tokens, key=lambda token: token.id)
        if counts(token)
    ]


def _provider(provider: Provider, sets: _OperationSets, *, alone: bool) -> _Json:
    return {
        "name": provider.name,
        "origins": provider.origins,
        "hosts": provider.hosts,
        "attach": [_attach(part) for part in provider.attach],
        "headers": provider.headers,
        "operations": [(o.id, o.method, o.path, o.origin) for o in provider.operations],
        "allow_private": provider.allow_private,
        "http": provider.http,
        "tls": asdict(provider.tls),
        "deadlines": asdict(provider.deadlines),
        "bounds": asdict(provider.bounds),
        "encoded_slash": provider.encoded_slash,
        "sign": _sign(provider.sign),
        "hook": _hook(provider.sign),
        "secret_fields": (
            *secret_fields(provider.attach),
            *(signing_secrets(provider.sign) if provider.sign else ()),
        ),
        "echo": provider.echo,
        "over": provider.login.over if provider.login else (401,),
        **_resilience(provider, sets, alone=alone),
        **({"dialect": dialect_json(provider, several=not alone)} if provider.dialect else {}),
        **(
            {"quotas": [_quota(provider, one, sets) for one in quotas]}
            if (quotas := provider.quotas)
            else {}
        ),
        **({"cache": asdict(provider.cache)} if provider.cache else {}),
        **_erases(provider, sets),
        **({"checks": _checks(provider.checking)} if provider.checking else {}),
    }


def _checks(checking: Checking) -> _Json:
    """The document's schemas stand there as text: the engine reads them when a call needs one."""
    return {
        "rules": [asdict(one) for one in checking.rules],
        "of": checking.of,
        "schemas": checking.schemas or None,
    }


def _protection(provider: Provider, policies: Mapping[int, Protection], now: datetime) -> _Json:
    """Each policy once, with the numbers of its operations; nothing where nothing is declared."""
    numbers: dict[str, list[int]] = {}
    for number, policy in sorted(policies.items()):
        numbers.setdefault(policy.name, []).append(number)
    by_name = {policy.name: policy for policy in policies.values()}
    written = [_policy(by_name[name], of, now) for name, of in numbers.items()]
    return {
        **({"protection": written} if written else {}),
        **({"unprotected": "refuse"} if provider.unprotected == "refuse" else {}),
        **({"observe": provider.observe} if provider.observe else {}),
    }


def _gates(
    declaration: Declaration,
    provider: Provider,
    policies: Mapping[int, Protection],
    register: Register,
    now: datetime,
) -> _Json:
    """Nothing where no operation sends anything personal."""
    found = gates(declaration, provider.name, policies, register, now)
    return {"gates": found} if found else {}


def _policy(policy: Protection, operations: Sequence[int], now: datetime) -> _Json:
    until = policy.report_until
    return {
        "name": policy.name,
        "operations": operations,
        "purpose": policy.purpose,
        "unknown_fields": policy.unknown_fields,
        "enforce_from": _first_second(until) if until else None,
        "body_bytes": policy.body_bytes,
        **({"namespaces": dict(policy.namespaces)} if policy.namespaces else {}),
        "assert_absent": policy.assert_absent,
        **_subject_consent(policy, now),
        "fields": [
            {
                "at": rule.at,
                "category": rule.category or None,
                "personal": bool(rule.category) and is_personal(rule.category),
                "do": action_json(rule.do, rule.at),
                **({"repeated": True} if rule.repeated else {}),
            }
            for rule in policy.fields
        ],
    }


def _subject_consent(policy: Protection, now: datetime) -> _Json:
    """Nothing where nothing personal is sent; while a policy only reports, calls go as they are."""
    asked = policy.consent
    until = policy.report_until
    reports = until is not None and now.timestamp() < _first_second(until)
    sends = reports or policy.may_send_personal
    if asked is None or not (sends or asked.signals):
        return {}
    said = {
        "max_age_s": asked.max_age_s,
        "sells": asked.sells,
        # Where nothing personal is sent the provider is told, and nobody is refused.
        "drop": asked.drops or not sends,
        **_tcf(asked),
        **({"signals": [asdict(one) for one in asked.signals]} if asked.signals else {}),
    }
    return {"consent": said}


def _tcf(asked: SubjectConsent) -> _Json:
    if not asked.tcf_purposes and asked.tcf_vendor is None:
        return {}
    return {"tcf": {"purposes": asked.tcf_purposes, "vendor": asked.tcf_vendor}}


def _restorations(provider: Provider, policies: Sequence[Protection]) -> _Json:
    """Where tokens in a provider's answers become values again; nothing where nowhere."""
    table = OperationTable(provider.operations)
    written = [
        {
            "operations": operations,
            "at": at,
            "field": rule.do.field,
            **({"ff1": rule.do.root} if rule.do.how == "ff1" else {}),
        }
        for policy in policies
        for rule in policy.fields
        if isinstance(rule.do, Tokenise) and rule.do.restore_in
        for at, operations in restored(policy, rule.do, provider.name, table)
    ]
    return {"restore": written} if written else {}


def _erases(provider: Provider, sets: _OperationSets) -> _Json:
    numbers = sets.numbers(provider.name, tuple(one.operation for one in provider.erasures))
    return {"erases": numbers} if numbers else {}


def _quota(provider: Provider, quota: Quota, sets: _OperationSets) -> _Json:
    """What a model does not ask for is left out, so that its count goes on when that is all that changes."""
    by_model: Mapping[str, _Json] = {
        "log": {},
        "gcra": {"burst": quota.burst},
        "window": {"anchor": quota.anchor},
        "bucket": {"restored": quota.restored},
        "concurrency": {"adaptive": quota.adaptive},
        "calendar": {"period": quota.period, "zone": quota.zone},
    }
    settle = quota.settle
    return {
        "name": quota.name,
        "model": quota.model,
        "amount": quota.amount,
        **({"window_ms": quota.window_ms} if quota.window_ms else {}),
        **by_model[quota.model],
        "headroom": quota.headroom,
        "whose": quota.scope,
        "costs": [(sets.number(provider.name, (one,)), cost) for one, cost in quota.costs],
        "free": quota.free,
        "settle": None
        if settle is None
        else ({"header": settle.header} if settle.header else {"body": settle.body}),
        "queue": asdict(quota.queue) if quota.queue else None,
    }


def _resilience(provider: Provider, sets: _OperationSets, *, alone: bool) -> _Json:
    """What is declared about faults; nothing where nothing is. `alone`: there is one client."""
    declared, written = provider.resilience, _Json()
    for name in ("retry", "breaker"):
        part = getattr(declared, name)
        written |= {name: asdict(part)} if part else {}
    if declared.idempotency:
        key = declared.idempotency
        written["idempotency"] = {
            "in": key.place,
            "name": key.name,
            "operations": sets.numbers(provider.name, key.operations),
            "generate": key.generate,
            "across_origins": key.across_origins,
            "hint": key.hint,
        }
    if declared.bulkhead:
        calls = declared.bulkhead.calls
        share = 100 if alone else declared.bulkhead.client_percent
        written["bulkhead"] = {"calls": calls, "client_calls": max(1, calls * share // 100)}
    if declared.hedge:
        numbers = sets.numbers(provider.name, declared.hedge.operations)
        written["hedge"] = {"operations": numbers}
    if declared.failover:
        written["failover"] = [provider.origins.index(origin) for origin in declared.failover]
    found: _Json = {"resilience": written} if written else {}
    if declared.deadlines:
        found["operation_deadlines"] = [
            asdict(one) | {"operations": sets.numbers(provider.name, one.operations)}
            for one in declared.deadlines
        ]
    return found


def dialect_json(provider: Provider, *, several: bool) -> _Json:
    """Write how a provider speaks of its limits; `several` clients are called for.

    What it says to one of them of the calls of all goes no further: the fields of shared budgets, and
    all where the provider knows no client from another.
    """
    dialect = provider.dialect or Dialect()
    knows = provider.attach or provider.sign or provider.tls.client_certificate
    hidden = dialect.fields(shared=bool(knows)) if several else ()
    return _said(asdict(dialect) | {"hidden": hidden})


def _said(value: Any) -> Any:
    """Leave out what is not said."""
    if isinstance(value, dict):
        named = cast("_Json", value)
        return {
            name: _said(one)
            for name, one in named.items()
            if name != "shared" and one not in ("", None, (), False)
        }
    if isinstance(value, tuple):
        return [_said(one) for one in cast("tuple[Any, ...]", value)]
    return value


def _hook(signer: Signer | None) -> _Json | None:
    if not isinstance(signer, HookSigner):
        return None
    return {
        "hook": signer.hook,
        "fields": signer.given,
        "headers": signer.headers,
        "query": signer.query,
        "body": signer.body,
        "timeout_ms": signer.timeout_ms,
    }


def _sign(signer: Signer | None) -> _Json | None:
    return None if signer is None or isinstance(signer, HookSigner) else signer_document(signer)


def signer_document(signer: Signer) -> dict[str, Any]:
    """Say how calls are signed, as the engine reads it."""
    if not isinstance(signer, HmacTemplate):
        return asdict(signer)
    return asdict(signer) | {
        "message": _text(signer.message),
        "headers": [(name, _text(text)) for name, text in signer.headers],
        "query": [(name, _text(text)) for name, text in signer.query],
    }


def _text(parts: Iterable[Part]) -> list[str | dict[str, str]]:
    return [part if isinstance(part, str) else {part[0]: part[1]} for part in parts]


def _attach(part: AttachPart) -> _Json:
    return {"kind": part.kind} | {
        name: value for name, value in asdict(part).items() if name != "kind" and value is not None
    }


def _grant(grant: Grant, sets: _OperationSets) -> _Json:
    return {
        "name": grant.name,
        "consumer": grant.consumer,
        "provider": grant.provider,
        "clients": grant.clients,
        "operations": sets.number(grant.provider, grant.operations),
        "mode": grant.mode,
        "enforce_from": _first_second(grant.enforce_from) if grant.enforce_from else None,
        **_limit(grant.limit),
        **({"class": grant.call_class} if grant.call_class != "normal" else {}),
        **({"unprotected": "refuse"} if grant.unprotected == "refuse" else {}),
    }


def _denial(denial: Denial, sets: _OperationSets) -> _Json:
    return {
        "name": denial.name,
        "provider": denial.provider,
        "operations": sets.number(denial.provider, denial.operations),
        "consumers": denial.consumers,
        "clients": denial.clients,
        "reason": denial.reason,
    }


def _first_second(day: date) -> int:
    """Enforcement begins with the day in UTC: one instant for every node, wherever it runs."""
    return int(datetime.combine(day, time.min, UTC).timestamp())


def _connections(declaration: Declaration, connections: Iterable[Connection]) -> list[_Json]:
    clients = {client.name for client in declaration.clients}
    providers = {provider.name: provider for provider in declaration.providers}
    return [
        {
            "id": connection.id,
            "client": connection.client,
            "provider": connection.provider,
            "name": connection.name,
            "version": connection.lease_version,
            "origins": connection.origins,
        }
        for connection in sorted(connections, key=lambda c: (c.client, c.provider, c.name))
        if connection.client in clients
        and connection.provider in providers
        and is_bound(providers[connection.provider], connection)
    ]
