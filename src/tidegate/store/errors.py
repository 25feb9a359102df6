"""What can go wrong with the store, told to the operator. No message holds a row's content."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa


class StoreError(Exception):
    """The base of the store's errors."""


class StoreUnavailable(StoreError):  # noqa: N818 - its name says what it is
    """The database cannot be used at this moment; the same call may succeed later."""


class StoreRefused(StoreError):  # noqa: N818 - as above
    """The database must not be used as it is; somebody has to change something first."""


class StoreConflict(StoreError):  # noqa: N818 - as above
    """Somebody else changed the same thing first; read again and decide anew."""


def unavailable(url: sa.URL, cause: BaseException | None) -> StoreUnavailable:
    """Say in the operator's words why the database, whose driver raised `cause`, did not answer."""
    if url.get_backend_name() == "sqlite":
        return StoreUnavailable(_sqlite_reason(Path(url.database or ""), cause))
    where = url.render_as_string(hide_password=True)
    return StoreUnavailable(
        f"PostgreSQL at `{where}` does not answer ({type(cause).__name__}); "
        "check that it runs and that this machine may connect."
    )


def _sqlite_reason(file: Path, error: BaseException | None) -> str:
    name = str(getattr(error, "sqlite_errorname", ""))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"The store `{file}` is locked by another process; try again when it is done."
    if name.startswith("SQLITE_FULL"):
        return f"The disk of the store `{file}` is full; make room and try again."
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return f"The store `{file}` cannot be written; check who owns it and its folder."
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"The store `{file}` is damaged; restore it from a backup."
    return f"The store `{file}` cannot be used ({name or 'unknown reason'})."
