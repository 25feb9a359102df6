"""A PostgreSQL of the tests' own: an unprivileged user, a temporary folder, a Unix socket."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from support.canaries import search_before_it_goes
from support.servers import Server, as_user, program, run_server

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "logging_collector": "off",
}


@dataclass
class PostgreSQL:
    """An initialised cluster. It runs only inside `running`."""

    folder: Path
    user: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://{self.user}@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{next(self._numbers)}"
        with self._session() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        with run_server(
            [_tool("postgres"), "-D", str(self.folder / "data"), f"-k{self.folder}", *settings],
            folder=self.folder,
            ready=self._takes_sessions,
            user=self.user,
            stop=signal.SIGINT,
        ) as server:
            yield server

    def _session(self) -> psycopg.Connection:
        address = f"host={self.folder} user={self.user} dbname=postgres"
        return psycopg.connect(address, autocommit=True)

    def _takes_sessions(self) -> bool:
        """It accepts connections a moment before it takes sessions."""
        try:
            self._session().close()
        except psycopg.OperationalError:
            return False
        return True


@contextlib.contextmanager
def postgresql_cluster() -> Iterator[PostgreSQL]:
    """Initialise a cluster in a short path, which a Unix socket needs, and remove it afterwards."""
    user = _account()
    folder = Path(tempfile.mkdtemp(prefix="tidegate-pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, user)
        options = ["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", f"-U{user}"]
        subprocess.run(
            [*as_user(user), _tool("initdb"), "-D", str(folder / "data"), *options],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        yield PostgreSQL(folder, user)
        search_before_it_goes(*_written_by_tests(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _written_by_tests(folder: Path) -> list[Path]:
    """The log, and what holds rows of tables that are not PostgreSQL's own: numbers from 16,384 on."""
    relations = folder.glob("data/base/*/[1-9]*")
    own = [file for file in relations if file.name.isdigit() and int(file.name) >= 16_384]
    return [file for file in (*folder.glob("*.log"), *own) if file.stat().st_size > 0]


def _account() -> str:
    """PostgreSQL refuses root; Debian's package brings the account `postgres`."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _tool(name: str) -> str:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return program(name, package="postgresql", folders=folders)
