"""Start real servers for tests: own folder, free port, wait until ready, stop by process id."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

READY_S = 30.0
STOP_S = 10.0


@dataclass(frozen=True)
class Server:
    """A server that runs. `log` is what it wrote on both of its outputs."""

    process: subprocess.Popen[bytes]
    folder: Path
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def accepts(address: tuple[str, int] | Path) -> Callable[[], bool]:
    """Ask whether something listens at a TCP address or a Unix socket."""

    def answers() -> bool:
        family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(1)
            target = str(address) if isinstance(address, Path) else address
            return client.connect_ex(target) == 0

    return answers


def program(name: str, *, package: str, folders: Sequence[Path] = ()) -> str:
    """Find a program; where it is missing the test fails and names the Debian package."""
    places = os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=places)
    if found is None:
        pytest.fail(f"`{name}` is missing: run `apt-get install {package}`", pytrace=False)
    return found


@contextlib.contextmanager
def run_server(
    command: Sequence[str],
    *,
    folder: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[Server]:
    """Run a command in a folder until the block is left.

    It must stay in the foreground and end on `stop`. `user` drops root to that account. `ready` is
    asked again and again until it says yes; see `accepts`.
    """
    log = folder / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*as_user(user), *command],
            cwd=folder,
            env=dict(os.environ if env is None else env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Server(process, folder, log)
    try:
        _wait_until_ready(server, ready)
        yield server
    finally:
        _stop(process, stop)


def as_user(user: str | None) -> list[str]:
    """The beginning of a command that runs as somebody else, and ends with us."""
    if user is None or os.geteuid() != 0:
        return []
    group = str(pwd.getpwnam(user).pw_gid)
    return [
        *("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"),
        *("--pdeathsig=SIGINT", "--"),
    ]


def wait_until(condition: Callable[[], bool], *, seconds: float = READY_S) -> None:
    """Ask until the answer is yes; the test fails when it never is."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s in vain", pytrace=True)
        time.sleep(0.01)


def _wait_until_ready(server: Server, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_S
    while not ready():
        if server.process.poll() is not None:
            pytest.fail(f"the server ended at once:\n{server.output()[-4000:]}", pytrace=False)
        if time.monotonic() > deadline:
            pytest.fail(f"the server does not answer:\n{server.output()[-4000:]}", pytrace=False)
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
