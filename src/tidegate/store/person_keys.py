"""Keep the keys of single persons, sealed. Only the vault uses this.

A person has one key at a time for a client: whoever is second to make one finds the first one's. Destroyed
keys leave nothing: no row, and no page of the database that still holds it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Final

import sqlalchemy as sa

from tidegate.store.database import Database, Turn
from tidegate.store.schema import person_keys, suppressions

_ASKED_MAX: Final = 500
"""How many rows one statement asks for."""


@dataclass(frozen=True, slots=True)
class StoredPersonKey:
    """One person's key, sealed by what is made of the client's protection root of number `root`."""

    client: str
    subject: bytes
    id: bytes
    root: int
    sealed: bytes


class PersonKeys:
    """The sealed keys, by client and subject."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, client: str, subjects: Iterable[bytes]) -> list[StoredPersonKey]:
        """Return the keys of subjects, of those who have one."""
        return list(self._where(client, person_keys.c.subject, subjects))

    def with_ids(self, client: str, ids: Iterable[bytes]) -> list[StoredPersonKey]:
        """Return the keys of these ids, as far as there are any."""
        return list(self._where(client, person_keys.c.id, ids))

    def add(self, keys: Collection[StoredPersonKey], *, suppressed_too: bool) -> None:
        """Keep keys of subjects who have none yet; once this returns, they are on disk.

        Of a suppressed subject none is kept unless `suppressed_too`: whose key was destroyed a moment
        ago gets no other by a call that was under way.
        """
        insert = self._database.insert_or_ignore(person_keys, "client", "subject")
        with self._database.writing() as connection:
            # Who destroys a key has the same turn, and suppressed its subject before.
            self._database.take_turn(connection, Turn.PERSON_KEYS)
            for key in keys:
                if suppressed_too or not _is_suppressed(connection, key):
                    connection.execute(insert.values(asdict(key)))

    def destroy(self, client: str, subject: bytes) -> bool:
        """Destroy a subject's key; False where there is none. Running gateways are told."""
        mine = (person_keys.c.client == client, person_keys.c.subject == subject)
        with self._database.changing() as connection:
            self._database.take_turn(connection, Turn.PERSON_KEYS)
            gone = connection.execute(person_keys.delete().where(*mine)).rowcount > 0
        if gone:
            self._database.wipe(person_keys)
        return gone

    def _where(
        self, client: str, column: sa.ColumnElement[bytes], values: Iterable[bytes]
    ) -> Iterator[StoredPersonKey]:
        wanted = list(values)
        for at in range(0, len(wanted), _ASKED_MAX):
            some = wanted[at : at + _ASKED_MAX]
            theirs = sa.and_(person_keys.c.client == client, column.in_(some))
            with self._database.reading() as connection:
                rows = connection.execute(sa.select(person_keys).where(theirs)).mappings().all()
            yield from (StoredPersonKey(**row) for row in rows)


def _is_suppressed(connection: sa.Connection, key: StoredPersonKey) -> bool:
    column = suppressions.c
    same = sa.and_(column.client == key.client, column.subject == key.subject)
    return connection.execute(sa.select(column.client).where(same)).first() is not None
