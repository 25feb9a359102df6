"""People consent at a real OAuth server, by a link or on loopback, and calls go out with what it gave."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, quote_plus

import pytest
from support.certificates import Issued, authority, leaf, server_context
from support.consenting import (
    FIELDS,
    Site,
    app_client,
    code_grant,
    declared_provider,
    free_port,
    site,
)
from support.keys import ec_key, rsa_key
from support.oauth_server import oauth_server
from support.person import Person
from support.running import age, wait_until
from support.serving import Seen, tls_server

from tidegate.app import load_declaration
from tidegate.credentials import Revoked
from tidegate.domain.secret import Secret


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


def test_a_consent_that_was_withdrawn_is_given_anew(tmp_path: Path, root: Issued, api: Seen):
    port = free_port()
    app = app_client(f"http://127.0.0.1:{port}/callback/crm")
    with (
        oauth_server(tmp_path / "server", root, clients=[app], lifetime_s=31) as server,
        site(
            tmp_path, port, {"crm": declared_provider(api, root, tmp_path, code_grant(server))}
        ) as gateway,
        Person(root.pem) as person,
    ):
        assert person.consent(gateway.link()).status_code == 200
        wait_until(lambda: gateway.code() == "ok")
        first = gateway.connections()["default"]
        server.withdraw()
        age(gateway.started, first.id)

        def ended() -> bool:
            token = gateway.started.state.store.issued.get(first.id)
            return token is not None and token.ended

        wait_until(ended)
        page = person.open(gateway.link())
        assert "This renews a connection" in page.text
        assert person.consent(gateway.link()).status_code == 200
        wait_until(lambda: gateway.code() == "ok")
        second = gateway.connections()["default"]
        assert (second.id, second.version) == (first.id, 2)


def test_a_refresh_token_from_a_consent_is_refreshed(tmp_path: Path, root: Issued, api: Seen):
    port = free_port()
    app = app_client(f"http://127.0.0.1:{port}/callback/crm")
    with (
        oauth_server(tmp_path / "server", root, clients=[app], lifetime_s=31) as server,
        site(
            tmp_path, port, {"crm": declared_provider(api, root, tmp_path, code_grant(server))}
        ) as gateway,
        Person(root.pem) as person,
    ):
        assert person.consent(gateway.link()).status_code == 200
        wait_until(lambda: gateway.code() == "ok")
        made = gateway.connections()["default"]
        age(gateway.started, made.id)
        issued = gateway.started.state.store.issued
        wait_until(lambda: (token := issued.get(made.id)) is not None and token.serial == 2)
        wait_until(lambda: gateway.code() == "ok")
        assert server.seen()["granted"] == 2


def test_a_provider_that_gives_no_refresh_token_serves_until_it_expires(
    tmp_path: Path, root: Issued, api: Seen
):
    port = free_port()
    app = app_client(f"http://127.0.0.1:{port}/callback/crm")
    with oauth_server(tmp_path / "server", root, clients=[app], lifetime_s=31) as server:
        grant = code_grant(server).replace("offline_access, ", "")
        with (
            site(tmp_path, port, {"crm": declared_provider(api, root, tmp_path, grant)}) as gateway,
            Person(root.pem) as person,
        ):
            assert person.consent(gateway.link()).status_code == 200
            wait_until(lambda: gateway.code() == "ok")
            made = gateway.connections()["default"]
            assert "refresh_token" not in made.fields
            issued = gateway.started.state.store.issued
            with sqlite3.connect(
                gateway.started.file.parent / "data" / "tidegate.db", timeout=10
            ) as database:
                database.execute("UPDATE issued_tokens SET issued_at = issued_at - 25000000")

            def due() -> bool:
                token = issued.get(made.id)
                return token is not None and token.trouble == "no_refresh_token"

            wait_until(due)
            assert gateway.code() == "ok"
            age(gateway.started, made.id)
            with sqlite3.connect(
                gateway.started.file.parent / "data" / "tidegate.db", timeout=10
            ) as database:
                database.execute("UPDATE issued_tokens SET retry_at = retry_at - 31000000")
            wait_until(lambda: (token := issued.get(made.id)) is not None and token.ended)
            assert server.seen()["asked"] == 1


def test_the_question_is_handed_in_beforehand_where_declared(
    tmp_path: Path, root: Issued, api: Seen
):
    port = free_port()
    app = app_client(
        f"http://127.0.0.1:{port}/callback/crm", require_pushed_authorization_requests=True
    )
    with oauth_server(tmp_path / "server", root, clients=[app]) as server:
        grant = code_grant(server, f'par_url: "{server.url}/request"')
        with (
            site(tmp_path, port, {"crm": declared_provider(api, root, tmp_path, grant)}) as gateway,
            Person(root.pem) as person,
        ):
            there = person.go_on(gateway.link())
            assert set(dict(parse_qsl(there.partition("?")[2]))) == {"client_id", "request_uri"}
            assert person.consent(gateway.link()).status_code == 200
            wait_until(lambda: gateway.code() == "ok")
            assert server.seen()["pushed"] == 2


def test_endpoints_are_found_by_the_issuer_and_bound(tmp_path: Path, root: Issued, api: Seen):
    port = free_port()
    app = app_client(f"http://127.0.0.1:{port}/callback/crm")
    with oauth_server(tmp_path / "server", root, clients=[app]) as server:
        grant = (
            f'grant: authorization_code, issuer: "{server.url}", account: id_token.sub, '
            "scopes: [openid, offline_access, api], authorize_parameters: {prompt: consent}"
        )
        with (
            site(tmp_path, port, {"crm": declared_provider(api, root, tmp_path, grant)}) as gateway,
            Person(root.pem) as person,
        ):
            assert person.consent(gateway.link()).status_code == 200
            wait_until(lambda: gateway.code() == "ok")
            made = gateway.connections()["default"]
            assert made.scheme == (
                f"oauth2 {server.url}/token issuer={server.url} authorize_url={server.url}/auth "
                f"par_url={server.url}/request device_url={server.url}/device/auth "
                f"revocation_url={server.url}/token/revocation iss=1"
            )
            assert server.seen()["pushed"] == 1


def test_another_account_replaces_nothing(tmp_path: Path, root: Issued, api: Seen):
    port = free_port()
    app = app_client(f"http://127.0.0.1:{port}/callback/crm")
    with oauth_server(tmp_path / "server", root, clients=[app]) as server:
        grant = code_grant(
            server, f'account: id_token.sub, revocation_url: "{server.url}/token/revocation"'
        )
        with (
            site(tmp_path, port, {"crm": declared_provider(api, root, tmp_path, grant)}) as gateway,
            Person(root.pem) as person,
            Person(root.pem, "somebody-else") as other,
        ):
            assert person.consent(gateway.link()).status_code == 200
            before = gateway.connections()["default"]
            refused = other.consent(gateway.link())
            assert refused.status_code == 400
            assert "another account" in refused.text
            assert gateway.connections()["default"] == before
            # What was given for the other account is good for nothing any more.
            assert server.seen()["revoked"] == 2
            wait_until(lambda: gateway.code() == "ok")


def test_disconnect_ends_the_consent_at_the_provider(tmp_path: Path, root: Issued, api: Seen):
    port = free_port()
    app = app_client(f"http://127.0.0.1:{port}/callback/crm")
    with oauth_server(tmp_path / "server", root, clients=[app]) as server:
        grant = code_grant(server, f'revocation_url: "{server.url}/token/revocation"')
        with (
            site(tmp_path, port, {"crm": declared_provider(api, root, tmp_path, grant)}) as gateway,
            Person(root.pem) as person,
        ):
            assert person.consent(gateway.link()).status_code == 200
            state = gateway.started.state
            made = gateway.connections()["default"]
            token = state.vault.open(made)["refresh_token"]
            declaration = load_declaration(gateway.started.file)
            with state.calling_out() as engine:
                _, revoked = state.connections_by(engine).disconnect(
                    "acme", "crm", "default", declaration
                )
            assert revoked is Revoked.DONE
            assert gateway.connections() == {}
            assert state.store.issued.all() == {}
            wait_until(lambda: gateway.code() == "unknown_connection")
            answer = server.client.post(
                server.token_url,
                data={"grant_type": "refresh_token", "refresh_token": token.reveal().decode()},
                auth=(quote_plus(FIELDS["client_id"]), quote_plus(FIELDS["client_secret"])),
            )
            assert answer.json()["error"] == "invalid_grant"


@contextmanager
def command(folder: Path, declared: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run commands of an installation of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tidegate.yaml").write_text(declared)
    environment = os.environ | {
        "TIDEGATE_HOME": str(folder / "data"),
        "TIDEGATE_ROOT_KEY_FILE": str(folder / "keys" / "root.key"),
        "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
    }

    def run(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tidegate.cli", *words],
            cwd=folder, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    with run("apply") as applied:
        assert applied.wait(60) == 0, applied.stderr and applied.stderr.read()
    yield run


def declaration_with(provider: str) -> str:
    return (
        "version: 1\nclients: {acme: {name: Acme GmbH}}\nconsumers: {app: {clients: [acme]}}\n"
        f"providers:\n  crm:{provider}"
        'grants: [{consumer: app, provider: crm, operations: ["*"]}]\n'
    )


def test_connect_waits_on_loopback_for_the_browser(tmp_path: Path, root: Issued, api: Seen):
    app = app_client("http://127.0.0.1/callback/crm")
    with oauth_server(tmp_path / "server", root, clients=[app]) as server:
        declared = declaration_with(declared_provider(api, root, tmp_path, code_grant(server)))
        with command(tmp_path / "here", declared) as run, Person(root.pem) as person:
            with run("connect", "crm", "--client", "acme") as connecting:
                assert connecting.stdin is not None
                assert connecting.stderr is not None
                connecting.stdin.write(json.dumps(FIELDS))
                connecting.stdin.close()
                link = next(line for line in connecting.stderr if "/connect/" in line)
                done = person.consent(link.split()[-1])
                assert done.status_code == 200
                assert str(done.url).startswith("http://127.0.0.1:")
                assert connecting.wait(30) == 0
                assert connecting.stdout is not None
                told = connecting.stdout.read()
            assert "connected acme to crm as default, version 1" in told
            assert f"leaves only for {server.token_url}" in told
            with run("connections", "--json") as listing:
                (one,) = json.loads(listing.communicate(timeout=60)[0])
            assert one["token"].startswith("until ")


def test_connect_waits_for_a_code_on_another_device(tmp_path: Path, root: Issued, api: Seen):
    app = app_client(
        client_id="tidegate-device",
        grant_types=["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
        response_types=[],
    )
    with oauth_server(tmp_path / "server", root, clients=[app]) as server:
        grant = (
            f'grant: device_code, token_url: "{server.token_url}", '
            f'device_url: "{server.url}/device/auth", scopes: [openid, offline_access, api], '
            "account: id_token.sub, authorize_parameters: {prompt: consent}"
        )
        declared = declaration_with(declared_provider(api, root, tmp_path, grant))
        with command(tmp_path / "here", declared) as run, Person(root.pem) as person:
            with run("connect", "crm", "--client", "acme") as connecting:
                assert connecting.stdin is not None
                assert connecting.stderr is not None
                connecting.stdin.write(json.dumps(FIELDS | {"client_id": "tidegate-device"}))
                connecting.stdin.close()
                opening = next(line for line in connecting.stderr if "open https" in line)
                last = person.allow(person.open(opening.split()[-1]))
                assert "Sign-in Success" in last.text, last.text
                assert connecting.wait(60) == 0, connecting.stderr.read()
            with run("connections", "--json") as listing:
                (one,) = json.loads(listing.communicate(timeout=60)[0])
            assert one["token"].startswith("until ")
            assert "refresh_token" in one["fields"]


def test_connect_says_when_consent_was_not_given(tmp_path: Path, root: Issued, api: Seen):
    app = app_client("http://127.0.0.1/callback/crm")
    with oauth_server(tmp_path / "server", root, clients=[app]) as server:
        declared = declaration_with(declared_provider(api, root, tmp_path, code_grant(server)))
        with (
            command(tmp_path / "here", declared) as run,
            Person(root.pem) as person,
            run("connect", "crm", "--client", "acme") as connecting,
        ):
            assert connecting.stdin is not None
            assert connecting.stderr is not None
            connecting.stdin.write(json.dumps(FIELDS))
            connecting.stdin.close()
            link = next(line for line in connecting.stderr if "/connect/" in line)
            login = person.open(person.go_on(link.split()[-1]))
            page = person.open(str(login.url) + "/abort")
            assert "Consent was not given" in page.text
            assert connecting.wait(30) == 1
            assert "denied: access_denied" in connecting.stderr.read()


@pytest.mark.parametrize(("algorithm", "made"), [("RS256", rsa_key), ("ES256", ec_key)])
def test_a_client_may_sign_who_it_is(
    tmp_path: Path,
    root: Issued,
    api: Seen,
    algorithm: str,
    made: Callable[[], tuple[str, dict[str, str]]],
):
    key, public = made()
    app = app_client(
        client_id="signing",
        client_secret=None,
        grant_types=["client_credentials"],
        response_types=[],
        token_endpoint_auth_method="private_key_jwt",
        token_endpoint_auth_signing_alg=algorithm,
        application_type="web",
        jwks={"keys": [public | {"alg": algorithm, "kid": "one", "use": "sig"}]},
    )
    with oauth_server(tmp_path / "server", root, clients=[app]) as server:
        grant = (
            f'grant: client_credentials, token_url: "{server.token_url}", scopes: [api], '
            f"client_auth: private_key_jwt, assertion: {{algorithm: {algorithm}, key_id: true}}"
        )
        declared = declared_provider(api, root, tmp_path, grant)
        with site(tmp_path, free_port(), {"crm": declared}) as gateway:
            fields = {"client_id": "signing", "private_key": key, "key_id": "one"}
            enter(gateway, fields)
            wait_until(lambda: gateway.code() == "ok")


@pytest.mark.parametrize("subject", ["somebody", "nobody"])
def test_a_signed_assertion_is_worth_a_token(tmp_path: Path, root: Issued, api: Seen, subject: str):
    key, public = rsa_key()
    app = app_client(
        client_id="asserting",
        client_secret=None,
        grant_types=["urn:ietf:params:oauth:grant-type:jwt-bearer"],
        response_types=[],
        token_endpoint_auth_method="none",
        application_type="web",
        jwks={"keys": [public | {"alg": "RS256", "use": "sig"}]},
    )
    with oauth_server(tmp_path / "server", root, clients=[app]) as server:
        grant = (
            f'grant: jwt_bearer, token_url: "{server.token_url}", scopes: [api], '
            "assertion: {subject: true}"
        )
        declared = declared_provider(api, root, tmp_path, grant)
        with site(tmp_path, free_port(), {"crm": declared}) as gateway:
            enter(gateway, {"client_id": "asserting", "private_key": key, "subject": subject})
            if subject == "somebody":
                wait_until(lambda: gateway.code() == "ok")
                return
            made = gateway.connections()["default"]
            issued = gateway.started.state.store.issued
            wait_until(lambda: (token := issued.get(made.id)) is not None and bool(token.trouble))
            token = issued.get(made.id)
            assert token is not None
            # Nobody's consent is gone: a clock may be wrong, and it is asked again.
            assert (token.trouble, token.ended) == ("invalid_grant", False)


def test_a_token_from_elsewhere_is_exchanged(tmp_path: Path, root: Issued, api: Seen):
    app = app_client(
        client_id="exchanging",
        grant_types=["urn:ietf:params:oauth:grant-type:token-exchange"],
        response_types=[],
    )
    with oauth_server(tmp_path / "server", root, clients=[app]) as server:
        grant = f'grant: token_exchange, token_url: "{server.token_url}", scopes: [api]'
        declared = declared_provider(api, root, tmp_path, grant)
        with site(tmp_path, free_port(), {"crm": declared}) as gateway:
            subject = {"subject_token": "a-token-from-elsewhere"}
            enter(gateway, FIELDS | {"client_id": "exchanging"} | subject)
            wait_until(lambda: gateway.code() == "ok")


def enter(gateway: Site, fields: dict[str, str]) -> None:
    sealed = {name: Secret(value) for name, value in fields.items()}
    gateway.started.state.connections.connect(
        load_declaration(gateway.started.file), "crm", "acme", "default", sealed, {}
    )
