"""A Redis-protocol server of the tests' own, and gateways that count together at it, each its own process."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.gate import provider_at
from support.servers import accepts, program, wait_until
from tidegate.app import Home, services
from tidegate.domain.declaration import Client, Consumer, Declaration, Grant
from tidegate.domain.quota import Quota
from tidegate.snapshot import compile_snapshot

ROOT = Path(__file__).parents[2]


@dataclass
class Valkey:
    """The server, on a Unix socket. It can be killed, stopped for a while, and started again, empty."""

    socket: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        name = "valkey-server" if shutil.which("valkey-server") else "redis-server"
        self.process = subprocess.Popen(
            [
                program(name, package="redis-server"),
                *("--port", "0", "--unixsocket", str(self.socket), "--save", ""),
                *("--dir", str(self.socket.parent), *self.options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        wait_until(accepts(self.socket))

    def kill(self) -> None:
        """End it at once, with all that it knows."""
        self.send(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)

    def send(self, what: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(what)

    def ask(self, *words: str) -> str:
        """One command and what it answers, as the protocol has it."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.socket))
            sent = [f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]
            client.sendall("".join(sent).encode())
            client.settimeout(5)
            return client.recv(1 << 20).decode()

    def pots(self) -> list[str]:
        """The keys of what is counted."""
        return [line for line in self.ask("KEYS", "*{*").split("\r\n") if "{" in line]


@contextmanager
def valkey(*options: str) -> Iterator[Valkey]:
    """Run one; a Unix socket needs a short path."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-vk-", dir="/tmp"))
    server = Valkey(folder / "s", options)
    try:
        server.start()
        yield server
    finally:
        server.send(signal.SIGCONT)
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Node:
    """One gateway."""

    process: subprocess.Popen[str]
    port: int
    token: str
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, connection: http.client.HTTPConnection | None = None) -> int:
        """The status; again where a machine that has no time to spare sheds the call (503)."""
        if connection is None:
            with closing(self.connection()) as own:
                return self.call(own)
        while True:
            connection.request("GET", "/there/x", headers={"Tidegate-Token": self.token})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 503:
                return answer.status
            time.sleep(0.01)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def told(self) -> dict[str, Any]:
        """How it stands with the store, and its limits."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self._lock:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())

    @property
    def shared(self) -> dict[str, Any]:
        return self.told()["shared"]


def call_all(
    nodes: Sequence[Node], seconds: float, threads: int = 2, refused_max: int = 1_000_000
) -> list[Counter[int]]:
    """Call through all of them at once, for so long or until so many are refused; statuses by node."""
    until = time.monotonic() + seconds

    def one(node: Node) -> Counter[int]:
        seen: Counter[int] = Counter()
        connection = node.connection()
        while time.monotonic() < until and seen[429] < refused_max:
            status = node.call(connection)
            seen[status] += 1
            if status == 429:
                time.sleep(0.02)
        connection.close()
        return seen

    callers = [node for node in nodes for _ in range(threads)]
    with ThreadPoolExecutor(len(callers)) as pool:
        seen = list(pool.map(one, callers))
    return [
        sum(seen[at * threads : (at + 1) * threads], Counter[int]()) for at in range(len(nodes))
    ]


@contextmanager
def nodes(
    folder: Path,
    url: str,
    shared: dict[str, object],
    *quotas: Quota,
    count: int = 2,
    settled: bool = True,
) -> Iterator[list[Node]]:
    """Start gateways that count together; `settled`: wait until the store knows of all of them."""
    place = folder / "home"
    home = Home(place, folder / "keys" / "root.key", f"sqlite:///{place}/tidegate.db")
    provider = provider_at(url, "there", allow_private=("127.0.0.0/8",), quotas=quotas)
    declaration = Declaration(
        clients=(Client("acme"),),
        consumers=(Consumer("shop", ("acme",)),),
        providers=(provider,),
        grants=(Grant("shop", "there", ("*",), name="grants[0]"),),
    )
    with services(home) as state:
        state.make_root_key()
        known, secret = state.tokens.create(declaration, "shop")
        setting = {
            "workers": 2,
            "token_key": state.vault.token_key().reveal().hex(),
            "snapshot": compile_snapshot(declaration, 1, [known], []).decode(),
        }
    token = secret.reveal().decode()
    with ExitStack() as stack:
        started = [
            stack.enter_context(_node(folder / f"node-{number}", setting, shared, token, number))
            for number in range(count)
        ]
        if settled:
            wait_until(lambda: all(node.shared["settled"] for node in started))
        yield started


@contextmanager
def _node(
    folder: Path, setting: dict[str, Any], shared: dict[str, object], token: str, number: int
) -> Iterator[Node]:
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.quota_host"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    own = {"spool": str(folder / "spool"), "shared": {"node": f"node-{number}", **shared}}
    try:
        process.stdin.write(json.dumps(setting | own) + "\n")
        process.stdin.flush()
        yield Node(process, int(process.stdout.readline()), token)
    finally:
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.stdout.close()
