"""Keep what operators did. Append-only; the newest entry is named apart, so that it is missed."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from tidegate.domain.act import Act, ActsHead
from tidegate.store.database import Database
from tidegate.store.schema import acts, acts_head

Next = Callable[[tuple[Act, ...], ActsHead | None], tuple[Act, ActsHead]]
"""Makes the next entry and the head that names it, of all that are there."""


class Acts:
    """The acts, oldest first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, make: Next) -> Act:
        """Keep the entry that `make` returns; nobody else appends between its look and this.

        What it raises goes to the caller, and nothing is kept then.
        """
        with self._database.changing() as connection:
            made, head = make(_all(connection), _head(connection))
            connection.execute(acts.insert().values(**_row(made)))
            connection.execute(acts_head.delete())
            connection.execute(acts_head.insert().values(id=1, seq=head.seq, mac=head.mac))
        return made

    def all(self) -> tuple[tuple[Act, ...], ActsHead | None]:
        """Return every entry, and what is said to be the newest, as of one moment."""
        with self._database.one_moment() as connection:
            return _all(connection), _head(connection)


def _all(connection: sa.Connection) -> tuple[Act, ...]:
    rows = connection.execute(sa.select(acts).order_by(acts.c.seq)).mappings()
    return tuple(Act(**row) for row in rows)


def _head(connection: sa.Connection) -> ActsHead | None:
    row = connection.execute(sa.select(acts_head.c.seq, acts_head.c.mac)).mappings().first()
    return None if row is None else ActsHead(**row)


def _row(act: Act) -> dict[str, object]:
    return {column.name: getattr(act, column.name) for column in acts.columns}
