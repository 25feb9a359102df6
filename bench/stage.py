"""The stage that every measurement plays on: two cores, a folder, processes that are stopped again.

What is measured runs on one core, what loads it (the generator and the provider) on the other, so
that neither takes the other's time. Processes are ended by their own process id.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self

ROOT: Final = Path(__file__).resolve().parent.parent
CACHE: Final = ROOT / ".cache"
PEERS_VENV: Final = CACHE / "bench-venv"

_STOP_S: Final = 10.0
_FREE_PORTS: Final = range(20_000, 32_000)  # below the range that outgoing connections draw from


class BenchError(Exception):
    """A measurement cannot be made, or what was measured did not do the work it should."""


@dataclass(frozen=True, slots=True)
class Cores:
    """The two cores: `gate` for what is measured, `load` for the generator and the origin."""

    gate: int
    load: int


@cache
def take_cores() -> Cores:
    """Take the first two cores that this process may use, and move to the second.

    The harness belongs to the load: what it does must not take the gateway's time.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("the bench needs two cores: one for the gateway, one for the load")
    os.sched_setaffinity(0, {cores[1]})
    return Cores(cores[0], cores[1])


@dataclass(frozen=True, slots=True)
class Running:
    """A process that the stage started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        """End it by its id; what does not end in time is killed."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def expect_alive(self) -> None:
        """Raise with the end of its log when it has ended."""
        if self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2_000:]
            raise BenchError(f"{self.name} ended with status {self.process.returncode}:\n{tail}")


class Stage:
    """A folder and the processes in it. Leaving it stops them, the last first, and removes it."""

    def __init__(self) -> None:
        _allow_many_files()
        self.cores = take_cores()
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
        self._exit = ExitStack()
        self._exit.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._ports = iter(_FREE_PORTS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit.close()

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        core: int,
        env: Mapping[str, str] | None = None,
        spoken_to: bool = False,
    ) -> Running:
        """Start a process on one core, its output going to a log in the folder.

        One that is `spoken_to` keeps its standard input and output for that.
        """
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                pinned(core, argv),
                stdin=subprocess.PIPE if spoken_to else subprocess.DEVNULL,
                stdout=subprocess.PIPE if spoken_to else output,
                stderr=output,
                cwd=self.folder,
                env={**os.environ, **(env or {})},
            )
        running = Running(name, process, log)
        self._exit.callback(running.stop)
        return running

    def free_port(self) -> int:
        """Find a loopback port that nothing listens on and no outgoing connection will take."""
        for port in self._ports:
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port
        raise BenchError("no free port")


def pinned(core: int, argv: Sequence[str | Path]) -> list[str]:
    """Prefix a command so that it and all it starts stay on one core."""
    return ["taskset", "--cpu-list", str(core), *map(str, argv)]


def wait_until_open(running: Running, port: int, timeout_s: float = 30.0) -> None:
    """Wait until a process accepts connections."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        running.expect_alive()
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise BenchError(f"{running.name} does not listen on port {port} after {timeout_s:.0f} s")


def program(name: str) -> str:
    """Find a program that the bench needs, or say what to install."""
    beside = PEERS_VENV / "bin" / name
    if beside.exists():
        return str(beside)
    found = shutil.which(name)
    if found is None:
        raise BenchError(f"`{name}` is missing: `make bench` installs what the bench needs")
    return found


def _allow_many_files() -> None:
    """As many as may be, for the harness and for what it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
