"""Keep connections: whose account at which provider, for which origins. No secret is in here."""

from __future__ import annotations

import sqlalchemy as sa

from tidegate.domain.connection import Connection
from tidegate.store.database import Database
from tidegate.store.schema import connections, issued_tokens, sealed_credentials


class Connections:
    """The connections. A connection comes to be, and gets its next version, through the vault."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> tuple[Connection, ...]:
        """Return every connection, by client, provider and name."""
        order = (connections.c.client, connections.c.provider, connections.c.name)
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(connections).order_by(*order)).mappings()
            return tuple(Connection(**row) for row in rows)

    def find(self, client: str, provider: str, name: str) -> Connection | None:
        """Return the connection of that name."""
        column = connections.c
        statement = sa.select(connections).where(
            column.client == client, column.provider == provider, column.name == name
        )
        with self._database.reading() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else Connection(**row)

    def get(self, connection_id: str) -> Connection | None:
        """Return one connection."""
        statement = sa.select(connections).where(connections.c.id == connection_id)
        with self._database.reading() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else Connection(**row)

    def remove(self, connection_id: str) -> bool:
        """Delete a connection and all that is sealed for it; False when there is none."""
        sealed = sealed_credentials.c.connection == connection_id
        with self._database.changing() as connection:
            connection.execute(sealed_credentials.delete().where(sealed))
            issued = issued_tokens.c.connection == connection_id
            connection.execute(issued_tokens.delete().where(issued))
            statement = connections.delete().where(connections.c.id == connection_id)
            removed = connection.execute(statement).rowcount == 1
        self._database.forget_deleted()
        return removed
