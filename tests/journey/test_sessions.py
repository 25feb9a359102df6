"""Providers that one logs in to: by each built-in declaration, a call goes out with a session's token."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.running import Running, running, wait_until
from support.sessions import Asked, Said, Sessions, said, serving_sessions

from tidegate.app import load_declaration
from tidegate.credentials import Revoked
from tidegate.sandbox import Authority

RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
PASSWORD = 'p"ss\\wörd & more+/='


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def sap(asked: Asked, token: str) -> Said | None:
    if asked.path != "/b1s/v2/Login":
        return None
    assert asked.json() == {"CompanyDB": "DB", "UserName": "manager", "Password": PASSWORD}
    return said(
        {"SessionId": token, "SessionTimeout": 30}, Set_Cookie=f"B1SESSION={token}; HttpOnly"
    )


def tableau(asked: Asked, token: str) -> Said | None:
    if asked.path != "/api/3.22/auth/signin":
        return None
    named = {"personalAccessTokenName": "ci", "personalAccessTokenSecret": PASSWORD}
    assert asked.json() == {"credentials": named | {"site": {"contentUrl": "acme"}}}
    assert asked.fields["accept"] == "application/json"
    return said({"credentials": {"token": token, "site": {"id": "s"}}})


def bill(asked: Asked, token: str) -> Said | None:
    if asked.path != "/connect/v3/login":
        return None
    named = {"username": "u", "password": PASSWORD, "organizationId": "008", "devKey": "dev-key-1"}
    assert asked.json() == named
    return said({"sessionId": token, "organizationId": "008"})


def jamf(asked: Asked, token: str) -> Said | None:
    if asked.path != "/api/v1/auth/token":
        return None
    kind, _, pair = asked.fields["authorization"].partition(" ")
    assert (kind, base64.b64decode(pair).decode()) == ("Basic", f"u:{PASSWORD}")
    end = datetime.now(UTC) + timedelta(minutes=30)
    return said({"token": token, "expires": end.isoformat(timespec="milliseconds")})


def toast(asked: Asked, token: str) -> Said | None:
    if asked.path != "/authentication/v1/authentication/login":
        return None
    named = {"clientId": "c", "clientSecret": PASSWORD, "userAccessType": "TOAST_MACHINE_CLIENT"}
    assert asked.json() == named
    return said({"token": {"accessToken": token, "expiresIn": 86400}, "status": "SUCCESS"})


def github(asked: Asked, token: str) -> Said | None:
    if asked.path != "/app/installations/1234/access_tokens":
        return None
    claims = jwt.decode(str(asked.bearer()), RSA.public_key(), algorithms=["RS256"])
    assert claims["iss"] == "42"
    assert claims["exp"] - claims["iat"] <= 600
    assert claims["iat"] <= datetime.now(UTC).timestamp() - 50
    assert asked.fields["x-github-api-version"] == "2022-11-28"
    end = datetime.now(UTC) + timedelta(hours=1)
    return said({"token": token, "expires_at": f"{end:%Y-%m-%dT%H:%M:%SZ}"})


def meta(asked: Asked, token: str) -> Said | None:
    if asked.path != "/v25.0/oauth/access_token":
        return None
    query = {name: one for name, (one,) in parse_qs(urlsplit(asked.target).query).items()}
    assert query.pop("fb_exchange_token").startswith(("short-lived", "session-"))
    assert query == {
        "grant_type": "fb_exchange_token",
        "client_id": "c",
        "client_secret": PASSWORD,
    }
    return said({"access_token": token, "token_type": "bearer", "expires_in": 5_183_944})


def apple(asked: Asked) -> str | None:
    token = str(asked.bearer())
    claims = jwt.decode(
        token, P256.public_key(), algorithms=["ES256"], audience="appstoreconnect-v1"
    )
    assert (claims["iss"], jwt.get_unverified_header(token)["kid"]) == ("issuer", "KEY1")
    assert claims["exp"] - claims["iat"] <= 20 * 60
    return token


@dataclass(frozen=True)
class Case:
    sessions: Sessions
    fields: dict[str, str]
    call: str
    logs_out: bool = True


def header(name: str):
    return lambda asked: asked.fields.get(name)


def cases() -> dict[str, Case]:
    return {
        "sap-business-one": Case(
            Sessions(sap, lambda a: a.cookie("B1SESSION"), lambda a: a.path == "/b1s/v2/Logout"),
            {"company": "DB", "username": "manager", "password": PASSWORD},
            "/b1s/v2/Items",
        ),
        "tableau": Case(
            Sessions(tableau, header("x-tableau-auth"), lambda a: a.path.endswith("/signout")),
            {"token_name": "ci", "token_secret": PASSWORD, "site": "acme"},
            "/api/3.22/sites/s/views",
        ),
        "bill": Case(
            Sessions(
                bill,
                lambda a: (
                    a.fields.get("sessionid") if a.fields.get("devkey") == "dev-key-1" else ""
                ),
                lambda a: a.path == "/connect/v3/logout",
            ),
            {
                "username": "u",
                "password": PASSWORD,
                "organization_id": "008",
                "dev_key": "dev-key-1",
            },
            "/connect/v3/vendors",
        ),
        "jamf": Case(
            Sessions(jamf, Asked.bearer, lambda a: a.path == "/api/v1/auth/invalidate-token"),
            {"username": "u", "password": PASSWORD},
            "/api/v1/buildings",
        ),
        "toast": Case(
            Sessions(toast, Asked.bearer),
            {"client_id": "c", "client_secret": PASSWORD},
            "/menus/v2/menus",
            logs_out=False,
        ),
        "github-app": Case(
            Sessions(github, Asked.bearer, lambda a: a.method == "DELETE"),
            {"app_id": "42", "installation_id": "1234", "private_key": pem(RSA)},
            "/installation/repositories",
        ),
        "meta-graph": Case(
            Sessions(meta, Asked.bearer),
            {"client_id": "c", "client_secret": PASSWORD, "token": "short-lived-token"},
            "/v25.0/me",
            logs_out=False,
        ),
    }


class Front:
    """A gateway before a provider with sessions."""

    def __init__(self, gateway: Running, sessions: Sessions, path: str) -> None:
        self.gateway, self.sessions, self._path = gateway, sessions, path
        self._headers = {"Tidegate-Token": gateway.token("app")}

    def call(self) -> httpx.Response:
        url = f"{self.gateway.url}/it{self._path}"
        return httpx.get(url, headers=self._headers, trust_env=False, timeout=20)


@contextmanager
def in_front(
    folder: Path, sessions: Sessions, declared: str, fields: dict[str, str], path: str
) -> Iterator[Front]:
    ca = Authority()
    folder.mkdir(parents=True, exist_ok=True)
    with serving_sessions(sessions, ca) as origin:
        text = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  it:
    origin: {origin}
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca.write(folder / "ca.pem")}}}
{declared}
grants: [{{consumer: app, provider: it, operations: ["*"]}}]
"""
        with running(folder / "home", text, {("it", "acme"): fields}) as gateway:
            front = Front(gateway, sessions, path)
            wait_until(lambda: front.call().status_code == 200)
            yield front


@pytest.mark.parametrize("name", cases())
def test_a_built_in_provider_is_logged_in_to_and_out_of(tmp_path: Path, name: str):
    case = cases()[name]
    sessions = case.sessions
    with in_front(tmp_path, sessions, f"    preset: {name}", case.fields, case.call) as front:
        assert sessions.wrong == []
        assert len(sessions.logins) == 1
        # The provider ends the session before its time: the call goes out once more, with the next one.
        sessions.over()
        assert front.call().status_code == 200
        assert len(sessions.logins) == 2
        state = front.gateway.state
        declaration = load_declaration(front.gateway.file)
        with state.calling_out() as engine:
            connections = state.connections_by(engine)
            _, revoked = connections.disconnect("acme", "it", "default", declaration)
        assert revoked is (Revoked.DONE if case.logs_out else Revoked.NOT_OFFERED)
        assert sessions.ended == case.logs_out
        assert sessions.wrong == []
        wait_until(lambda: front.call().status_code != 200)
    if name == "meta-graph":
        used = [
            parse_qs(urlsplit(one.target).query)["fb_exchange_token"] for one in sessions.logins
        ]
        assert used == [["short-lived-token"], [sessions.issued[0]]]


def test_a_signed_jwt_may_be_the_token_itself(tmp_path: Path):
    shown: list[str] = []

    def taken(asked: Asked) -> str | None:
        token = apple(asked)
        shown.append(str(token))
        sessions.live.add(str(token))
        return token

    sessions = Sessions(lambda *_: None, taken)
    fields = {"issuer_id": "issuer", "key_id": "KEY1", "private_key": pem(P256)}
    with in_front(tmp_path, sessions, "    preset: app-store-connect", fields, "/v1/apps") as front:
        assert front.call().status_code == 200
    assert len(set(shown)) == 1


FORM = """
    auth:
      login:
        request: {call: "POST /in", form: true, body: {user: "{username}", pass: "{password}"}}
        token: {header: X-Session}
        over: [401, 440]
        header: X-Session
        prefix: ""
    operations: [GET /things]
"""


def by_form(asked: Asked, token: str) -> Said | None:
    if asked.path != "/in":
        return None
    assert parse_qs(asked.body.decode()) == {"user": ["u"], "pass": [PASSWORD]}
    return 200, {"X-Session": token}, b"welcome"


def test_a_form_and_a_header_and_a_status_of_its_own(tmp_path: Path):
    sessions = Sessions(by_form, header("x-session"), status=440)
    fields = {"username": "u", "password": PASSWORD}
    with in_front(tmp_path, sessions, FORM, fields, "/things") as front:
        sessions.over()
        assert front.call().status_code == 200
        assert len(sessions.logins) == 2


def test_many_calls_whose_session_is_over_wait_for_one_login(tmp_path: Path):
    sessions = Sessions(by_form, header("x-session"))
    fields = {"username": "u", "password": PASSWORD}
    with in_front(tmp_path, sessions, FORM, fields, "/things") as front:
        sessions.over()
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: front.call().status_code, range(64)))
        assert answers == [200] * 64
        assert len(sessions.logins) == 2


def test_the_consumer_never_sees_the_session(tmp_path: Path):
    sessions = Sessions(by_form, header("x-session"))
    fields = {"username": "u", "password": PASSWORD}
    with in_front(tmp_path, sessions, FORM, fields, "/things") as front:
        record = json.dumps([str(one) for one in front.gateway.records(1)])
        assert sessions.issued[0] not in front.call().text + record
