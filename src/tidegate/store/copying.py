"""Copy everything of one store into another that is new, whichever databases the two are."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from tidegate.store.database import Database
from tidegate.store.errors import StoreRefused
from tidegate.store.schema import (
    calls,
    gaps,
    generation,
    ledger,
    metadata,
    revisions,
    roots,
    vault_epoch,
)

_BATCH: Final = 1_000
_FILLED_WHEN_MADE: Final = (generation, vault_epoch)
_NUMBERED: Final = ((calls, "seq"), (gaps, "seq"), (ledger, "seq"))


def copy_all(source: Database, target: Database) -> None:
    """Copy every row, as of one moment, in one transaction of the target.

    Raises:
        StoreRefused: the target has been in use.
    """
    with source.one_moment() as reading, target.writing() as writing:
        if not is_unused(writing):
            raise StoreRefused("The store to copy into is in use already.")
        for table in _FILLED_WHEN_MADE:
            writing.execute(table.delete())
        for table in metadata.sorted_tables:
            found = reading.execution_options(yield_per=_BATCH).execute(sa.select(table))
            for rows in found.mappings().partitions(_BATCH):
                writing.execute(table.insert(), [dict(row) for row in rows])
        # A running gateway, or one that starts, must see that it is not what it was.
        writing.execute(generation.update().values(value=generation.c.value + 1))
        if not target.is_sqlite:
            _move_sequences(writing)


def is_unused(database: sa.Connection) -> bool:
    """Whether nothing was ever declared or sealed."""
    return all(
        database.execute(sa.select(table).limit(1)).first() is None for table in (revisions, roots)
    )


def _move_sequences(database: sa.Connection) -> None:
    for table, column in _NUMBERED:
        newest = sa.select(sa.func.max(table.c[column])).scalar_subquery()
        sequence = sa.func.pg_get_serial_sequence(table.name, column)
        database.execute(sa.select(sa.func.setval(sequence, sa.func.coalesce(newest, 1))))
