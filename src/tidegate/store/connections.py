"""Keep connections: whose account at which provider, for which origins. No secret is in here."""

from __future__ import annotations

import sqlalchemy as sa

from tidegate.domain.connection import Connection
from tidegate.store.database import Database
from tidegate.store.schema import connections


class Connections:
    """The connections. They come to be, get their next version and end through the vault."""

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
