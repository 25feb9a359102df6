"""A provider that keeps contacts and forgets them, a gateway before it, and who calls for two clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from support.gate import home
from support.servers import wait_until
from support.up import Installation, Up
from tidegate.app import load_declaration, services
from tidegate.domain.secret import Secret

DECLARED = """
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
organisation: {{legal_name: Tide Agency GmbH, contact: privacy@agency.example}}
clients:
  acme: {{name: Acme, legal_name: Acme GmbH, region: eu{acme}}}
  globex: {{name: Globex}}
consumers:
  shop: {{clients: [acme, globex]}}
  privacy-desk: {{clients: [acme, globex]}}
providers:
  mailer:
    origin: {origin}
    auth: bearer
    allow_private: [127.0.0.0/8]
    operations:
      AddContact: POST /contacts
      Forget: POST /forget
    erasure: {{operation: Forget, with: {{"body /who/email": "{{identifier}}"}}, kinds: [email]}}
  other:
    origin: {origin}
    auth: bearer
    allow_private: [127.0.0.0/8]
    operations: {{Forget: POST /o/forget, AddOther: POST /o/contacts}}
    erasure: {{operation: Forget, with: {{"body /email": "{{identifier}}"}}}}
  plain:
    origin: {origin}
    auth: none
    allow_private: [127.0.0.0/8]
    contact: dpo@plain.example
    operations: {{AddPlain: POST /notes}}
grants:
  - {{consumer: shop, provider: mailer, operations: [AddContact]}}
  - {{consumer: shop, provider: other, operations: [AddOther]}}
  - {{consumer: shop, provider: plain, operations: [AddPlain]}}
  - {{consumer: privacy-desk, provider: mailer, operations: [Forget]}}
  - {{consumer: privacy-desk, provider: other, operations: [Forget]}}
{more}
"""


@dataclass
class Contacts:
    """What the provider was asked, and how it answers being asked to forget."""

    url: str
    asked: list[tuple[str, dict[str, str], bytes]] = field(
        default_factory=list[tuple[str, dict[str, str], bytes]]
    )
    forgets: int = 204

    def bodies(self, path: str) -> list[bytes]:
        return [body for asked, _, body in self.asked if asked.partition("?")[0] == path]


@contextmanager
def contacts() -> Iterator[Contacts]:
    """Run the provider."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.asked.append((self.path, headers, body))
            self.send_response(state.forgets if "forget" in self.path else 201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state = Contacts(f"http://127.0.0.1:{server.server_port}")
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Desk:
    """The whole scene."""

    provider: Contacts
    installed: Installation
    running: Up

    def send(
        self,
        subject: str | None,
        path: str = "/mailer/contacts",
        *,
        client: str = "acme",
        body: object = None,
        **headers: str,
    ) -> httpx.Response:
        """Call as the shop does."""
        sent = {"Tidegate-Token": self.installed.token, "Tidegate-Client": client} | headers
        if subject is not None:
            sent["Tidegate-Subject"] = subject
        return httpx.post(
            self.running.url + path, headers=sent, json=body, trust_env=False, timeout=20
        )

    def settle(self) -> None:
        """Wait until every call that was answered is on record."""
        with self.installed.state() as state:
            wait_until(lambda: self._on_record(state.store) >= self._sent())

    def _sent(self) -> int:
        return len(self.provider.asked)

    def _on_record(self, store: object) -> int:
        recent = store.calls.recent(limit=100_000).calls  # type: ignore[attr-defined]
        return sum(record.provider_status is not None for record in recent)


@contextmanager
def desk(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, acme: str = "", more: str = ""
) -> Iterator[Desk]:
    """Set everything up, and let the commands of this process find the installation."""
    with contacts() as provider:
        place = home(folder)
        file = folder / "tidegate.yaml"
        file.write_text(DECLARED.format(origin=provider.url, acme=acme, more=more))
        with services(place) as state:
            state.make_root_key()
            declaration = load_declaration(file)
            for client in ("acme", "globex"):
                for name in ("mailer", "other"):
                    credential = {"token": Secret(f"key-of-{client}-at-{name}")}
                    state.connections.connect(declaration, name, client, "default", credential, {})
            _, token = state.tokens.create(declaration, "shop")
        monkeypatch.setenv("TIDEGATE_HOME", str(place.data))
        monkeypatch.setenv("TIDEGATE_ROOT_KEY_FILE", str(place.root_key))
        installed = Installation(place, file, token.reveal().decode(), folder)
        with installed.up() as running:
            _ = running.url
            yield Desk(provider, installed, running)


def told(captured: str) -> dict[str, object]:
    """Read what a command printed as JSON."""
    return json.loads(captured)
