"""A provider that takes people's data, and remembers what came and when."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from support.handled import handled

ADDRESS = "someone@people.test"


@dataclass
class People:
    """Requests by method, each with the headers and the body as far as it came."""

    url: str
    posted: list[tuple[float, dict[str, str], bytes]] = field(default_factory=list)
    read: list[float] = field(default_factory=list)

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, _, body in self.posted]


@contextmanager
def people() -> Iterator[People]:
    """Run one on loopback."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.posted.append((time.time(), headers, body))
            self._answer()

        def do_GET(self) -> None:
            state.read.append(time.time())
            self._answer()

        def _answer(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    with handled(Taking) as origin:
        state = People(origin)
        yield state


def declared(
    provider: People, *, policy: str = "", client: str = "region: eu", more: str = ""
) -> str:
    """Declare one consumer, and an operation that sends an address beside one that sends nothing."""
    return f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{{client}}}, globex: {{region: eu}}}}
consumers: {{shop: {{clients: [acme]}}, other: {{clients: [globex]}}}}
providers:
  pay:
    origin: {provider.url}
    auth: none
    allow_private: [127.0.0.0/8]
    operations: {{AddPerson: POST /people, GetStatus: GET /status}}
{more}
grants:
  - {{consumer: shop, provider: pay, operations: ["*"]}}
  - {{consumer: other, provider: pay, operations: ["*"]}}
protection:
  - operations: ["pay:AddPerson"]
    purpose: payment
    {policy}
    fields: [{{at: body $.email, category: contact.email, do: allow}}]
"""
