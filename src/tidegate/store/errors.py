"""What can go wrong with the store, told to the operator. No message holds a row's content."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa


class StoreError(Exception):
    """The base of the store's errors."""


class StoreUnavailable(StoreError):  # noqa: N818 - its name says what it is
    """The database cannot be used at this moment; the same call may succeed later."""


class StoreRefused(StoreError):  # noqa: N818 - as above
    """The database must not be used as it is; somebody has to change something first."""


class StoreConflict(StoreError):  # noqa: N818 - as above
    """Somebody else changed the same thing first; read again and decide anew."""


class KekReplaced(StoreConflict):
    """The client's key was replaced meanwhile; seal with the newest."""


def explain(url: sa.URL, cause: BaseException | None) -> StoreError | None:
    """Put what the driver raised into the operator's words; None where it is a defect of ours."""
    if url.get_backend_name() == "sqlite":
        return _explain_sqlite(Path(url.database or ""), cause)
    return _explain_postgresql(url, cause)


def _explain_sqlite(file: Path, cause: BaseException | None) -> StoreError | None:
    name = str(getattr(cause, "sqlite_errorname", ""))
    for names, message in _SQLITE.items():
        if name.startswith(names):
            return StoreUnavailable(message.format(file=file, name=name))
    if str(cause).startswith("Could not decode to UTF-8"):
        # SQLite has no name for it: the driver says so on its own.
        return StoreRefused(
            f"A text in the store `{file}` is none: its row was altered or damaged. Find out by "
            "whom, and restore a backup."
        )
    return None


_SQLITE: Final = {
    ("SQLITE_BUSY", "SQLITE_LOCKED"): "The store `{file}` is locked by another process; try again "
    "when it is done.",
    ("SQLITE_FULL",): "The disk of the store `{file}` is full; make room and try again.",
    ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM"): "The store `{file}` cannot be written; "
    "check who owns it and its folder.",
    ("SQLITE_CORRUPT", "SQLITE_NOTADB"): "The store `{file}` is damaged; restore it from a backup.",
    ("SQLITE_IOERR",): "The disk of the store `{file}` fails ({name}).",
}


def _explain_postgresql(url: sa.URL, cause: BaseException | None) -> StoreError | None:
    import psycopg

    if isinstance(cause, psycopg.errors.InsufficientPrivilege):
        return StoreRefused(
            f"The role `{url.username or ''}` of the store's URL may not do this; it must own the "
            "database's tables and may create them."
        )
    if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        where = url.render_as_string(hide_password=True)
        return StoreUnavailable(
            f"PostgreSQL at `{where}` does not answer ({type(cause).__name__}); "
            "check that it runs and that this machine may connect."
        )
    return None
