"""Keep by what subjects are indexed, of whom nothing is sent any more, and what was done for those who asked.

Nobody is named: a subject is a keyed index, and the key is not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from tidegate.domain.ledger import SubjectRequest, Suppression
from tidegate.store.database import Database
from tidegate.store.schema import subject_requests, subject_salts, suppressions

REQUESTS_MAX = 1_000
"""How many requests a list shows."""


@dataclass(frozen=True, slots=True)
class StoredSalt:
    """What makes a client's index key, authenticated by the vault; None: destroyed."""

    client: str
    number: int
    salt: bytes | None
    mac: bytes


class Subjects:
    """Salts, suppressions and requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def salts(self) -> dict[str, StoredSalt]:
        """Return each client's newest salt."""
        statement = sa.select(subject_salts).order_by(subject_salts.c.number)
        with self._database.reading() as connection:
            rows = connection.execute(statement).mappings().all()
        return {row["client"]: StoredSalt(**row) for row in rows}

    def add_salts(self, salts: Sequence[StoredSalt]) -> None:
        """Keep salts that are new; one that another process has just made stays as it is."""
        if not salts:
            return
        insert = self._database.insert_or_ignore(subject_salts, "client", "number")
        with self._database.writing() as connection:
            connection.execute(insert, [asdict(salt) for salt in salts])

    def destroy_salt(self, destroyed: StoredSalt) -> None:
        """Put what is left of a salt in its place; no page of the database holds the salt any more."""
        same = (
            subject_salts.c.client == destroyed.client,
            subject_salts.c.number == destroyed.number,
        )
        with self._database.changing() as connection:
            gone = subject_salts.update().where(*same).values(salt=None, mac=destroyed.mac)
            connection.execute(gone)
        self._database.rewrite(subject_salts)

    def suppressions(self, client: str | None = None) -> tuple[Suppression, ...]:
        """Return who is suppressed, of one client or of all, the latest last."""
        statement = sa.select(suppressions).order_by(suppressions.c.since, suppressions.c.subject)
        if client is not None:
            statement = statement.where(suppressions.c.client == client)
        with self._database.reading() as connection:
            rows = connection.execute(statement).mappings().all()
        return tuple(
            Suppression(
                index=bytes(row["subject"]),
                **{name: row[name] for name in ("client", "kind", "since", "author", "request")},
            )
            for row in rows
        )

    def suppress(self, one: Suppression) -> None:
        """Send nothing about a subject from now on; one that is suppressed already stays so."""
        values = asdict(one) | {"subject": one.index}
        del values["index"]
        insert = self._database.insert_or_ignore(suppressions, "client", "subject")
        with self._database.changing() as connection:
            connection.execute(insert.values(**values))

    def lift(self, client: str, index: bytes) -> bool:
        """Let calls about a subject go again; False where it was not suppressed."""
        same = (suppressions.c.client == client, suppressions.c.subject == index)
        with self._database.changing() as connection:
            return connection.execute(suppressions.delete().where(*same)).rowcount > 0

    def record(self, request: SubjectRequest) -> None:
        """Keep what was done for a subject, with the document that proves it."""
        values = asdict(request) | {"subject": request.index}
        del values["index"]
        with self._database.writing() as connection:
            connection.execute(subject_requests.insert().values(**values))

    def requests(self, client: str) -> tuple[SubjectRequest, ...]:
        """Return a client's newest requests, the oldest of them first."""
        column = subject_requests.c
        statement = sa.select(subject_requests).where(column.client == client)
        newest = statement.order_by(column.at.desc(), column.id.desc()).limit(REQUESTS_MAX)
        with self._database.reading() as connection:
            rows = connection.execute(newest).mappings().all()
        return tuple(_request(row) for row in reversed(rows))

    def request(self, client: str, id_: str) -> SubjectRequest | None:
        """Return one request, if it is this client's."""
        column = subject_requests.c
        statement = sa.select(subject_requests).where(column.client == client, column.id == id_)
        with self._database.reading() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else _request(row)


def _request(row: sa.RowMapping) -> SubjectRequest:
    values = {name: row[name] for name in row if name != "subject"}
    return SubjectRequest(index=bytes(row["subject"]), **values)
