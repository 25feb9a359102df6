"""Where secrets go is settled when an account is connected: no value and no answer moves it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from ssl import SSLSocket

import httpx
import pytest
from support.certificates import Issued, authority, leaf, server_context
from support.running import Running, running, wait_until
from support.serving import Seen, tls_server

from tidegate.app import load_declaration
from tidegate.credentials import CredentialRefused
from tidegate.domain.secret import Secret

FIELDS = {"client_id": "an-app", "client_secret": "a secret of the app"}


@pytest.fixture
def root() -> Issued:
    return authority("root")


@pytest.fixture
def thief(root: Issued) -> Iterator[Seen]:
    """It would be believed, and has an answer for everybody."""
    context = server_context([leaf(root, "127.0.0.1", "thief.test", "acme.thief.test")])
    with tls_server(context) as server:
        yield server


@contextmanager
def gateway(
    folder: Path, root: Issued, thief: Seen
) -> Iterator[tuple[Running, Seen, httpx.Client]]:
    """A provider whose accounts each have a host: two of them, and a thief's, are at hand."""

    def answer(connection: SSLSocket) -> None:
        port = thief.port
        said = {
            "access_token": "a-token-of-this-account",
            "expires_in": 600,
            # What other software follows (Salesforce, Pipedrive, Zoho), and more that it might.
            "instance_url": f"https://thief.test:{port}",
            "api_domain": f"https://thief.test:{port}",
            "token_endpoint": f"https://thief.test:{port}/token",
            "shop": f"thief.test:{port}",
        }
        body = json.dumps(said).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)
        connection.unwrap()

    hosts = ("acme.shops.test", "globex.shops.test")
    with tls_server(server_context([leaf(root, *hosts)]), answer) as shops:
        (folder / "ca.pem").write_text(root.pem)
        places = {host: ["127.0.0.1"] for host in (*hosts, "thief.test", "acme.thief.test")}
        declared = f"""
version: 1
gateway:
  listen: [{{bind: "127.0.0.1:0"}}]
  resolver: {{hosts: {json.dumps(places)}}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  shops:
    origin: https://{{shop}}.shops.test:{shops.port}
    auth:
      oauth2:
        grant: client_credentials
        token_url: "https://{{shop}}.shops.test:{shops.port}/{{shop}}/token"
    operations: ["GET /things"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {folder}/ca.pem}}
grants:
  - {{consumer: app, provider: shops, operations: ["*"]}}
"""
        with running(folder / "home", declared, {}) as started:
            headers = {"Tidegate-Token": started.token("app")}
            with httpx.Client(
                base_url=started.url, headers=headers, trust_env=False, timeout=20
            ) as client:
                yield started, shops, client


def enter(started: Running, **variables: str) -> None:
    fields = {name: Secret(value) for name, value in FIELDS.items()}
    started.state.connections.connect(
        load_declaration(started.file), "shops", "acme", "default", fields, variables
    )


def code(client: httpx.Client) -> str:
    answer = client.get("/shops/things")
    return "ok" if answer.status_code == 200 else answer.json()["code"]


def test_no_answer_says_where_calls_or_secrets_go(tmp_path: Path, root: Issued, thief: Seen):
    with gateway(tmp_path, root, thief) as (started, shops, client):
        enter(started, shop="acme")
        wait_until(lambda: code(client) == "ok")
        (made,) = started.state.store.connections.all()
        assert made.scheme == f"oauth2 https://acme.shops.test:{shops.port}/acme/token"
        assert made.origins == (f"https://acme.shops.test:{shops.port}",)
        received = bytes(shops.received)
        assert b"POST /acme/token" in received
        assert b"authorization: Bearer a-token-of-this-account" in received
        assert b"globex" not in received
    assert thief.connections == 0


@pytest.mark.parametrize(
    "value",
    [
        "acme.thief.test#",
        "acme.thief.test/",
        "thief@acme",
        "acme.evil",
        "acme:1",
        "acme/../x",
        "",
        "a%2e",
    ],
)
def test_a_value_is_no_more_than_a_part_of_the_address(
    tmp_path: Path, root: Issued, thief: Seen, value: str
):
    with gateway(tmp_path, root, thief) as (started, shops, _):
        with pytest.raises(CredentialRefused, match="`shop`"):
            enter(started, shop=value)
        with pytest.raises(CredentialRefused, match="`shop`"):
            enter(started)
        assert started.state.store.connections.all() == ()
        assert shops.connections == 0
    assert thief.connections == 0


def test_a_template_that_moves_gets_no_secret(tmp_path: Path, root: Issued, thief: Seen):
    with gateway(tmp_path, root, thief) as (started, shops, client):
        enter(started, shop="acme")
        wait_until(lambda: code(client) == "ok")
        text = started.file.read_text()
        moved = text.replace(
            f"{{shop}}.shops.test:{shops.port}/{{shop}}/token",
            f"{{shop}}.thief.test:{thief.port}/{{shop}}/token",
        )
        assert moved != text
        started.file.write_text(moved)
        wait_until(lambda: code(client) == "unknown_connection")
    assert thief.connections == 0
