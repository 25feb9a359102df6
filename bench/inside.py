"""`tidegate up` inside the harness's own process, before keys that it can look at and replace."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from tidegate.app import Home, Services, load_declaration, services
from tidegate.app.gateway import Gateway, Started
from tidegate.domain.declaration import Declaration
from tidegate.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class Inside:
    """A gateway that runs, what it rests on, and a token for consumer `app`."""

    url: str
    state: Services
    declaration: Declaration
    token: str


@contextmanager
def running(
    folder: Path, declared: str, connections: Iterable[tuple[str, str, Mapping[str, str]]]
) -> Iterator[Inside]:
    """Run one; a connection is a client, its name and its credential's fields at provider `api`."""
    file = folder / "tidegate.yaml"
    file.write_text(declared)
    home = Home(
        folder / "data", folder / "keys" / "root.key", f"sqlite:///{folder}/data/tidegate.db"
    )
    gateway = Gateway(home, file, author="bench", grace_s=1)
    said: Queue[Started] = Queue()
    with services(home) as state:
        state.make_root_key()
        declaration = load_declaration(file)
        for client, name, fields in connections:
            sealed = {field: Secret(value) for field, value in fields.items()}
            state.connections.connect(declaration, "api", client, name, sealed, {})
        _, token = state.tokens.create(declaration, "app")
        thread = threading.Thread(target=gateway.run, args=(said.put,))
        thread.start()
        try:
            address = next(iter(said.get(timeout=60).addresses.values()))
            yield Inside(f"http://{address}", state, declaration, token.reveal().decode())
        finally:
            gateway.stop()
            thread.join()
