"""Tokens that are bound to a key or a certificate: obtained, refreshed and used as only their holder can."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.certificates import Issued, authority, general_names, issue, private_pem
from support.consenting import Site, app_client, code_grant, free_port, site
from support.oauth_server import OAuthServer, oauth_server
from support.person import Person
from support.running import age, wait_until

from tidegate.credentials.jwt import encoded

ALGORITHMS = ("ES256", "EdDSA")
LIFETIME_S = 600


@pytest.fixture
def root() -> Issued:
    return authority("root")


def protected(server: OAuthServer, root: Issued, folder: Path, oauth2: str, more: str = "") -> str:
    """The server's own userinfo endpoint, which takes bound tokens from their holder alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.pem").write_text(root.pem)
    return f"""
    origin: {server.url}
    auth: {{oauth2: {{{oauth2}}}}}
    operations: ["GET /me", "POST /me"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {folder}/ca.pem{more}}}
"""


def who(gateway: Site) -> str:
    """Whose account the provider says it is, by a call through the gateway."""
    answer = gateway.api.get("/crm/me")
    return answer.json()["sub"] if answer.status_code == 200 else answer.text


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("nonces", [False, True], ids=["no nonce", "nonces"])
def test_a_consent_leads_to_calls_that_prove_the_key(
    tmp_path: Path, root: Issued, algorithm: str, *, nonces: bool
):
    port = free_port()
    app = app_client(f"http://127.0.0.1:{port}/callback/crm", dpop_bound_access_tokens=True)
    with oauth_server(tmp_path / "server", root, clients=[app], nonces=nonces) as server:
        grant = code_grant(server, f"account: id_token.sub, dpop: {algorithm}")
        declared = {"crm": protected(server, root, tmp_path, grant)}
        with site(tmp_path, port, declared) as gateway, Person(root.pem) as person:
            assert person.consent(gateway.link()).status_code == 200
            made = gateway.connections()["default"]
            assert "dpop_key" in made.fields
            wait_until(lambda: who(gateway) == "a-person")
            before = server.seen()
            assert [who(gateway) for _ in range(10)] == ["a-person"] * 10
            # The nonce is remembered: no call is sent twice for it.
            assert server.seen()["called"] == before["called"] + 10
            assert gateway.api.post("/crm/me", data={}).status_code == 200
            answer = gateway.api.get("/crm/me", headers={"DPoP": "forged", "Authorization": "x"})
            assert answer.status_code == 200
            assert "dpop-nonce" not in answer.headers
            age(gateway.started, made.id, LIFETIME_S)
            issued = gateway.started.state.store.issued
            wait_until(lambda: (token := issued.get(made.id)) is not None and token.serial == 2)
            wait_until(lambda: who(gateway) == "a-person")
            seen = server.seen()
            assert seen["granted"] == 2
            # Once for the code, once for the refresh token, once for the first call.
            assert seen["nonces"] == (3 if nonces else 0)


def test_the_question_names_the_key_and_may_be_handed_in_beforehand(tmp_path: Path, root: Issued):
    port = free_port()
    app = app_client(
        f"http://127.0.0.1:{port}/callback/crm",
        dpop_bound_access_tokens=True,
        require_pushed_authorization_requests=True,
    )
    with oauth_server(tmp_path / "server", root, clients=[app], nonces=True) as server:
        grant = code_grant(server, f'dpop: ES256, par_url: "{server.url}/request"')
        plain = code_grant(server, "dpop: ES256")
        declared = {
            "crm": protected(server, root, tmp_path, grant),
            "other": protected(server, root, tmp_path, plain),
        }
        with site(tmp_path, port, declared) as gateway, Person(root.pem) as person:
            there = person.go_on(gateway.link("other"))
            assert len(dict(parse_qsl(urlsplit(there).query))["dpop_jkt"]) == 43
            assert person.consent(gateway.link()).status_code == 200
            wait_until(lambda: who(gateway) == "a-person")
            assert server.seen()["pushed"] == 1


def test_every_connection_has_a_key_of_its_own(tmp_path: Path, root: Issued):
    port = free_port()
    app = app_client(f"http://127.0.0.1:{port}/callback/crm", dpop_bound_access_tokens=True)
    with oauth_server(tmp_path / "server", root, clients=[app]) as server:
        grant = code_grant(server, "dpop: ES256")
        declared = {"crm": protected(server, root, tmp_path, grant)}
        with site(tmp_path, port, declared) as gateway, Person(root.pem) as person:
            for name in ("default", "second", "default"):
                assert person.consent(gateway.link(name=name)).status_code == 200
            vault = gateway.started.state.vault
            made = gateway.connections()
            assert made["default"].version == 2
            keys = [vault.open(one)["dpop_key"] for one in made.values()]
            assert not keys[0].matches(keys[1])
            wait_until(lambda: who(gateway) == "a-person")


def client_certificate(issuer: Issued | None, name: str) -> Issued:
    return issue(
        "a client",
        issuer,
        ca=False,
        names=general_names(name),
        usages=[ExtendedKeyUsageOID.CLIENT_AUTH],
    )


def shown(certificate: Issued) -> dict[str, str]:
    """The fields of a credential that are a client certificate."""
    return {"tls_certificate": certificate.pem, "tls_key": private_pem(certificate).decode()}


@pytest.mark.parametrize("way", ["tls_client_auth", "self_signed_tls_client_auth"])
def test_a_client_shows_who_it_is_by_its_certificate(tmp_path: Path, root: Issued, way: str):
    """RFC 8705: at the token endpoint, and with the tokens that are bound to it."""
    port, clients = free_port(), authority("clients")
    certificate = client_certificate(clients if way == "tls_client_auth" else None, "app.test")
    known = {
        "tls_client_auth": {"tls_client_auth_san_dns": "app.test"},
        "self_signed_tls_client_auth": {"jwks": {"keys": [certificate_jwk(certificate)]}},
    }
    app = app_client(
        f"http://127.0.0.1:{port}/callback/crm",
        client_secret=None,
        token_endpoint_auth_method=way,
        tls_client_certificate_bound_access_tokens=True,
        **known[way],
    )
    fields = {"client_id": app["client_id"]} | shown(certificate)
    with oauth_server(tmp_path / "server", root, clients=[app], client_root=clients) as server:
        grant = code_grant(server, f"account: id_token.sub, client_auth: {way}")
        more = ", client_certificate: true"
        declared = {"crm": protected(server, root, tmp_path, grant, more)}
        with site(tmp_path, port, declared) as gateway, Person(root.pem) as person:
            page = person.consent(gateway.link(fields=fields))
            assert page.status_code == 200, page.text
            wait_until(lambda: who(gateway) == "a-person")
            made = gateway.connections()["default"]
            age(gateway.started, made.id, LIFETIME_S)
            issued = gateway.started.state.store.issued
            wait_until(lambda: (token := issued.get(made.id)) is not None and token.serial == 2)
            wait_until(lambda: who(gateway) == "a-person")
            # Without the certificate it was issued to, the token is worth nothing.
            token = issued.get(made.id)
            assert token is not None
            assert token.sealed is not None
            opened = gateway.started.state.vault.open_issued(made, token.serial, token.sealed)
            bearer = {"Authorization": f"Bearer {opened['access_token'].reveal().decode()}"}
            assert server.client.get(f"{server.url}/me", headers=bearer).status_code == 401


def test_a_certificate_of_another_client_gets_no_token(tmp_path: Path, root: Issued):
    port, clients = free_port(), authority("clients")
    app = app_client(
        f"http://127.0.0.1:{port}/callback/crm",
        client_secret=None,
        token_endpoint_auth_method="tls_client_auth",
        tls_client_auth_san_dns="app.test",
    )
    with oauth_server(tmp_path / "server", root, clients=[app], client_root=clients) as server:
        grant = code_grant(server, "client_auth: tls_client_auth")
        declared = {"crm": protected(server, root, tmp_path, grant)}
        with site(tmp_path, port, declared) as gateway, Person(root.pem) as person:
            for wrong in (
                client_certificate(clients, "other.test"),
                client_certificate(None, "app.test"),
            ):
                fields = {"client_id": app["client_id"]} | shown(wrong)
                page = person.consent(gateway.link(fields=fields))
                assert (page.status_code, "token_refused invalid_client" in page.text) == (
                    400,
                    True,
                )
            assert gateway.connections() == {}


def certificate_jwk(certificate: Issued) -> dict[str, object]:
    """A certificate as the client's key set holds it (RFC 8705 §2.2)."""
    public = certificate.key.public_key().public_numbers()
    x, y = (encoded(number.to_bytes(32, "big")) for number in (public.x, public.y))
    chain = [base64.b64encode(certificate.der).decode()]
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "x5c": chain}
