"""An origin to call, a declaration that calls it, and engines in front of it: for tests near the wire."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx

from support.handled import handled
from tidegate.app import Home, Services, services
from tidegate.domain.attach import AttachHeader
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Client, Consumer, Declaration, Grant, Provider
from tidegate.domain.operation import Operation
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig, Listener
from tidegate.snapshot import compile_snapshot

CREDENTIAL = "provider-key-of-acme"


@dataclass
class Origin:
    """A provider's server on loopback, and the requests that it saw."""

    url: str
    seen: list[dict[str, str]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)


@contextmanager
def origin() -> Iterator[Origin]:
    """Run one. `/slow` answers when `hold` is set."""

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.seen.append({name.lower(): value for name, value in self.headers.items()})
            if self.path.startswith("/slow"):
                state.hold.wait(20)
            body = json.dumps({"path": self.path}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with handled(Echo) as origin:
        state = Origin(origin)
        try:
            yield state
        finally:
            state.hold.set()


def declaring(url: str) -> Declaration:
    """Declare one consumer of one client, who may call two operations at `url`."""
    provider = Provider(
        name="echo",
        title="Echo",
        origins=(url,),
        attach=(AttachHeader("Authorization", "token", prefix="Bearer "),),
        operations=(
            Operation("GetThing", "GET", "/things/{id}"),
            Operation("GetSlow", "GET", "/slow"),
        ),
        allow_private=("127.0.0.0/8",),
    )
    return Declaration(
        clients=(Client("acme"),),
        consumers=(Consumer("shop", ("acme",)),),
        providers=(provider,),
        grants=(Grant("shop", "echo", ("*",), name="grants[0]"),),
    )


def provider_at(origin: str, name: str, **changes: object) -> Provider:
    """Declare a provider that needs no credential, with one operation, `GET /x`."""
    made = Provider(
        name=name,
        title=name.title(),
        origins=(origin,),
        attach=(),
        operations=(Operation("Get", "GET", "/x"),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass
class Gate:
    """An engine with what it runs on."""

    engine: Engine
    state: Services
    declaration: Declaration
    connection: Connection
    token: str

    @property
    def url(self) -> str:
        return f"http://{self.engine.addresses()['http']}"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def call(self, path: str = "/echo/things/1", token: str | None = None) -> httpx.Response:
        headers = {"Tidegate-Token": token or self.token}
        return httpx.get(self.url + path, headers=headers, trust_env=False, timeout=20)

    def code(self, path: str) -> str:
        """What a call is refused for."""
        return self.call(path).json()["code"]

    def declare(self, *providers: Provider) -> None:
        """Add providers, or put others in their place; the consumer may call all of them."""
        declared, names = self.declaration, {one.name for one in providers}
        granted = tuple(Grant("shop", name, ("*",), name=f"for {name}") for name in sorted(names))
        self.declaration = replace(
            declared,
            providers=(*(p for p in declared.providers if p.name not in names), *providers),
            grants=(*(g for g in declared.grants if g.provider not in names), *granted),
        )
        self.publish(self.engine.stats().revision + 1)

    def publish(self, revision: int = 1) -> int:
        return self.engine.publish(self.snapshot(revision))

    def snapshot(self, revision: int = 1) -> bytes:
        return compile_snapshot(
            self.declaration,
            revision,
            self.state.store.tokens.all(),
            self.state.store.connections.all(),
        )

    def lease(self, origins: tuple[str, ...] | None = None) -> None:
        self.engine.lease(
            self.connection.id,
            self.connection.version,
            origins or self.connection.origins,
            {"token": Secret(CREDENTIAL)},
            datetime.now(UTC) + timedelta(minutes=5),
        )


def home(folder: Path) -> Home:
    data = folder / "home"
    return Home(data, folder / "keys" / "root.key", f"sqlite:///{data}/tidegate.db")


@contextmanager
def gate(folder: Path, url: str, *, bind: str = "127.0.0.1:0", **config: object) -> Iterator[Gate]:
    """Start an engine with everything it needs, all of it published and leased."""
    place = home(folder)
    with services(place) as state:
        state.make_root_key()
        declaration = declaring(url)
        connections = state.store.connections.all()
        if connections:
            (connection,) = connections
        else:
            connection = state.connections.connect(
                declaration, "echo", "acme", "default", {"token": Secret(CREDENTIAL)}, {}
            )
        known, token = state.tokens.create(declaration, "shop")
        started = EngineConfig(
            spool=place.spool,
            listeners=(Listener("http", bind),),
            **({"workers": 1} | config),  # type: ignore[arg-type]
        )
        with Engine(started, state.vault.token_key()) as engine:
            made = Gate(engine, state, declaration, connection, token.reveal().decode())
            made.publish()
            made.lease()
            engine.set_ready(ready=True)
            yield made
        # Two live tokens of one scope are all that there may be, and a test may start three gates.
        state.tokens.revoke(known.id)
