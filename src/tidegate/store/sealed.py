"""Keep what the vault sealed. Only the vault uses this; to the store it is noise.

A credential's row comes with its connection's, in one transaction: no version of a connection is
ever without its secret, and none has another's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from tidegate.domain.connection import Connection
from tidegate.store.database import Database
from tidegate.store.errors import StoreConflict
from tidegate.store.schema import (
    connections,
    issued_tokens,
    keks,
    sealed_credentials,
    vault_values,
)

CLEAN: Final = {
    "failures": 0,
    "retry_at": None,
    "trouble": None,
    "asked_at": None,
    "ended": False,
    "issued_at": None,
    "expires_at": None,
    "holder": None,
    "held_until": None,
}
"""How an issued token's row looks when nothing is the matter and nobody asks."""


@dataclass(frozen=True, slots=True)
class SealedCredential:
    """One version of a credential: its own key, wrapped by the client's, and what it sealed."""

    kek_version: int
    wrapped_dek: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class FirstToken:
    """A token that came together with the consent, under the number that it was sealed for."""

    serial: int
    sealed: SealedCredential
    issued_at: datetime
    expires_at: datetime


class Sealed:
    """The sealed credentials, the clients' wrapped keys and the vault's own values."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self, connection: Connection, credential: SealedCredential, first: FirstToken | None = None
    ) -> None:
        """Keep a connection's version with its credential; the version before it is destroyed.

        Raises:
            StoreConflict: the stored connection is not the version before this one.
        """
        with self._database.changing() as database:
            self._put_connection(database, connection)
            older = sealed_credentials.c.connection == connection.id
            database.execute(sealed_credentials.delete().where(older))
            database.execute(
                sealed_credentials.insert().values(
                    connection=connection.id, version=connection.version, **asdict(credential)
                )
            )
            if first is not None:
                self._put_first(database, connection, first)
        if connection.version > 1:
            self._database.forget_deleted()

    def get(self, connection: Connection) -> SealedCredential | None:
        """Return the credential of exactly this version."""
        column = sealed_credentials.c
        statement = sa.select(column.kek_version, column.wrapped_dek, column.payload).where(
            column.connection == connection.id, column.version == connection.version
        )
        with self._database.reading() as database:
            row = database.execute(statement).mappings().first()
        return None if row is None else SealedCredential(**row)

    def versions(self, connection: str) -> tuple[int, ...]:
        """Name the versions that are kept: during a rotation, two."""
        column = sealed_credentials.c
        statement = sa.select(column.version).where(column.connection == connection)
        with self._database.reading() as database:
            return tuple(database.execute(statement.order_by(column.version)).scalars())

    def kek_version(self, client: str) -> int | None:
        """Return the version of the client's newest key."""
        statement = sa.select(sa.func.max(keks.c.version)).where(keks.c.client == client)
        with self._database.reading() as database:
            return database.execute(statement).scalar()

    def kek(self, client: str, version: int) -> bytes | None:
        """Return one of the client's keys, wrapped."""
        statement = sa.select(keks.c.wrapped).where(
            keks.c.client == client, keks.c.version == version
        )
        with self._database.reading() as database:
            return database.execute(statement).scalar()

    def add_kek(self, client: str, version: int, wrapped: bytes) -> None:
        """Keep a client's new key, unless another process was first with that version."""
        statement = self._database.insert_or_ignore(keks, "client", "version")
        with self._database.writing() as database:
            database.execute(statement.values(client=client, version=version, wrapped=wrapped))

    def value(self, name: str) -> bytes | None:
        """Return one of the vault's own values."""
        statement = sa.select(vault_values.c.value).where(vault_values.c.name == name)
        with self._database.reading() as database:
            return database.execute(statement).scalar()

    def value_once(self, name: str, value: bytes) -> bytes:
        """Keep a value unless it is there already; return the one that is kept."""
        statement = self._database.insert_or_ignore(vault_values, "name")
        with self._database.writing() as database:
            database.execute(statement.values(name=name, value=value))
            kept = sa.select(vault_values.c.value).where(vault_values.c.name == name)
            return database.execute(kept).scalar_one()

    def _put_first(
        self, database: sa.Connection, connection: Connection, first: FirstToken
    ) -> None:
        column = issued_tokens.c
        none = self._database.insert_or_ignore(issued_tokens, "connection").values(
            connection=connection.id, version=connection.version, serial=0,
            fence=0, failures=0, ended=False,
        )  # fmt: skip
        # The next fence: whoever still asks for the version before has nothing to keep.
        values = {
            "version": connection.version,
            "serial": first.serial,
            "fence": column.fence + 1,
            "issued_at": first.issued_at,
            "expires_at": first.expires_at,
        }
        keep = issued_tokens.update().where(
            column.connection == connection.id, column.serial == first.serial - 1
        )
        database.execute(none)
        if database.execute(keep.values(CLEAN | asdict(first.sealed) | values)).rowcount != 1:
            raise StoreConflict("A token was issued for this connection just now; try again.")

    def _put_connection(self, database: sa.Connection, connection: Connection) -> None:
        values = asdict(connection)
        if connection.version == 1:
            statement = self._database.insert_or_ignore(
                connections, "client", "provider", "name"
            ).values(values)
        else:
            statement = (
                connections.update()
                .where(connections.c.id == connection.id)
                .where(connections.c.version == connection.version - 1)
                .values(values)
            )
        if database.execute(statement.returning(connections.c.id)).first() is None:
            raise StoreConflict(
                f"Connection `{connection.name}` of client `{connection.client}` at "
                f"`{connection.provider}` was changed by somebody else just now; try again."
            )
