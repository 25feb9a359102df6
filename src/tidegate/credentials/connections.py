"""Connect a client's account at a provider: check the secret, bind it to origins, seal it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from tidegate.catalog.errors import listed, shown
from tidegate.catalog.fields import NAME_PATTERN
from tidegate.catalog.origins import fill_endpoints, fill_origins
from tidegate.credentials.asking import Ask
from tidegate.credentials.discovery import with_endpoints
from tidegate.credentials.errors import CredentialRefused, require_known
from tidegate.credentials.fields import (
    entered_fields,
    made_fields,
    require_fitting,
    scheme_of,
    wanted_fields,
)
from tidegate.credentials.login import log_out
from tidegate.credentials.references import Read, fields_of, parse_reference, read_openbao
from tidegate.credentials.revoke import Revoked, revoke
from tidegate.domain.connection import REFERENCE, Connection
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.oauth import ACCESS_TOKEN, TokenGrant, bound_grant
from tidegate.domain.secret import Secret
from tidegate.engine import FetchError
from tidegate.snapshot import is_bound
from tidegate.store import Store
from tidegate.vault import Vault, VaultError


class Connections:
    """The connections of one store. The engine is for what must be asked of a provider."""

    def __init__(self, store: Store, vault: Vault, engine: Ask | None = None) -> None:
        self._store = store
        self._vault = vault
        self._engine = engine

    def fields(self, declaration: Declaration, provider: str) -> tuple[str, ...]:
        """Name the fields of a credential for this provider.

        Raises:
            CredentialRefused: the provider is not declared.
        """
        return wanted_fields(_declared(declaration, provider))

    def entered(self, declaration: Declaration, provider: str) -> tuple[str, ...]:
        """Name those of them that whoever connects enters, where the rest comes with a consent.

        Raises:
            CredentialRefused: the provider is not declared.
        """
        return entered_fields(_declared(declaration, provider))

    def grant(self, declaration: Declaration, provider: str) -> TokenGrant | None:
        """Say how the provider's tokens are obtained, if it issues any.

        Raises:
            CredentialRefused: the provider is not declared.
        """
        return _declared(declaration, provider).token_grant

    def connect(  # noqa: PLR0917 - the order is that of the sentence "connect P for C as N"
        self,
        declaration: Declaration,
        provider: str,
        client: str,
        name: str,
        fields: Mapping[str, Secret],
        variables: Mapping[str, str],
        *,
        now: datetime | None = None,
    ) -> Connection:
        """Seal a credential, as a new connection or as the next version of the one that is there.

        Raises:
            CredentialRefused: something does not fit what is declared.
            StoreConflict: somebody else changed the same connection at the same time.
        """
        connection, declared = self.draft(
            declaration, provider, client, name, variables, now or datetime.now(UTC)
        )
        grant = declared.token_grant
        entered = set(entered_fields(declared))
        if grant is not None and grant.asks_a_person and set(fields) == entered:
            raise CredentialRefused(
                f"Provider `{provider}` gives tokens for a person's consent; have it given by "
                "`tidegate connect`, or enter a `refresh_token` too."
            )
        if grant is not None and not grant.token_url:
            if self._engine is None:
                raise CredentialRefused(
                    f"Provider `{provider}` is declared by its `issuer`; use `tidegate connect`."
                )
            complete = with_endpoints(self._engine, declared, grant)
            connection = replace(connection, scheme=complete.scheme)
        require_fitting(declared, fields)
        made = made_fields(declared)
        connection = replace(connection, fields=(*connection.fields, *made))
        self._vault.seal(connection, {**fields, **made})
        return connection

    def refer(  # noqa: PLR0917 - as `connect`
        self,
        declaration: Declaration,
        provider: str,
        client: str,
        name: str,
        reference: str,
        variables: Mapping[str, str],
        read: Read = read_openbao,
    ) -> Connection:
        """Seal where a credential is kept, after it was read there once; it stays there.

        Raises:
            CredentialRefused: it cannot be read, or does not fit what is declared.
            StoreConflict: somebody else changed the same connection at the same time.
        """
        connection, declared = self.draft(
            declaration, provider, client, name, variables, datetime.now(UTC)
        )
        if declared.token_grant is not None:
            raise CredentialRefused(
                f"Provider `{provider}` issues tokens; what they are obtained with is entered here."
            )
        where = parse_reference(reference)
        fields_of(declared, where, read(where))
        connection = replace(connection, fields=(REFERENCE,))
        self._vault.seal(connection, {REFERENCE: Secret(reference)})
        return connection

    def draft(  # noqa: PLR0917 - as `connect`
        self,
        declaration: Declaration,
        provider: str,
        client: str,
        name: str,
        variables: Mapping[str, str],
        at: datetime,
    ) -> tuple[Connection, Provider]:
        """Say what connection would be made: a new one, or the next version of the one that is there.

        Raises:
            CredentialRefused: something does not fit what is declared.
        """
        declared = _filled(_declared(declaration, provider), variables)
        require_known("client", client, (known.name for known in declaration.clients))
        _require_name(name)
        connection = Connection(
            id=f"con_{secrets.token_hex(8)}",
            client=client,
            provider=provider,
            name=name,
            version=1,
            scheme=scheme_of(declared),
            origins=_origins(declared, variables),
            fields=wanted_fields(declared),
            created_at=at,
            rotated_at=at,
        )
        before = self._store.connections.find(client, provider, name)
        if before is not None:
            connection = replace(
                connection, id=before.id, version=before.version + 1, created_at=before.created_at
            )
        return connection, declared

    def disconnect(
        self,
        client: str,
        provider: str,
        name: str,
        declaration: Declaration | None = None,
    ) -> tuple[Connection, Revoked]:
        """Forget a connection and destroy what is sealed for it, here and, if offered, there.

        Works for what is no longer declared too; then the provider is told nothing.

        Raises:
            CredentialRefused: there is no such connection.
        """
        connection = self._store.connections.find(client, provider, name)
        fields = {} if connection is None else self._opened(connection)
        # Forgotten first: nobody asks for another token between the two.
        if connection is None or not self._vault.forget(connection):
            theirs = [c for c in self._store.connections.all() if c.client == client]
            known = listed(f"{one.provider} ({one.name})" for one in theirs) or "none"
            raise CredentialRefused(
                f"Client {shown(client)} has no connection {shown(name)} at {shown(provider)}; "
                f"it has {known}."
            )
        return connection, self._revoke(connection, fields, declaration)

    def _opened(self, connection: Connection) -> dict[str, Secret]:
        """Open all that is sealed for a connection, the newest of each; what does not open is none."""
        if not connection.issues_tokens:
            return {}
        try:
            fields = self._vault.open(connection)
            token = self._store.issued.get(connection.id)
            if token and token.sealed and token.version == connection.version:
                fields |= self._vault.open_issued(connection, token.serial, token.sealed)
        except VaultError:
            return {}
        return fields

    def _revoke(
        self, connection: Connection, fields: Mapping[str, Secret], declaration: Declaration | None
    ) -> Revoked:
        providers = declaration.providers if declaration else ()
        declared = {one.name: one for one in providers}.get(connection.provider)
        if declared is not None and declared.login is not None:
            return self._log_out(connection, declared, fields)
        if declared is None or declared.token_grant is None:
            return Revoked.NOT_OFFERED
        grant = bound_grant(declared.token_grant, connection.scheme)
        if grant is None or not grant.revocation_url:
            return Revoked.NOT_OFFERED
        if self._engine is None or not fields:
            return Revoked.FAILED
        return revoke(self._engine, declared, grant, fields)

    def _log_out(
        self, connection: Connection, provider: Provider, fields: Mapping[str, Secret]
    ) -> Revoked:
        login = provider.login
        if login is None or login.logout is None or not is_bound(provider, connection):
            return Revoked.NOT_OFFERED
        if ACCESS_TOKEN not in fields:
            return Revoked.NOT_OFFERED
        if self._engine is None:
            return Revoked.FAILED
        try:
            ended = log_out(self._engine, provider, connection, login, fields)
        except FetchError:
            return Revoked.FAILED
        return Revoked.DONE if ended else Revoked.FAILED


def _declared(declaration: Declaration, name: str) -> Provider:
    providers = {provider.name: provider for provider in declaration.providers}
    require_known("provider", name, providers)
    return providers[name]


def _require_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise CredentialRefused(
            "A connection's name has lower-case letters, digits and `-`, like `default` or `eu-2`."
        )


def _filled(provider: Provider, variables: Mapping[str, str]) -> Provider:
    """Bind the endpoints now: nothing that an answer says later moves them."""
    try:
        return fill_endpoints(provider, variables)
    except ValueError as error:
        reason = str(error)
        raise CredentialRefused(f"{reason[:1].upper()}{reason[1:]}.") from error


def _origins(provider: Provider, variables: Mapping[str, str]) -> tuple[str, ...]:
    try:
        return fill_origins(provider, variables)
    except ValueError as error:
        reason = str(error)
        raise CredentialRefused(f"{reason[:1].upper()}{reason[1:]}.") from error
