"""A provider that keeps what it is sent and gives it back, and a gateway that protects values before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from support.agreeing import agree_to
from support.running import Running, running
from support.scripted import Wire, scripted
from tidegate.sandbox import Authority

JSON = {"Content-Type": "application/json"}
CREDENTIAL = "a-credential-that-has-no-known-form"


@dataclass
class Crm:
    """Keeps each person it is sent, as the bytes that came, and answers with what a test wants."""

    people: list[bytes] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    answer: bytes | None = None
    fields: tuple[str, ...] = ()

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while head := wire.head():
                self.heads.append(head)
                length = next(
                    (
                        int(line[15:])
                        for line in head.splitlines()
                        if line.lower().startswith(b"content-length:")
                    ),
                    0,
                )
                body = wire.read(length)
                if head.startswith(b"POST"):
                    self.people.append(body)
                said = self.answer if self.answer is not None else self.people[-1]
                lines = [
                    "Content-Type: application/json",
                    f"Content-Length: {len(said)}",
                    *self.fields,
                ]
                wire.send(("HTTP/1.1 200 OK\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode() + said)

    @property
    def last(self) -> Any:
        """What the provider was sent last."""
        return json.loads(self.people[-1])


class Front:
    """The gateway, with a key for each client."""

    def __init__(self, gateway: Running, crm: Crm) -> None:
        self.gateway = gateway
        self.crm = crm
        self._tokens = {client: gateway.token("app", client) for client in ("acme", "globex")}

    def send(
        self, person: Any, *, client: str = "acme", to: str = "crm/people", **headers: str
    ) -> httpx.Response:
        """Have the provider keep a person."""
        content = person if isinstance(person, bytes) else json.dumps(person).encode()
        return self._call("POST", to, client, content=content, headers=JSON | headers)

    def look(self, *, client: str = "acme", at: str = "crm/people/1") -> httpx.Response:
        """Ask for the person who came last."""
        return self._call("GET", at, client, headers={"Accept-Encoding": "gzip"})

    def _call(self, method: str, path: str, client: str, **more: Any) -> httpx.Response:
        more["headers"] = {"Tidegate-Token": self._tokens[client]} | more["headers"]
        return httpx.request(
            method, f"{self.gateway.url}/{path}", trust_env=False, timeout=20, **more
        )


@contextmanager
def protecting(folder: Path, protection: str, *, cache: str = "") -> Iterator[Front]:
    """Run it under these policies, with two clients and two names for one provider."""
    authority, crm = Authority(), Crm()
    folder.mkdir(parents=True, exist_ok=True)
    ca = folder / "ca.pem"
    ca.write_bytes(authority.pem)
    with scripted(authority, crm) as origin:
        entry = f"""
    origin: {origin}
    auth: bearer
    operations:
      PostPeople: POST /people
      GetPerson: GET /people/{{id}}
      PostNotes: POST /notes
      PostTagged: POST /tagged
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}"""
        declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}, globex: {{}}}}
consumers: {{app: {{clients: [acme, globex]}}}}
providers:
  crm:{entry}{cache}
  mail:{entry}
grants:
  - {{consumer: app, provider: crm, operations: ["*"]}}
  - {{consumer: app, provider: mail, operations: ["*"]}}
protection:
{protection}"""
        keys = {
            (provider, client): {"token": f"{CREDENTIAL}-{provider}-{client}"}
            for provider in ("crm", "mail")
            for client in ("acme", "globex")
        }
        with running(folder / "home", declared, keys) as gateway:
            agree_to(gateway, protection, "crm", "mail")
            yield Front(gateway, crm)
