"""Open a store and hand out its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import sqlalchemy as sa

from tidegate.store.calls import Calls
from tidegate.store.connections import Connections
from tidegate.store.consents import Consents
from tidegate.store.database import Database
from tidegate.store.issued import IssuedTokens
from tidegate.store.migrate import migrate
from tidegate.store.revisions import Revisions
from tidegate.store.rotations import Rotations
from tidegate.store.schema import generation
from tidegate.store.sealed import Sealed
from tidegate.store.tokens import Tokens


class Store:
    """Everything that is recorded. Threads may share it; processes may share its database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.revisions = Revisions(database)
        self.tokens = Tokens(database)
        self.connections = Connections(database)
        self.calls = Calls(database)
        self.issued = IssuedTokens(database)
        self.consents = Consents(database)
        self.rotations = Rotations(database)
        self.sealed = Sealed(database)
        """For the vault alone: what is in here is sealed, and the vault holds the keys."""

    @classmethod
    def open(cls, url: str) -> Self:
        """Open `sqlite:///FILE` or `postgresql+psycopg://…` and migrate it.

        Raises:
            StoreRefused: the URL, the file's mode or the schema's version is not acceptable.
            StoreUnavailable: the database does not answer.
        """
        database = Database(url)
        try:
            migrate(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    @property
    def directory(self) -> Path | None:
        """The folder that holds the data; None where a database server keeps it."""
        file = self._database.file
        return None if file is None else file.parent

    def generation(self) -> int:
        """Return a number that grows with every change of what a snapshot depends on."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(generation.c.value)).scalar_one()

    def close(self) -> None:
        """Close all connections to the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
