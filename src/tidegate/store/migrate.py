"""Bring a database to the present schema. Runs whenever a store is opened.

All migrations run in one transaction, under a lock that lets one process at a time in: a process
killed halfway leaves the database as it was, and one that waited finds the work done.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from tidegate.store.database import Database
from tidegate.store.errors import StoreRefused
from tidegate.store.schema import HEAD

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> None:
    """Apply what is missing.

    Raises:
        StoreRefused: a newer Tidegate has migrated the database further than this one knows.
    """
    with database.reading() as connection:
        version = _version(connection)
    if version == HEAD and database.is_write_ahead():
        return
    with database.migrating() as connection:
        if _version(connection) != HEAD:
            upgrade(connection, "head")


def upgrade(connection: sa.Connection, target: str) -> None:
    """Run the migrations up to `target` on an open transaction."""
    # Late, because a store that is up to date is opened often and needs none of it.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    try:
        command.upgrade(config, target)
    except CommandError as error:
        raise StoreRefused(
            "The store was written by a newer Tidegate; run that one, or restore a backup."
        ) from error


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
