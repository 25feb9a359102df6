"""Connect to SQLite or PostgreSQL, and hand out transactions.

Everything that differs between the two databases is here, so that the rest of the store is written
once. Waiting is bounded: a locked or absent database becomes `StoreUnavailable` within seconds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Generator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection

from tidegate.store import schema
from tidegate.store.errors import StoreRefused, StoreUnavailable, explain

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy.dialects import postgresql, sqlite

LOCK_WAIT_S = 4.0
"""How long a statement waits for another process's lock."""

MIGRATION_WAIT_S = 60.0
"""How long opening waits for another process that is migrating."""

_WAL_BYTES_KEPT = 64 * 1024 * 1024

_GIVE_WAY_EVERY = 300
"""Instructions of SQLite's own machine, some 10 us."""

# The sealed secrets stand in this file: `secure_delete` overwrites what is deleted, temporary data
# stays in memory, and FULL makes an acknowledged write outlive a power cut.
_SQLITE_PRAGMAS = (
    "foreign_keys = ON",
    "secure_delete = ON",
    "synchronous = FULL",
    "temp_store = MEMORY",
    "trusted_schema = OFF",
    "cell_size_check = ON",
    f"journal_size_limit = {_WAL_BYTES_KEPT}",
)


class Turn(IntEnum):
    """What only one transaction at a time may do: the numbers of PostgreSQL's advisory locks."""

    MIGRATION = 0x74646701
    CALLS = 0x74646702
    PERSON_KEYS = 0x74646703


class Database:
    """One database. Threads may share it; each transaction has a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.file = Path(self.url.database or "").absolute() if self.is_sqlite else None
        if self.file is not None:
            _secure_file(self.file)
        self._engine = _sqlite_engine(self.url) if self.is_sqlite else _postgresql_engine(self.url)
        self._writer = self._engine.execution_options(tidegate_write=True)
        self._relaxed_writer = self._writer.execution_options(tidegate_relaxed=True)

    @contextlib.contextmanager
    def reading(self) -> Generator[sa.Connection]:
        """Open a transaction that sees one state of the database and changes nothing."""
        with self._explained(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def one_moment(self) -> Generator[sa.Connection]:
        """Open a transaction whose every statement sees the same state; SQLite's all do."""
        engine = self._engine
        if not self.is_sqlite:
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with self._explained(), engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self, *, relaxed: bool = False) -> Generator[sa.Connection]:
        """Open a transaction that writes; once left, it is on disk.

        `relaxed` ones outlive a crash of this process, but the newest may be lost with the power.
        """
        engine = self._relaxed_writer if relaxed else self._writer
        with self._explained(), engine.begin() as connection:
            if relaxed and not self.is_sqlite:
                connection.execute(sa.text("SET LOCAL synchronous_commit = off"))
            yield connection

    @contextlib.contextmanager
    def changing(self) -> Generator[sa.Connection]:
        """Open a transaction that changes what a snapshot depends on.

        The new generation comes first: its row lock makes such changes follow one another, so what
        is read inside the transaction still holds when it commits.
        """
        with self.writing() as connection:
            table = schema.generation
            connection.execute(table.update().values(value=table.c.value + 1))
            yield connection

    @contextlib.contextmanager
    def migrating(self) -> Generator[sa.Connection]:
        """Open the transaction in which the schema changes; one process at a time gets in."""
        with contextlib.ExitStack() as stack:
            if self.file is not None:
                stack.enter_context(_folder_lock(self.file.parent))
                self._use_write_ahead_log()
            connection = stack.enter_context(self.writing())
            if self.file is None:
                wait = f"SET LOCAL lock_timeout = '{MIGRATION_WAIT_S:.0f}s'"
                connection.execute(sa.text(wait))
                self.take_turn(connection, Turn.MIGRATION)
            yield connection

    def take_turn(self, connection: sa.Connection, turn: Turn) -> None:
        """Wait until no other transaction has this turn; it ends with the transaction.

        On SQLite every writing transaction has had its turn from the beginning.
        """
        if not self.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(turn)))

    def is_write_ahead(self) -> bool:
        """Whether SQLite keeps a write-ahead log, which a copied file may have lost."""
        if not self.is_sqlite:
            return True
        with self.reading() as connection:
            return connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"

    def forget_deleted(self) -> None:
        """Drop deleted rows from SQLite's log too; readers that still need it delay that."""
        if not self.is_sqlite:
            return
        with self._explained(), contextlib.closing(self._engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def wipe(self, table: sa.Table) -> None:
        """Leave no trace of rows that were deleted; what is overwritten already is not written anew."""
        if self.is_sqlite:
            self.forget_deleted()
        else:
            self.rewrite(table)

    def rewrite(self, *tables: sa.Table) -> None:
        """Write tables anew, so that no page of them holds what was deleted."""
        self.forget_deleted()
        if self.is_sqlite:
            with self._explained(), contextlib.closing(self._engine.raw_connection()) as connection:
                connection.cursor().execute("VACUUM")
            self.forget_deleted()
            return
        # A plain VACUUM would leave the bytes in their pages; FULL makes new files.
        engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        with self._explained(), engine.connect() as connection:
            for table in tables:
                connection.exec_driver_sql(f"VACUUM FULL {table.name}")

    def insert_or_ignore(self, table: sa.Table, *key: str) -> sa.Insert:
        """INSERT that leaves a row alone whose `key` is taken."""
        return self._insert(table).on_conflict_do_nothing(index_elements=key)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        # Late, because commands open a store often and use one of the two.
        if self.is_sqlite:
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)

    @contextlib.contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except exc.TimeoutError as error:
            raise StoreUnavailable("The store has no connection free; try again.") from error
        except (exc.DBAPIError, self._engine.dialect.loaded_dbapi.Error) as error:
            # The driver's own errors come from where the store uses the driver itself.
            explained = explain(self.url, getattr(error, "orig", error))
            if explained is None:
                raise
            raise explained from error

    def _use_write_ahead_log(self) -> None:
        with self._explained(), contextlib.closing(self._engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA journal_mode = WAL")


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except exc.ArgumentError:
        parsed = None
    backend = parsed.get_backend_name() if parsed is not None else ""
    if parsed is None or backend not in {"sqlite", "postgresql"}:
        raise StoreRefused(
            "The store's URL must be `sqlite:///FILE` or `postgresql+psycopg://HOST/DATABASE`."
        )
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.database in {None, "", ":memory:"}:
        raise StoreRefused("The store's URL must name a file: `sqlite:///FILE`.")
    return parsed.set(drivername="sqlite+pysqlite")


def _secure_file(file: Path) -> None:
    """Make folder and file for the owner alone, before SQLite would make them for everyone.

    SQLite gives `-wal` and `-shm` the mode of the file. What exists already is not changed but
    refused: its owner may have had a reason, and should know.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.is_symlink() and file.exists():
            # Never opened here: closing it again would drop the locks that SQLite holds on it in
            # this process, and the next process to leave would take its log away from under it.
            _require_usable(file)
        else:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(file, flags, 0o600))
    except OSError as error:
        raise StoreRefused(
            f"The store `{file}` cannot be opened: {error.strerror}; "
            "check who owns it, and that it is a file and no link."
        ) from error
    for path, mode in ((file.parent, "700"), (file, "600")):
        if path.stat().st_mode & 0o077:
            raise StoreRefused(f"Others may read `{path}`; run `chmod {mode} {path}`.")


def _require_usable(file: Path) -> None:
    if not file.is_file():
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if not os.access(file, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(
        url,
        hide_parameters=True,
        connect_args={"timeout": LOCK_WAIT_S, "isolation_level": None},
        pool_timeout=LOCK_WAIT_S,
    )

    def on_connect(connection: DBAPIConnection, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        # Whoever else waits for the core, a call above all, gets it within a statement too.
        cast("sqlite3.Connection", connection).set_progress_handler(os.sched_yield, _GIVE_WAY_EVERY)

    def on_begin(connection: sa.Connection) -> None:
        options: Mapping[str, Any] = connection.get_execution_options()
        if options.get("tidegate_write"):
            # In WAL mode NORMAL leaves out one fsync per commit and cannot corrupt the file.
            level = "NORMAL" if options.get("tidegate_relaxed") else "FULL"
            connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
            # Taking the write lock at once waits for others; taking it later would fail instead.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql("BEGIN")

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_timeout=LOCK_WAIT_S,
            connect_args={
                "connect_timeout": int(LOCK_WAIT_S),
                "tcp_user_timeout": int(LOCK_WAIT_S * 1000),
                "options": f"-c lock_timeout={int(LOCK_WAIT_S * 1000)}",
            },
        )
    except ModuleNotFoundError as error:
        raise StoreRefused(
            "PostgreSQL needs the package `psycopg`: `pip install 'tidegate[postgresql]'`."
        ) from error


@contextlib.contextmanager
def _folder_lock(folder: Path) -> Generator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _wait_for(lambda: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), folder)
        yield
    finally:
        os.close(descriptor)


def _wait_for(take: Callable[[], None], folder: Path) -> None:
    deadline = time.monotonic() + MIGRATION_WAIT_S
    while True:
        try:
            return take()
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"Another process has been migrating the store in `{folder}` for "
                    f"{MIGRATION_WAIT_S:.0f} seconds; see what it is doing."
                ) from None
            time.sleep(0.02)
