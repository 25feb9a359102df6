"""Open a store and hand out its parts."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import sqlalchemy as sa

from tidegate.store.acts import Acts
from tidegate.store.calls import Calls
from tidegate.store.connections import Connections
from tidegate.store.consents import Consents
from tidegate.store.copying import copy_all, is_unused
from tidegate.store.database import Database
from tidegate.store.errors import StoreRefused
from tidegate.store.issued import IssuedTokens
from tidegate.store.ledger import Ledger
from tidegate.store.migrate import migrate
from tidegate.store.person_keys import PersonKeys
from tidegate.store.protection_roots import ProtectionRoots
from tidegate.store.revisions import Revisions
from tidegate.store.rotations import Rotations
from tidegate.store.schema import generation
from tidegate.store.sealed import Sealed
from tidegate.store.sealing import Sealing
from tidegate.store.shapes import Shapes
from tidegate.store.subjects import Subjects
from tidegate.store.tokens import Tokens


class Store:
    """Everything that is recorded. Threads may share it; processes may share its database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.revisions = Revisions(database)
        self.tokens = Tokens(database)
        self.connections = Connections(database)
        self.ledger = Ledger(database)
        self.shapes = Shapes(database)
        self.calls = Calls(database, self.ledger, self.shapes)
        self.subjects = Subjects(database)
        self.acts = Acts(database)
        sealing = Sealing(database)
        self.issued = IssuedTokens(database, sealing)
        self.consents = Consents(database)
        self.rotations = Rotations(database, sealing)
        self.person_keys = PersonKeys(database)
        self.protection_roots = ProtectionRoots(database, sealing)
        self.sealed = Sealed(database, sealing)
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

    def copy_into(self, target: Store) -> None:
        """Copy everything, as of one moment, into a store that is new.

        Raises:
            StoreRefused: it has been in use.
        """
        copy_all(self._database, target._database)

    def require_unused(self) -> None:
        """Refuse a store in which something was declared or sealed.

        Raises:
            StoreRefused: it has been in use.
        """
        with self._database.reading() as connection:
            if not is_unused(connection):
                raise StoreRefused(
                    "The store to restore into is in use already; name a new one "
                    "(`TIDEGATE_HOME` or `TIDEGATE_STORE`)."
                )

    def close(self) -> None:
        """Close all connections to the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
