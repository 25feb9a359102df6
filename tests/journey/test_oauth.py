"""Tokens from a real OAuth server: obtained, carried, refreshed before they expire, and never shown."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from support.certificates import Issued, authority, leaf, server_context
from support.oauth_server import CLIENT_ID, CLIENT_SECRET, OAuthServer, oauth_server
from support.running import Running, running, wait_until
from support.serving import Seen, tls_server

from tidegate.app import load_declaration
from tidegate.domain.secret import Secret


@pytest.fixture
def root() -> Issued:
    return authority("root")


@pytest.fixture
def api(root: Issued) -> Iterator[Seen]:
    """The provider's API: it answers, and what it received is kept."""
    with tls_server(server_context([leaf(root, "127.0.0.1")])) as server:
        yield server


@contextmanager
def gateway(
    folder: Path, api: Seen, server: OAuthServer, oauth2: str, fields: dict[str, str]
) -> Iterator[tuple[Running, httpx.Client]]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.pem").write_text(server.root.pem)
    declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  crm:
    origin: {api.origin}
    auth: {{oauth2: {{{oauth2}, token_url: "{server.token_url}", scopes: [api]}}}}
    operations: ["GET /things"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {folder}/ca.pem}}
grants:
  - {{consumer: app, provider: crm, operations: ["*"]}}
"""
    with running(folder / "home", declared, {("crm", "acme"): fields}) as started:
        token = started.token("app")
        with httpx.Client(
            base_url=started.url, headers={"Tidegate-Token": token}, trust_env=False, timeout=20
        ) as client:
            yield started, client


def code(client: httpx.Client) -> str:
    answer = client.get("/crm/things")
    return "ok" if answer.status_code == 200 else answer.json()["code"]


def carried(api: Seen) -> list[str]:
    """The access tokens that the API saw, each once."""
    lines = bytes(api.received).decode().lower().splitlines()
    values = (line.partition(":")[2].strip() for line in lines if line.startswith("authorization:"))
    return list(dict.fromkeys(values))


@pytest.mark.parametrize(
    ("way", "client_id"), [("basic", CLIENT_ID), ("post", f"{CLIENT_ID}-post")]
)
def test_a_token_is_obtained_by_the_clients_own_credentials(
    tmp_path: Path, root: Issued, api: Seen, way: str, client_id: str
):
    fields = {"client_id": client_id, "client_secret": CLIENT_SECRET}
    with (
        oauth_server(tmp_path / "server", root) as server,
        gateway(
            tmp_path, api, server, f"grant: client_credentials, client_auth: {way}", fields
        ) as (_, client),
    ):
        wait_until(lambda: code(client) == "ok")
        assert [code(client) for _ in range(20)] == ["ok"] * 20
        seen = server.seen()
        assert (seen["asked"], seen["granted"]) == (1, 1)
        (token,) = carried(api)
    assert token.startswith("bearer ")
    assert CLIENT_SECRET.encode() not in api.received


def test_a_token_is_replaced_before_it_expires_and_no_call_fails(
    tmp_path: Path, root: Issued, api: Seen
):
    with oauth_server(tmp_path / "server", root, lifetime_s=33) as server:
        fields = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "refresh_token": server.consent(),
        }
        with gateway(tmp_path, api, server, "grant: refresh_token", fields) as (started, client):
            wait_until(lambda: code(client) == "ok")
            (connection,) = started.state.store.connections.all()
            first = started.state.store.issued.get(connection.id)
            assert first is not None
            assert first.serial == 1
            # Said to be issued long ago, it is due at once: nobody waits half a minute for a test.
            age(started, connection.id)
            outcomes: list[str] = []

            def renewed() -> bool:
                outcomes.append(code(client))
                return len(carried(api)) > 1

            wait_until(renewed)
            assert set(outcomes) == {"ok"}
            assert server.seen()["granted"] == 2
            assert len(carried(api)) == 2


def age(started: Running, connection: str) -> None:
    """Make a token an old one, as time would."""
    with sqlite3.connect(started.file.parent / "data" / "tidegate.db", timeout=10) as database:
        database.execute(
            "UPDATE issued_tokens SET issued_at = issued_at - 31000000 WHERE connection = ?",
            (connection,),
        )


@pytest.mark.parametrize(
    ("oauth2", "asks"),
    [("grant: refresh_token", 1), ("grant: refresh_token, reuse: 10m", 2)],
    ids=["no window", "within the window"],
)
def test_a_consent_that_was_withdrawn_ends_the_calls_and_the_asking(
    tmp_path: Path, root: Issued, api: Seen, oauth2: str, asks: int
):
    with oauth_server(tmp_path / "server", root) as server:
        fields = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "refresh_token": server.consent(),
        }
        server.withdraw()
        with gateway(tmp_path, api, server, oauth2, fields) as (started, client):
            (connection,) = started.state.store.connections.all()

            def ended() -> bool:
                token = started.state.store.issued.get(connection.id)
                return token is not None and token.ended

            wait_until(ended)
            wait_until(lambda: code(client) == "needs_reconsent")
            asked = server.seen()["asked"]
            assert asked == asks
            # Entered anew, it is asked for again.
            fresh = fields | {"refresh_token": server.consent()}
            reconnect(started, fresh)
            wait_until(lambda: code(client) == "ok")
            assert server.seen()["asked"] == asks + 1
    assert b"authorization" in bytes(api.received).lower()


def reconnect(started: Running, fields: dict[str, str]) -> None:
    sealed = {name: Secret(value) for name, value in fields.items()}
    started.state.connections.connect(
        load_declaration(started.file), "crm", "acme", "default", sealed, {}
    )


def test_a_provider_whose_token_endpoint_moves_gets_nothing_until_it_is_connected_anew(
    tmp_path: Path, root: Issued, api: Seen
):
    fields = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    with (
        oauth_server(tmp_path / "server", root) as server,
        tls_server(server_context([leaf(root, "127.0.0.1")])) as thief,
        gateway(tmp_path, api, server, "grant: client_credentials", fields) as (started, client),
    ):
        wait_until(lambda: code(client) == "ok")
        text = started.file.read_text()
        started.file.write_text(text.replace(server.token_url, f"{thief.origin}/token"))
        wait_until(lambda: code(client) == "unknown_connection")
        assert thief.connections == 0
