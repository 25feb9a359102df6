"""Connect a client's account at a provider: check the secret, bind it to origins, seal it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from tidegate.catalog.errors import listed, shown
from tidegate.catalog.fields import NAME_PATTERN
from tidegate.catalog.origins import fill_origins
from tidegate.credentials.errors import CredentialRefused, require_known
from tidegate.credentials.fields import require_fitting, scheme_of, wanted_fields
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.vault import Vault


class Connections:
    """The connections of one store."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    def fields(self, declaration: Declaration, provider: str) -> tuple[str, ...]:
        """Name the fields of a credential for this provider.

        Raises:
            CredentialRefused: the provider is not declared.
        """
        return wanted_fields(_declared(declaration, provider))

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
        declared = _declared(declaration, provider)
        require_known("client", client, (known.name for known in declaration.clients))
        _require_name(name)
        require_fitting(declared, fields)
        at = now or datetime.now(UTC)
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
        self._vault.seal(connection, fields)
        return connection

    def disconnect(self, client: str, provider: str, name: str) -> Connection:
        """Forget a connection and destroy what is sealed for it.

        Works for what is no longer declared too.

        Raises:
            CredentialRefused: there is no such connection.
        """
        connection = self._store.connections.find(client, provider, name)
        if connection is None or not self._store.connections.remove(connection.id):
            theirs = [c for c in self._store.connections.all() if c.client == client]
            known = listed(f"{one.provider} ({one.name})" for one in theirs) or "none"
            raise CredentialRefused(
                f"Client {shown(client)} has no connection {shown(name)} at {shown(provider)}; "
                f"it has {known}."
            )
        return connection


def _declared(declaration: Declaration, name: str) -> Provider:
    providers = {provider.name: provider for provider in declaration.providers}
    require_known("provider", name, providers)
    return providers[name]


def _require_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise CredentialRefused(
            "A connection's name has lower-case letters, digits and `-`, like `default` or `eu-2`."
        )


def _origins(provider: Provider, variables: Mapping[str, str]) -> tuple[str, ...]:
    try:
        return fill_origins(provider, variables)
    except ValueError as error:
        reason = str(error)
        raise CredentialRefused(f"{reason[:1].upper()}{reason[1:]}.") from error
