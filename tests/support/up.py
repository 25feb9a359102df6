"""`tidegate up` as its own process, with a home in a test's folder and a log that stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from support.gate import CREDENTIAL, home
from support.servers import wait_until
from tidegate.app import Home, Services, load_declaration, services
from tidegate.domain.secret import Secret

STOP_S = 30
DECLARED = """
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]{settings}}}
clients: {{acme: {{}}}}
consumers: {{shop: {{clients: [acme]}}}}
providers:
  echo:
    origin: {origin}
    auth: bearer
    allow_private: [127.0.0.0/8]
    operations: ["GET /things/{{id}}", "POST /things", "GET /slow"]
grants:
  - {{consumer: shop, provider: echo, operations: ["*"]}}
"""


@dataclass(frozen=True)
class Installation:
    """A home with a connection and a token, and a declaration beside it."""

    place: Home
    file: Path
    token: str
    folder: Path

    @property
    def database(self) -> Path:
        return self.place.data / "tidegate.db"

    @contextmanager
    def state(self) -> Iterator[Services]:
        with services(self.place) as state:
            yield state

    @contextmanager
    def up(self) -> Iterator[Up]:
        """Run it until the block is left; it is killed then, if it still runs."""
        environment = os.environ | {
            "TIDEGATE_HOME": str(self.place.data),
            "TIDEGATE_ROOT_KEY_FILE": str(self.place.root_key),
        }
        log = self.folder / "up.log"
        with (
            log.open("w") as output,
            subprocess.Popen(
                [sys.executable, "-m", "tidegate.cli", "up", str(self.file)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                yield Up(process, log, self.token)
            finally:
                process.kill()


@dataclass
class Up:
    """One process of it."""

    process: subprocess.Popen[bytes]
    log: Path
    token: str
    answered: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Where it listens, once it does."""
        wait_until(lambda: self.process.poll() is not None or self._address() is not None)
        address = self._address()
        assert address is not None, self.log.read_text()
        return f"http://{address}"

    def _address(self) -> str | None:
        found = re.search(r'"event": "ready".*|.*"ready"', self.log.read_text())
        address = re.search(r"127\.0\.0\.1:\d+", found[0]) if found else None
        return address and address[0]

    def get(self, path: str = "/echo/things/1") -> httpx.Response:
        headers = {"Tidegate-Token": self.token}
        return httpx.get(self.url + path, headers=headers, trust_env=False, timeout=20)

    @contextmanager
    def under_load(self, threads: int = 4) -> Iterator[None]:
        """Call without pause; `answered` are the ids of the calls whose answers came whole."""
        url, stopped = self.url, threading.Event()

        def call() -> None:
            headers = {"Tidegate-Token": self.token}
            with httpx.Client(headers=headers, trust_env=False, timeout=20) as client:
                while not stopped.is_set():
                    with suppress(httpx.TransportError):
                        answer = client.get(f"{url}/echo/things/1")
                        assert answer.status_code == 200, answer.text
                        self.answered.add(answer.headers["tidegate-call"])

        with ThreadPoolExecutor(threads) as pool:
            calling = [pool.submit(call) for _ in range(threads)]
            try:
                yield
            finally:
                stopped.set()
            for one in calling:
                one.result()

    def wait_for_answers(self, count: int) -> None:
        wait_until(lambda: len(self.answered) >= count)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


def install(
    folder: Path, origin: str, data: Path | None = None, settings: str = ""
) -> Installation:
    """Make a home below a folder; its data elsewhere and more gateway settings where they are given."""
    place = home(folder)
    if data is not None:
        place = Home(data, place.root_key, f"sqlite:///{data}/tidegate.db")
    file = folder / "tidegate.yaml"
    file.write_text(DECLARED.format(origin=origin, settings=settings))
    with services(place) as state:
        state.make_root_key()
        declaration = load_declaration(file)
        credential = {"token": Secret(CREDENTIAL)}
        state.connections.connect(declaration, "echo", "acme", "default", credential, {})
        _, token = state.tokens.create(declaration, "shop")
    return Installation(place, file, token.reveal().decode(), folder)


def stored(installed: Installation) -> set[str]:
    """The ids of the calls on record."""
    with installed.state() as state:
        return {record.id for record in state.store.calls.recent(limit=100_000).calls}
