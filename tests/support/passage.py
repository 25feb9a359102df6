"""A gateway before one provider that a test brings, and tokens for its clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.agreeing import agree_to
from support.running import Running, running
from tidegate.sandbox import Authority

OPERATIONS = '["GET /{name}", "POST /{name}", "PUT /{name}"]'


def key_of(client: str) -> str:
    """The credential that the gateway holds for a client's account."""
    return f"key_of_{client}"


KEY = key_of("acme")


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

    def bound_to(self, client: str) -> Passage:
        """The same gateway, with a token for one client alone."""
        return Passage(self.gateway, self.gateway.token("app", client))


Before = Callable[..., AbstractContextManager[Passage]]
"""`with before(origin) as passage`: `put_before` with a folder and an authority of the test's own."""


@contextmanager
def put_before(
    folder: Path,
    authority: Authority,
    origin: str,
    *,
    origins: str = "",
    http: str = "auto",
    listen: str = "",
    gateway: str = "",
    provider: str = "",
    providers: str = "",
    more: str = "",
    grants: Sequence[str] = (),
    clients: Sequence[str] = ("acme",),
    connect: bool = True,
) -> Iterator[Passage]:
    """Run a gateway before an origin; what is given as text is added to its declaration.

    `more` are sections of their own. `origins` takes the place of the origin. `grants` names the added
    providers that the consumer may call. With `connect` false the home is one that an
    earlier run in this folder left.
    """
    ca = authority.write(folder / "ca.pem")
    declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}{listen}]{gateway}}}
clients: {{{", ".join(f"{client}: {{}}" for client in clients)}}}
consumers: {{app: {{clients: [{", ".join(clients)}]}}}}
{more}
providers:
  there:
    {origins or f"origin: {origin}"}
    auth: bearer
    http: {http}
    operations: {OPERATIONS}
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
    {provider}
  {providers}
grants:
  - {{consumer: app, provider: there, operations: ["*"]}}
"""
    for granted in grants:
        declared += f'  - {{consumer: app, provider: {granted}, operations: ["*"]}}\n'
    keys = {("there", client): {"token": key_of(client)} for client in clients if connect}
    with running(folder / "home", declared, keys) as started:
        agree_to(started, more, "there")
        yield Passage(started, started.token("app"))
