"""Who Tidegate is at a provider's TLS: each client itself, shown only to whom it was declared for."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.certificates import NOW, Issued, authority, issue, leaf, private_pem, server_context
from support.passage import key_of
from support.running import Running, running, wait_until
from support.serving import Seen, tls_server

from tidegate.app import load_declaration
from tidegate.domain.secret import Secret

HOST = "127.0.0.1"
CLIENTS = ("acme", "globex")
ROOT = authority("root")
CALLERS = authority("callers")
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def caller(name: str, signed_by: Issued = CALLERS, **changes: Any) -> Issued:
    """A certificate by which a provider knows a client's account."""
    for_clients = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    return issue(name, signed_by, **{"ca": False, "usages": for_clients} | changes)


def fields(client: str, certificate: Issued) -> dict[str, str]:
    pair = {"tls_certificate": certificate.pem, "tls_key": private_pem(certificate).decode()}
    return {"token": key_of(client), **pair}


@dataclass(frozen=True)
class Front:
    """A gateway before one server, which is declared as several providers; and a token a client."""

    gateway: Running
    tokens: dict[str, str]

    def call(self, client: str, provider: str) -> httpx.Response:
        return httpx.get(
            f"{self.gateway.url}/{provider}/x",
            headers={"Tidegate-Token": self.tokens[client]},
            trust_env=False,
            timeout=20,
        )


@contextmanager
def put_in_front(folder: Path, server: Seen, callers: Mapping[str, Issued]) -> Iterator[Front]:
    """`bank` has client certificates, of those clients that are given; `plain` and `other` have none."""
    ca = folder / "root.pem"
    ca.write_text(ROOT.pem)
    asks = {"plain": "false", "other": "false", "bank": "true"}
    providers = [
        f"""
  {name}:
    origin: {server.origin}
    auth: bearer
    operations: ["GET /{{name}}"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}, client_certificate: {asked}}}"""
        for name, asked in asks.items()
    ]
    grants = [f'\n  - {{consumer: app, provider: {name}, operations: ["*"]}}' for name in asks]
    declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}, globex: {{}}}}
consumers: {{app: {{clients: [acme, globex]}}}}
providers: {"".join(providers)}
grants: {"".join(grants)}
"""
    keys = {
        (provider, client): {"token": key_of(client)}
        for provider in ("plain", "other")
        for client in CLIENTS
    }
    keys |= {("bank", client): fields(client, shown) for client, shown in callers.items()}
    with running(folder / "home", declared, keys) as gateway:
        yield Front(gateway, {client: gateway.token("app", client) for client in CLIENTS})


def asking(version: ssl.TLSVersion, how: ssl.VerifyMode) -> ssl.SSLContext:
    """A provider's server of one TLS version, which asks callers for a certificate or demands one."""
    context = server_context([leaf(ROOT, HOST)])
    context.minimum_version = context.maximum_version = version
    context.load_verify_locations(cadata=CALLERS.pem)
    context.verify_mode = how
    return context


@pytest.fixture(params=VERSIONS.values(), ids=list(VERSIONS))
def version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    return request.param


def resumed(folder: Path, version: ssl.TLSVersion, calls: Sequence[tuple[str, str]]) -> list[bool]:
    """Call as these clients at these providers: which handshakes went on with a session of before?

    The server closes after each answer, so that each call has a handshake.
    """
    with (
        tls_server(asking(version, ssl.CERT_OPTIONAL)) as server,
        put_in_front(folder, server, {client: caller(client) for client in CLIENTS}) as front,
    ):
        assert [front.call(*one).status_code for one in calls] == [200] * len(calls)
    return [handshake.resumed for handshake in server.handshakes]


def test_a_client_goes_on_with_its_own_session(tmp_path: Path, version: ssl.TLSVersion):
    assert resumed(tmp_path, version, [("acme", "plain")] * 3) == [False, True, True]


@pytest.mark.parametrize(
    "second", [("globex", "plain"), ("acme", "other")], ids=["another client", "another provider"]
)
def test_no_session_goes_on_for_another(
    tmp_path: Path, version: ssl.TLSVersion, second: tuple[str, str]
):
    assert resumed(tmp_path, version, [("acme", "plain"), second]) == [False, False]


def test_no_session_goes_on_for_another_certificate_or_for_none(
    tmp_path: Path, version: ssl.TLSVersion
):
    calls = [("acme", "plain"), ("acme", "bank"), ("globex", "bank"), ("acme", "bank")]
    assert resumed(tmp_path, version, calls) == [False, False, False, True]


def test_each_client_shows_its_own_certificate_and_only_where_one_is_declared(
    tmp_path: Path, version: ssl.TLSVersion
):
    acme, globex = caller("acme"), caller("globex")
    with (
        tls_server(asking(version, ssl.CERT_OPTIONAL)) as server,
        put_in_front(tmp_path, server, {"acme": acme, "globex": globex}) as front,
    ):
        for _ in range(2):
            for call in (("acme", "bank"), ("globex", "bank"), ("acme", "plain")):
                assert front.call(*call).status_code == 200
    # The server asks everyone. Who has a certificate for another provider shows it to that one alone.
    assert [seen.certificate for seen in server.handshakes] == [acme.der, globex.der, None] * 2


def test_a_client_without_a_certificate_borrows_nobodys(tmp_path: Path, version: ssl.TLSVersion):
    with (
        tls_server(asking(version, ssl.CERT_OPTIONAL)) as server,
        put_in_front(tmp_path, server, {"acme": caller("acme")}) as front,
    ):
        assert front.call("acme", "bank").status_code == 200
        answer = front.call("globex", "bank")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_connection")
    assert len(server.handshakes) == server.connections == 1


REFUSED: dict[str, tuple[str, Callable[[], Issued]]] = {
    "none": ("plain", lambda: caller("acme")),
    "of another authority": ("bank", lambda: caller("acme", authority("strangers"))),
    "expired": ("bank", lambda: caller("acme", not_after=NOW - timedelta(hours=1))),
}


@pytest.mark.parametrize(("provider", "shown"), REFUSED.values(), ids=REFUSED)
def test_a_provider_that_refuses_the_caller_answers_nothing(
    tmp_path: Path, version: ssl.TLSVersion, provider: str, shown: Callable[[], Issued]
):
    with (
        tls_server(asking(version, ssl.CERT_REQUIRED)) as server,
        put_in_front(tmp_path, server, {"acme": shown()}) as front,
    ):
        answer = front.call("acme", provider)
    assert answer.status_code == 502
    assert answer.json()["code"] in {"tls_failed", "provider_unreachable"}
    assert server.connections > 0
    assert server.handshakes == []


def test_the_record_says_that_the_certificate_was_refused(tmp_path: Path, version: ssl.TLSVersion):
    expired = caller("acme", not_after=NOW - timedelta(hours=1))
    with (
        tls_server(asking(version, ssl.CERT_REQUIRED)) as server,
        put_in_front(tmp_path, server, {"acme": expired}) as front,
    ):
        front.call("acme", "bank")
        (record,) = front.gateway.records(1)
    assert "client_certificate_refused" in (record.detail or "")


def test_a_replaced_certificate_is_shown_at_once_and_the_old_one_never_again(
    tmp_path: Path, version: ssl.TLSVersion
):
    old, new = caller("acme"), caller("acme")
    with (
        tls_server(asking(version, ssl.CERT_REQUIRED)) as server,
        put_in_front(tmp_path, server, {"acme": old}) as front,
    ):
        assert front.call("acme", "bank").status_code == 200
        declaration = load_declaration(front.gateway.file)
        replaced = {name: Secret(value) for name, value in fields("acme", new).items()}
        front.gateway.state.connections.connect(
            declaration, "bank", "acme", "default", replaced, {}
        )

        def new_one_shown() -> bool:
            front.call("acme", "bank")
            return server.handshakes[-1].certificate == new.der

        wait_until(new_one_shown)
        assert [front.call("acme", "bank").status_code for _ in range(3)] == [200] * 3
    shown = [seen.certificate for seen in server.handshakes]
    first = shown.index(new.der)
    assert set(shown[:first]) == {old.der}
    assert set(shown[first:]) == {new.der}
    assert not server.handshakes[first].resumed
