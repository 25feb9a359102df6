"""A gateway before one provider that a test brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tidegate.sandbox import Authority

from .running import Running, running

OPERATIONS = '["GET /{name}", "POST /{name}", "PUT /{name}"]'
KEY = "key_of_acme"


@dataclass(frozen=True)
class Passage:
    """A gateway before a provider that is called `there`, and a token that may call all of it."""

    gateway: Running
    token: str

    @property
    def base(self) -> str:
        return f"{self.gateway.url}/there"

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = next(iter(self.gateway.addresses.values())).rpartition(":")
        return host, int(port)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


Before = Callable[..., AbstractContextManager[Passage]]


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def before(tmp_path: Path, authority: Authority) -> Before:
    """Put a gateway before an origin: `with before(origin) as passage`."""

    @contextmanager
    def put(origin: str, *, http: str = "auto", listen: str = "") -> Iterator[Passage]:
        ca = authority.write(tmp_path / "ca.pem")
        declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}{listen}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  there:
    origin: {origin}
    auth: bearer
    http: {http}
    operations: {OPERATIONS}
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
grants:
  - {{consumer: app, provider: there, operations: ["*"]}}
"""
        with running(tmp_path / "home", declared, {("there", "acme"): {"token": KEY}}) as gateway:
            yield Passage(gateway, gateway.token("app"))

    return put
