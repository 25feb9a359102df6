"""A gateway that runs as `tidegate up` runs it, with a home of its own, for one test."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import httpx

from tidegate.app import Home, Services, load_declaration, services
from tidegate.app.gateway import Gateway, Started
from tidegate.domain.call import CallRecord
from tidegate.domain.secret import Secret
from tidegate.sandbox import Sandbox

WAIT_S = 20


@dataclass(slots=True)
class Running:
    """A running gateway, and what a test does with it."""

    url: str
    addresses: dict[str, str]
    file: Path
    state: Services

    def token(self, consumer: str, client: str | None = None) -> str:
        """Make an access token, and wait until the gateway takes it."""
        declaration = load_declaration(self.file)
        _, secret = self.state.tokens.create(declaration, consumer, client=client)
        token = secret.reveal().decode()
        wait_until(lambda: self._takes(token))
        return token

    def records(self, count: int) -> list[CallRecord]:
        """The records of the calls that were not for `_takes`, once there are so many."""
        found: list[CallRecord] = []

        def enough() -> bool:
            found[:] = [r for r in self.state.store.calls.recent(limit=1000).calls if r.provider]
            return len(found) >= count

        wait_until(enough)
        return found

    def _takes(self, token: str) -> bool:
        # A path that no provider has: known tokens are told so, unknown ones are refused first.
        headers = {"Tidegate-Token": token}
        answer = httpx.get(f"{self.url}/nowhere", headers=headers, trust_env=False)
        return answer.json()["code"] == "unknown_provider"


@contextmanager
def running(
    folder: Path, declared: str, credentials: Mapping[tuple[str, str], Mapping[str, str]]
) -> Iterator[Running]:
    """Run a gateway; `credentials` are by provider and client."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "tidegate.yaml"
    file.write_text(declared)
    data = folder / "data"
    home = Home(data, folder / "keys" / "root.key", f"sqlite:///{data}/tidegate.db")
    gateway = Gateway(home, file, author="test", grace_s=1)
    said: Queue[Started | BaseException] = Queue()
    with services(home) as state:
        state.make_root_key()
        declaration = load_declaration(file)
        for (provider, client), fields in credentials.items():
            sealed = {name: Secret(value) for name, value in fields.items()}
            state.connections.connect(declaration, provider, client, "default", sealed, {})
        thread = threading.Thread(target=_run, args=(gateway, said))
        thread.start()
        try:
            started = said.get(timeout=WAIT_S)
            if isinstance(started, BaseException):
                raise started
            first = next(iter(started.addresses.values()))
            yield Running(f"http://{first}", started.addresses, file, state)
        finally:
            gateway.stop()
            thread.join()


def _run(gateway: Gateway, said: Queue[Started | BaseException]) -> None:
    try:
        gateway.run(said.put)
    except BaseException as error:
        said.put(error)
        raise


def wait_until(holds) -> None:
    """Look again and again until something holds."""
    ends = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError
        time.sleep(0.02)


def age(started: Running, connection: str, seconds: int = 31) -> None:
    """Make an issued token an old one, as time would: nobody waits for that."""
    with sqlite3.connect(started.file.parent / "data" / "tidegate.db", timeout=10) as database:
        database.execute(
            "UPDATE issued_tokens SET issued_at = issued_at - :us, expires_at = expires_at - :us "
            "WHERE connection = :connection",
            {"us": seconds * 1_000_000, "connection": connection},
        )


def secret_of(sandbox: Sandbox) -> dict[str, str]:
    """The credential that a sandbox made up."""
    (fields,) = sandbox.accounts.values()
    return {name: value.reveal().decode() for name, value in fields.items()}
