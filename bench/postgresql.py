"""A PostgreSQL of a measurement's own: an unprivileged user, a temporary folder, a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg

from bench.stage import BenchError

_READY_S: Final = 30.0
_STOP_S: Final = 20.0


@contextmanager
def postgresql() -> Iterator[str]:
    """Run one, and give the URL of an empty database in it. It keeps what is committed, as it should."""
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    # A short path, which a Unix socket needs.
    folder = Path(tempfile.mkdtemp(prefix="tidegate-pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, user)
        options = ["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", f"-U{user}"]
        data = str(folder / "data")
        subprocess.run(
            [*_as(user), _tool("initdb"), "-D", data, *options], check=True, capture_output=True
        )
        settings = ["-clisten_addresses=", "-cshared_buffers=64MB", "-cmax_connections=200"]
        process = subprocess.Popen(
            [*_as(user), _tool("postgres"), "-D", data, f"-k{folder}", *settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(process, folder, user)
            yield f"postgresql+psycopg://{user}@/postgres?host={folder}"
        finally:
            # A fast end: it does not wait for whoever is still connected.
            process.send_signal(signal.SIGINT)
            process.wait(_STOP_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(process: subprocess.Popen[bytes], folder: Path, user: str) -> None:
    end = time.monotonic() + _READY_S
    while time.monotonic() < end and process.poll() is None:
        try:
            psycopg.connect(f"host={folder} user={user} dbname=postgres").close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise BenchError("PostgreSQL does not answer")


def _as(user: str) -> list[str]:
    if os.geteuid() != 0:
        return []
    return [
        *("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"),
        *("--pdeathsig=SIGINT", "--"),
    ]


def _tool(name: str) -> str:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ["PATH"]]))
    if found is None:
        raise BenchError(f"`{name}` is missing: `make bench` installs what the bench needs")
    return found
