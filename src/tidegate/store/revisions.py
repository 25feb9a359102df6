"""Keep what was declared, revision by revision. Append-only: a rollback is a new revision."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from pydantic import TypeAdapter

from tidegate.domain.declaration import Declaration
from tidegate.store.database import Database
from tidegate.store.errors import StoreRefused
from tidegate.store.schema import revisions

_DECLARATION: Final = TypeAdapter(Declaration)


@dataclass(frozen=True, slots=True)
class Revision:
    """One declaration that was put in force. `digest` is the SHA-256 of its JSON."""

    number: int
    at: datetime
    author: str
    note: str
    digest: str
    declaration: Declaration


class Revisions:
    """The revisions, oldest first; the newest is in force."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, declaration: Declaration, *, author: str, note: str, at: datetime) -> Revision:
        """Keep a declaration as the next revision."""
        document = _DECLARATION.dump_json(declaration)
        digest = hashlib.sha256(document).hexdigest()
        with self._database.changing() as connection:
            newest = connection.execute(sa.select(sa.func.max(revisions.c.number))).scalar()
            revision = Revision((newest or 0) + 1, at, author, note, digest, declaration)
            connection.execute(
                revisions.insert().values(
                    number=revision.number,
                    at=at,
                    author=author,
                    note=note,
                    digest=digest,
                    declaration=zlib.compress(document),
                )
            )
        return revision

    def current(self) -> Revision | None:
        """Return the revision in force."""
        return self._one(sa.select(revisions).order_by(revisions.c.number.desc()).limit(1))

    def get(self, number: int) -> Revision | None:
        """Return one revision."""
        return self._one(sa.select(revisions).where(revisions.c.number == number))

    def all(self) -> tuple[Revision, ...]:
        """Return every revision, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(revisions).order_by(revisions.c.number)).mappings()
            return tuple(_revision(row) for row in rows)

    def _one(self, statement: sa.Select[Any]) -> Revision | None:
        with self._database.reading() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else _revision(row)


def _revision(row: sa.RowMapping) -> Revision:
    number: int = row["number"]
    try:
        document = zlib.decompress(row["declaration"])
    except zlib.error:
        document = b""
    if hashlib.sha256(document).hexdigest() != row["digest"]:
        raise StoreRefused(
            f"Revision {number} in the store is damaged; roll back to another, or restore a backup."
        )
    return Revision(
        number=number,
        at=row["at"],
        author=row["author"],
        note=row["note"],
        digest=row["digest"],
        declaration=_DECLARATION.validate_json(document),
    )
