"""Workers that are killed, each forked from this process, which has imported what they need.

    python -m bench.trials.killed STORE ROOT_FILE DECLARED

It says when it is ready, reads a line of JSON for each worker (`Work`), forks it, and says when it has
ended. A worker first
puts right what the one before it left, says `recovered`, waits for a line, and then goes on with its
work until it passes its write point number `point`, where it kills itself by SIGKILL. Write points are:
before each statement that writes, before and after each commit of such statements, and before and after
each request. Whoever watches it may kill it at any other moment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import sqlalchemy as sa

from bench.trials.renewing import Clock
from tidegate.app import load_declaration
from tidegate.credentials import Refresher, Rotator
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.oauth import ACCESS_TOKEN
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig, Fetched, FetchOptions
from tidegate.store import Store
from tidegate.vault import RootFile, Vault, open_root

Kind = Literal["refresh", "rotate"]
GO: Final = b"go"
_WRITES: Final = ("INSERT", "UPDATE", "DELETE")
_TOKEN_S: Final = 3_600
_LOOK_EVERY_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker does, how far its clock is ahead, and where it dies; `point` 0: nowhere."""

    kind: Kind
    ahead_s: float = 0.0
    point: int = 0

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


class Points:
    """Counts the write points that are passed, and dies at the last."""

    def __init__(self, last: int) -> None:
        self.passed = 0
        self._last = last
        self._committing = False

    def reached(self) -> None:
        self.passed += 1
        if self.passed == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_statements(self) -> None:
        """See every statement and commit that SQLAlchemy makes from now on in this process."""

        def statement(_conn: object, _cursor: object, text: str, *_: object) -> None:
            if text.lstrip().upper().startswith(_WRITES):
                self.reached()

        def commit(connection: sa.Connection) -> None:
            if connection.get_execution_options().get("tidegate_write"):
                self._committing = True
                self.reached()

        def given_back(*_: object) -> None:
            if self._committing:
                self._committing = False
                self.reached()

        sa.event.listen(sa.Engine, "before_cursor_execute", statement)
        sa.event.listen(sa.Engine, "commit", commit)
        sa.event.listen(sa.Pool, "checkin", given_back)


class Asking:
    """The engine, with a write point on both sides of each request."""

    def __init__(self, engine: Engine, points: Points) -> None:
        self._engine = engine
        self._points = points

    def fetch(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        options: FetchOptions | None = None,
    ) -> Fetched:
        self._points.reached()
        fetched = self._engine.fetch(method, url, headers, body, options)
        self._points.reached()
        return fetched


def main() -> None:
    url, root_file, declared = sys.argv[1:]
    declaration = load_declaration(Path(declared))
    say({"ready": True})
    while line := read_line():
        if line == GO:
            continue  # It was for a worker that is dead.
        pid = os.fork()
        if pid == 0:
            say({"pid": os.getpid()})
            _live(url, Path(root_file), declaration, Work(**json.loads(line)))
        os.waitpid(pid, 0)
        say({"ended": pid})


def _live(url: str, root_file: Path, declaration: Declaration, work: Work) -> NoReturn:
    points = Points(work.point)
    points.watch_statements()
    with tempfile.TemporaryDirectory() as folder, Store.open(url) as store:
        config = EngineConfig(spool=Path(folder) / "spool", workers=1, record=False)
        with Engine(config, Secret(os.urandom(32))) as engine:
            vault = Vault(store, open_root(RootFile(root_file), store))
            worker = _Worker(store, vault, engine, declaration, points)
            worker.refresh(work.ahead_s) if work.kind == "refresh" else worker.rotate()
    os._exit(0)


class _Worker:
    def __init__(
        self, store: Store, vault: Vault, engine: Engine, declaration: Declaration, points: Points
    ) -> None:
        self._store = store
        self._vault = vault
        self._engine = engine
        self._declaration = declaration
        self._points = points
        self._asking = Asking(engine, points)
        (self._provider,) = declaration.providers

    def refresh(self, ahead_s: float) -> NoReturn:
        clock = Clock(ahead_s)
        refresher = Refresher(
            self._store, self._vault, self._asking, holder="the same", clock=clock
        )
        recovered = False
        while True:
            connection = self._connection("default")
            renewed = refresher.renew(connection, self._provider)
            token = renewed.token
            if token is not None and token.ended:
                self._tell("lost", because=renewed.trouble)
                continue
            if token is None or token.sealed is None or renewed.trouble is not None:
                time.sleep(_LOOK_EVERY_S)
                continue
            if not recovered:
                fields = self._vault.open_issued(connection, token.serial, token.sealed)
                self._tell("recovered", status=self._call(fields[ACCESS_TOKEN]))
                recovered = True
            # The next token is due: an hour has passed.
            clock.ahead += timedelta(seconds=_TOKEN_S + 1)
            say({"ahead_s": clock.ahead.total_seconds(), "passed": self._points.passed})

    def rotate(self) -> NoReturn:
        rotator = Rotator(self._store, self._vault, self._asking, holder="the same")
        before = self._store.rotations.active_for(self._connection("default").id)
        recovered = False
        while True:
            connection = self._connection("default")
            row = self._store.rotations.active_for(connection.id)
            if not recovered and (row is None or before is None or row.id != before.id):
                key = self._vault.open(connection)["token"]
                self._tell("recovered", status=self._call(key))
                recovered = True
            if row is None:
                row = rotator.start(self._declaration, connection, author="bench")
                say({"passed": self._points.passed})
            rotator.advance(row.id, self._declaration)
            time.sleep(_LOOK_EVERY_S)

    def _connection(self, name: str) -> Connection:
        found = self._store.connections.find("acme", "api", name)
        if found is None:
            raise LookupError(name)
        return found

    def _call(self, bearer: Secret) -> int:
        """Call the provider with what is kept, and return what it thinks of it."""
        url = f"{self._provider.origins[0]}/things"
        headers = [("authorization", f"Bearer {bearer.reveal().decode()}")]
        return self._engine.fetch("GET", url, headers, b"", _options(self._provider)).status

    def _tell(self, what: str, **more: Any) -> None:
        """Say it, and wait until whoever watches has looked."""
        say({"told": what, **more})
        read_line()


def _options(provider: Provider) -> FetchOptions:
    return FetchOptions(allow_private=provider.allow_private, ca_pem=provider.tls.ca_pem)


def say(what: dict[str, Any]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def read_line() -> bytes:
    """Read no byte beyond the line: the next one may be for another process."""
    line = b""
    while (byte := os.read(0, 1)) not in {b"", b"\n"}:
        line += byte
    return line


if __name__ == "__main__":
    main()
