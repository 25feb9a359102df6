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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from support.gate import provider_at
from support.servers import accepts, program, wait_until
from tidegate.app import Home, services
from tidegate.domain.caching import CacheRules, Caching
from tidegate.domain.declaration import Client, Consumer, Declaration, Grant
from tidegate.domain.limit import Limit
from tidegate.domain.operation import Operation
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

    def ask(self, *words: str | bytes) -> bytes:
        """One command and what it answers, as the protocol has it."""
        given = [word.encode() if isinstance(word, str) else word for word in words]
        sent = [b"*%d\r\n" % len(given), *(b"$%d\r\n%b\r\n" % (len(one), one) for one in given)]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.socket))
            client.sendall(b"".join(sent))
            client.settimeout(5)
            return client.recv(1 << 20)

    def lines(self, *words: str) -> list[str]:
        """A command's answer that is a list of words."""
        return [line for line in self.ask(*words).decode().split("\r\n")[2::2] if line]

    def raw(self, *words: str) -> bytes:
        """A command's answer that is one string of bytes."""
        length, _, rest = self.ask(*words).partition(b"\r\n")
        return rest[: int(length[1:])]

    def number(self, *words: str) -> int:
        """A command's answer that is a number; 0 where it is none."""
        found = self.ask(*words).decode().strip()
        return int(found[1:]) if found.startswith(":") else 0

    def keys(self, pattern: str) -> list[str]:
        return self.lines("KEYS", pattern)

    def pots(self) -> list[str]:
        """The keys of what is counted."""
        return self.keys("tidegate:v1:{*")


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


@dataclass(frozen=True)
class Answered:
    """What a call came to."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def way(self) -> str:
        """What the cache says that it did."""
        return self.headers.get("cache-status", "")


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

    def ask(self, path: str, method: str = "GET", client: str = "acme", **headers: str) -> Answered:
        """Call it; `_` in a header's name is `-`."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(self.connection()) as connection:
            connection.request(
                method, f"/~{client}/there{path}", headers={"Tidegate-Token": self.token, **fields}
            )
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, found, answer.read().decode())

    def told(self, purge: dict[str, object] | None = None) -> dict[str, Any]:
        """How it stands with the store, its limits and its cache, from which something is taken out first."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self._lock:
            self.process.stdin.write(f"{json.dumps(purge) if purge else ''}\n")
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
    cache: CacheRules | None = None,
    cache_keys: Mapping[str, str] | None = None,
    limit: Limit | None = None,
) -> Iterator[list[Node]]:
    """Start gateways that count together; `settled`: wait until the store knows of all of them.

    With `cache` they store answers; `cache_keys` seal those that they share, by client (empty: of all).
    `limit` is the consumer's.
    """
    place = folder / "home"
    home = Home(place, folder / "keys" / "root.key", f"sqlite:///{place}/tidegate.db")
    provider = provider_at(url, "there", allow_private=("127.0.0.0/8",), quotas=quotas)
    if cache is not None:
        operations = (Operation("Get", "GET", "/{name}"), Operation("Change", "POST", "/{name}"))
        provider = replace(provider, operations=operations, cache=Caching((cache,), (0, 0)))
    clients = ("acme", "globex") if cache else ("acme",)
    declaration = Declaration(
        clients=tuple(map(Client, clients)),
        consumers=(Consumer("shop", clients, limit=limit),),
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
            "cache_keys": cache_keys or {},
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
