"""A provider refuses a token before its time: the next one is issued, and the call goes out once more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from support.certificates import authority
from support.oauth_server import CLIENT_ID, CLIENT_SECRET, OAuthServer, oauth_server
from support.running import Running, running, wait_until
from support.scripted import Wire, scripted

from tidegate.sandbox import Authority

KEPT_MAX = 64 * 1024


class Api:
    """Takes every token but those that were taken back; keeps what it was sent."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.refuses_all = False
        self.calls: list[tuple[str, bytes]] = []
        self._lock = threading.Lock()

    def __call__(self, wire: Wire) -> None:
        with suppress(OSError):
            while head := wire.head():
                fields = dict(
                    line.lower().split(": ", 1)
                    for line in head.decode().split("\r\n")
                    if ": " in line
                )
                body = wire.read(int(fields.get("content-length", "0")))
                token = fields["authorization"]
                with self._lock:
                    self.calls.append((token, body))
                    refused = self.refuses_all or token in self.refused
                status = "401 Unauthorized" if refused else "200 OK"
                wire.send(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok".encode())

    def take_back(self) -> None:
        """From now on, what it has taken so far is refused."""
        with self._lock:
            self.refused |= {token for token, _ in self.calls}
            self.calls.clear()


class Front:
    """A gateway between an application and an API, with tokens from an OAuth server."""

    def __init__(self, gateway: Running, server: OAuthServer, api: Api) -> None:
        self.gateway, self.server, self.api = gateway, server, api
        self._headers = {"Tidegate-Token": gateway.token("app")}

    def call(self, method: str = "GET", content: bytes | Iterator[bytes] = b"") -> httpx.Response:
        return httpx.request(
            method,
            f"{self.gateway.url}/crm/things",
            content=content,
            headers=self._headers,
            trust_env=False,
            timeout=20,
        )

    def asked(self) -> tuple[int, int]:
        """How many tokens were asked for, and how many granted."""
        seen = self.server.seen()
        return seen["asked"], seen["granted"]


@contextmanager
def in_front(folder: Path) -> Iterator[Front]:
    root, own, api = authority("root"), Authority(), Api()
    with oauth_server(folder / "server", root) as server, scripted(own, api) as origin:
        (folder / "ca.pem").write_bytes(root.pem.encode() + own.pem)
        declared = f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  crm:
    origin: {origin}
    auth: {{oauth2: {{grant: refresh_token, token_url: "{server.token_url}", scopes: [api]}}}}
    operations: ["GET /things", "POST /things"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {folder}/ca.pem}}
grants:
  - {{consumer: app, provider: crm, operations: ["*"]}}
"""
        fields = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "refresh_token": server.consent(),
        }
        with running(folder / "home", declared, {("crm", "acme"): fields}) as gateway:
            front = Front(gateway, server, api)
            wait_until(lambda: front.call().status_code == 200)
            yield front


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    with in_front(tmp_path) as front:
        yield front


@pytest.mark.parametrize(
    ("method", "content"),
    [("GET", b""), ("POST", b"{}"), ("POST", bytes(KEPT_MAX))],
    ids=["no body", "a small body", "the largest body that is kept"],
)
def test_the_call_goes_out_once_more_with_a_new_token(front: Front, method: str, content: bytes):
    front.api.take_back()
    assert front.call(method, content).status_code == 200
    (first, first_body), (second, second_body) = front.api.calls
    assert first != second
    assert first_body == second_body == content
    assert front.asked() == (2, 2)


def test_a_body_that_was_not_kept_goes_out_once(front: Front):
    front.api.take_back()
    assert front.call("POST", bytes(KEPT_MAX + 1)).status_code == 401
    assert len(front.api.calls) == 1
    # The next one asks for a new token.
    assert front.call().status_code == 200


def test_many_calls_wait_for_one_token(front: Front):
    front.api.take_back()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: front.call("POST", b"x").status_code, range(64)))
    assert answers == [200] * 64
    assert front.asked() == (2, 2)


def test_a_provider_that_takes_no_token_has_one_issued_and_no_more(front: Front):
    front.api.take_back()
    front.api.refuses_all = True
    assert [front.call().status_code for _ in range(20)] == [401] * 20
    assert front.asked() == (2, 2)
    # Once more for the call that waited; the others are not held up.
    assert len(front.api.calls) == 21


def test_a_consent_that_is_gone_is_told_at_the_first_call(front: Front):
    front.api.take_back()
    front.server.withdraw()
    answers = [front.call() for _ in range(5)]
    assert [(one.status_code, one.json()["code"]) for one in answers] == [
        (503, "needs_reconsent")
    ] * 5
    assert front.asked() == (2, 1)
    assert len(front.api.calls) == 1
