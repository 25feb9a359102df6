"""People consent at a real OAuth server, by a link or on loopback, and calls go out with what it gave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.certificates import Issued, authority, leaf, server_context
from support.consenting import (
    app_client,
    code_grant,
    declared_provider,
    free_port,
    site,
)
from support.oauth_server import oauth_server
from support.person import Person
from support.running import wait_until
from support.serving import Seen, tls_server


@pytest.fixture
def root() -> Issued:
    return authority("root")


@pytest.fixture
def api(root: Issued) -> Iterator[Seen]:
    with tls_server(server_context([leaf(root, "127.0.0.1")])) as server:
        yield server


def test_a_link_leads_to_calls(tmp_path: Path, root: Issued, api: Seen):
    port = free_port()
    app = app_client(f"http://127.0.0.1:{port}/callback/crm")
    with (
        oauth_server(tmp_path / "server", root, clients=[app]) as server,
        site(
            tmp_path, port, {"crm": declared_provider(api, root, tmp_path, code_grant(server))}
        ) as gateway,
        Person(root.pem) as person,
    ):
        link = gateway.link()
        page = person.open(link)
        assert page.status_code == 200
        assert "Connect Acme GmbH to CRM &amp; Co" in page.text
        assert "<code>offline_access</code>" in page.text
        done = person.consent(link)
        assert done.status_code == 200, done.text
        assert "Acme GmbH is connected to CRM &amp; Co" in done.text
        wait_until(lambda: gateway.code() == "ok")
        made = gateway.connections()["default"]
        assert set(made.fields) == {"client_id", "client_secret", "refresh_token", "account"}
        assert gateway.started.state.vault.open(made)["account"].reveal() == b"a-person"
        # What came with the consent serves; nothing was asked for twice.
        assert server.seen()["asked"] == 1
