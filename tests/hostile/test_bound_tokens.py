"""A bound token is of no use without its key, and whoever asks for nonces gets no loop (RFC 9449)."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from support.certificates import authority
from support.consenting import app_client, code_grant, free_port, site
from support.oauth_server import oauth_server
from support.person import Person
from support.running import Running, running, wait_until
from support.scripted import Wire, scripted

from tidegate.credentials.dpop import Prover, new_key
from tidegate.domain.secret import Secret
from tidegate.sandbox import Authority

KEPT_MAX = 64 * 1024
FIELDS = {"client_id": "tidegate", "client_secret": "a secret of the client"}


def test_a_stolen_token_is_refused_without_its_key(tmp_path: Path):
    root, port = authority("root"), free_port()
    app = app_client(f"http://127.0.0.1:{port}/callback/crm", dpop_bound_access_tokens=True)
    with oauth_server(tmp_path / "server", root, clients=[app]) as server:
        (tmp_path / "ca.pem").write_text(root.pem)
        declared = f"""
    origin: {server.url}
    auth: {{oauth2: {{{code_grant(server, "dpop: ES256")}}}}}
    operations: ["GET /me"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {tmp_path}/ca.pem}}
"""
        with site(tmp_path, port, {"crm": declared}) as gateway, Person(root.pem) as person:
            assert person.consent(gateway.link()).status_code == 200
            wait_until(lambda: gateway.api.get("/crm/me").status_code == 200)
            state, made = gateway.started.state, gateway.connections()["default"]
            issued = state.store.issued.get(made.id)
            assert issued is not None
            assert issued.sealed is not None
            token = state.vault.open_issued(made, issued.serial, issued.sealed)["access_token"]
            key = state.vault.open(made)["dpop_key"]

            def shown(scheme: str, proof_key: Secret | None, url: str = f"{server.url}/me") -> int:
                headers = {"Authorization": f"{scheme} {token.reveal().decode()}"}
                if proof_key is not None:
                    prover = Prover("ES256", proof_key, "GET", url, int(time.time()), token)
                    headers |= dict([prover.header()])
                return server.client.get(f"{server.url}/me", headers=headers).status_code

            assert shown("Bearer", None) == 401
            assert shown("DPoP", None) == 400
            assert shown("DPoP", new_key("ES256")) == 401
            assert shown("DPoP", key, f"{server.url}/elsewhere") == 401
            # The thief who has the key too is the holder: it is sealed for that reason.
            assert shown("DPoP", key) == 200


class Api:
    """Judges calls as a test has it, and keeps what it was sent."""

    def __init__(self, judge: Callable[[dict[str, str]], str]) -> None:
        self._judge = judge
        self._lock = threading.Lock()
        self.calls: list[dict[str, str]] = []

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while head := wire.head():
                lines = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
                fields = {pair[0].lower(): pair[1] for pair in lines if len(pair) == 2}
                wire.read(int(fields.get("content-length", "0")))
                with self._lock:
                    self.calls.append(fields)
                    answer = self._judge(fields)
                wire.send(f"HTTP/1.1 {answer}Content-Length: 2\r\n\r\nok".encode())


class Endpoint:
    """Gives tokens as a test has it."""

    def __init__(self, says: Callable[[int], tuple[str, dict[str, object]]]) -> None:
        self._says = says
        self.asked = 0

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            head = wire.head().decode().lower()
            wire.read(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
            assert "\r\ndpop: ey" in head
            self.asked += 1
            status, said = self._says(self.asked)
            body = json.dumps(said)
            wire.send(f"HTTP/1.1 {status}Content-Length: {len(body)}\r\n\r\n{body}".encode())


def gives_tokens(asked: int) -> tuple[str, dict[str, object]]:
    return "200 OK\r\n", {"access_token": f"a-bound-token-{asked}", "token_type": "DPoP"}


@contextmanager
def in_front(folder: Path, api: Api, endpoint: Endpoint) -> Iterator[tuple[Running, httpx.Client]]:
    own = Authority()
    with scripted(own, api) as origin, scripted(own, endpoint) as issuer:
        (folder / "ca.pem").write_bytes(own.pem)
        declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  crm:
    origin: {origin}
    auth: {{oauth2: {{grant: client_credentials, dpop: ES256, token_url: "{issuer}/token"}}}}
    operations: ["GET /things", "POST /things"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {folder}/ca.pem}}
grants:
  - {{consumer: app, provider: crm, operations: ["*"]}}
"""
        with running(folder / "home", declared, {("crm", "acme"): FIELDS}) as gateway:
            headers = {"Tidegate-Token": gateway.token("app")}
            with httpx.Client(
                base_url=gateway.url, headers=headers, trust_env=False, timeout=20
            ) as client:
                yield gateway, client


def has_token(client: httpx.Client) -> bool:
    answer = client.get("/crm/things")
    return answer.status_code == 200 or "credential_unavailable" not in answer.text


WANTS = 'WWW-Authenticate: DPoP error="use_dpop_nonce"\r\n'


def test_a_provider_that_wants_another_nonce_each_time_is_asked_twice(tmp_path: Path):
    numbers = itertools.count()
    api = Api(lambda _: f"401 Unauthorized\r\n{WANTS}DPoP-Nonce: n{next(numbers)}\r\n")
    endpoint = Endpoint(gives_tokens)
    with in_front(tmp_path, api, endpoint) as (_, client):
        wait_until(lambda: has_token(client))
        for method in ("GET", "POST"):
            api.calls.clear()
            assert client.request(method, "/crm/things").status_code == 401
            assert len(api.calls) == 2
            assert api.calls[0]["dpop"] != api.calls[1]["dpop"]
        # It was never the token's fault.
        assert endpoint.asked == 1


def test_a_token_and_a_nonce_that_are_both_refused_end_in_three_tries(tmp_path: Path):
    numbers = itertools.count()
    refusals = itertools.cycle((WANTS, 'WWW-Authenticate: DPoP error="invalid_token"\r\n'))
    api = Api(lambda _: f"401 Unauthorized\r\n{next(refusals)}DPoP-Nonce: n{next(numbers)}\r\n")
    endpoint = Endpoint(gives_tokens)
    with in_front(tmp_path, api, endpoint) as (_, client):
        wait_until(lambda: has_token(client))
        for _ in range(10):
            client.get("/crm/things")
        api.calls.clear()
        for _ in range(10):
            assert client.get("/crm/things").status_code == 401
        assert len(api.calls) <= 3 * 10
        assert endpoint.asked <= 2


@pytest.mark.parametrize(
    "given",
    ["", "DPoP-Nonce: a b\r\n", 'DPoP-Nonce: a"b\r\n', "DPoP-Nonce: a\\b\r\n",
     f"DPoP-Nonce: {'n' * 1025}\r\n", "DPoP-Nonce: a\r\nDPoP-Nonce: b\r\n", "DPoP-Nonce:\r\n"],
    ids=["none", "space", "quote", "backslash", "long", "two", "empty"],
)  # fmt: skip
def test_what_is_no_nonce_is_not_repeated(tmp_path: Path, given: str):
    api = Api(lambda _: f"401 Unauthorized\r\n{WANTS}{given}")
    endpoint = Endpoint(gives_tokens)
    with in_front(tmp_path, api, endpoint) as (_, client):
        wait_until(lambda: has_token(client))
        api.calls.clear()
        assert client.get("/crm/things").status_code == 401
        assert len(api.calls) == 1
        assert endpoint.asked == 1


def test_a_body_that_was_not_kept_goes_out_once_and_the_next_call_has_the_nonce(tmp_path: Path):
    def judge(fields: dict[str, str]) -> str:
        known = nonce_in(fields["dpop"]) == "n1"
        return "200 OK\r\n" if known else f"401 Unauthorized\r\n{WANTS}DPoP-Nonce: n1\r\n"

    api = Api(judge)
    with in_front(tmp_path, api, Endpoint(gives_tokens)) as (_, client):
        wait_until(
            lambda: (
                bool(api.calls) or not client.post("/crm/things", content=b"x" * KEPT_MAX + b"y")
            )
        )
        assert nonce_in(api.calls[0]["dpop"]) is None
        assert len(api.calls) == 1
        assert client.post("/crm/things", content=b"x" * KEPT_MAX + b"y").status_code == 200
        assert client.get("/crm/things").status_code == 200
        assert len(api.calls) == 3


def nonce_in(proof: str) -> str | None:
    from tidegate.credentials.jwt import unverified_claims

    claims = unverified_claims(proof)
    assert claims is not None
    nonce = claims.get("nonce")
    return nonce if isinstance(nonce, str) else None


def test_a_token_endpoint_that_wants_another_nonce_each_time_is_asked_twice(tmp_path: Path):
    def says(asked: int) -> tuple[str, dict[str, object]]:
        return f"400 Bad Request\r\nDPoP-Nonce: n{asked}\r\n", {"error": "use_dpop_nonce"}

    endpoint = Endpoint(says)
    with in_front(tmp_path, Api(lambda _: "200 OK\r\n"), endpoint) as (gateway, client):
        issued = gateway.state.store.issued
        (connection,) = gateway.state.store.connections.all()
        wait_until(lambda: (token := issued.get(connection.id)) is not None and bool(token.trouble))
        token = issued.get(connection.id)
        assert token is not None
        assert (token.trouble, token.failures) == ("use_dpop_nonce", 1)
        assert endpoint.asked == 2
        assert token.retry_at is not None
        assert client.get("/crm/things").json()["code"] == "credential_unavailable"


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "mac", None])
def test_a_token_that_is_bound_to_nothing_is_not_used(tmp_path: Path, kind: str | None):
    """Somebody on the way to the endpoint, or the endpoint, leaves the binding out."""
    said: dict[str, object] = {"access_token": "a-token-of-another-kind", "token_type": kind}
    said = {name: value for name, value in said.items() if value is not None}
    api = Api(lambda _: "200 OK\r\n")
    with in_front(tmp_path, api, Endpoint(lambda _: ("200 OK\r\n", said))) as (gateway, client):
        issued = gateway.state.store.issued
        (connection,) = gateway.state.store.connections.all()
        wait_until(lambda: (token := issued.get(connection.id)) is not None and bool(token.trouble))
        token = issued.get(connection.id)
        assert token is not None
        assert token.trouble == "unknown_token_type"
        assert client.get("/crm/things").json()["code"] == "credential_unavailable"
        assert api.calls == []
