"""A Valkey or Redis server of a measurement's own, on a Unix socket, with nothing on disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.stage import BenchError

_READY_S: Final = 20.0


@dataclass
class Valkey:
    """The server that runs."""

    socket: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it at once, with all that it knows."""
        self.process.kill()
        self.process.wait(10)


@contextmanager
def valkey() -> Iterator[Valkey]:
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise BenchError("`redis-server` is missing: `make bench` installs what the bench needs")
    # A short path, which a Unix socket needs.
    folder = Path(tempfile.mkdtemp(prefix="tidegate-vk-", dir="/tmp"))
    path = folder / "s"
    process = subprocess.Popen(
        [found, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    server = Valkey(path, process)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_ready(server: Valkey) -> None:
    end = time.monotonic() + _READY_S
    while time.monotonic() < end and server.process.poll() is None:
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(str(server.socket)) == 0:
                return
        time.sleep(0.02)
    raise BenchError("the store does not answer")
