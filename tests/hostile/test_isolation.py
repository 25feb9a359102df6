"""Nothing of one client is reachable from another: not by name, by cookie, or by a connection that both use."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from support.passage import Passage, key_of, put_before
from support.scripted import Wire, scripted

from tidegate.app import load_declaration
from tidegate.domain.secret import Secret
from tidegate.sandbox import Authority

CLIENTS = ("acme", "globex", "initech")
CALLS = 2_000
SESSION = "session-of-"


class Provider:
    """Says whose credential came, sets a cookie for it, and remembers what each connection carried."""

    def __init__(self) -> None:
        self.connections: list[set[str]] = []
        self.cookies: list[bytes] = []

    def __call__(self, wire: Wire) -> None:
        here: set[str] = set()
        self.connections.append(here)
        with suppress(ConnectionError):
            while head := wire.head():
                key = re.search(rb"(?i)\r\nauthorization: Bearer (\S+)", head)[1].decode()
                here.add(key)
                self.cookies += re.findall(rb"(?i)\r\ncookie: .*", head)
                wire.send(answer_for(key).encode())


def answer_for(key: str) -> str:
    body = fingerprint(key)
    cookies = f"Set-Cookie: s={SESSION}{body}; Path=/\r\nSet-Cookie2: t={SESSION}{body}\r\n"
    return f"HTTP/1.1 200 OK\r\n{cookies}Content-Length: {len(body)}\r\n\r\n{body}"


def fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def passage(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Passage]:
    authority, folder = Authority(), tmp_path_factory.mktemp("isolation")
    with (
        scripted(authority, provider) as origin,
        put_before(folder, authority, origin, clients=CLIENTS) as passage,
    ):
        state = passage.gateway.state
        # Only globex has a second account.
        declaration = load_declaration(passage.gateway.file)
        secret = {"token": Secret("second_key_of_globex")}
        state.connections.connect(declaration, "there", "globex", "second", secret, {})
        yield passage


@pytest.fixture(scope="module")
def bound(passage: Passage) -> dict[str, str]:
    """A token for each client."""
    return {client: passage.bound_to(client).token for client in CLIENTS}


def get(passage: Passage, path: str, token: str, **headers: str) -> httpx.Response:
    fields = {"Tidegate-Token": token, **{n.replace("_", "-"): v for n, v in headers.items()}}
    return httpx.get(passage.gateway.url + path, headers=fields, trust_env=False, timeout=20)


WAYS = {
    "path": ("/~{name}/there/thing", {}),
    "header": ("/there/thing", {"Tidegate_Client": "{name}"}),
    "own path, foreign header": ("/~acme/there/thing", {"Tidegate_Client": "{name}"}),
    "foreign path, own header": ("/~{name}/there/thing", {"Tidegate_Client": "acme"}),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("name", ["globex", "GLOBEX", "globex%20", "%67lobex", "acme,globex"])
def test_a_foreign_client_is_refused_by_whatever_way_it_is_named(
    passage: Passage,
    provider: Provider,
    bound: dict[str, str],
    way: tuple[str, dict[str, str]],
    name: str,
):
    path, headers = way
    answer = get(
        passage,
        path.format(name=name),
        bound["acme"],
        **{k: v.format(name=name) for k, v in headers.items()},
    )
    assert answer.status_code in {400, 404}
    assert fingerprint(key_of("globex")) not in answer.text


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_foreign_client_looks_like_one_that_is_not_there(
    passage: Passage, bound: dict[str, str], way: tuple[str, dict[str, str]]
):
    path, headers = way

    def told(name: str) -> tuple[int, object]:
        filled = {k: v.format(name=name) for k, v in headers.items()}
        answer = get(passage, path.format(name=name), bound["acme"], **filled)
        problem = answer.json()
        return answer.status_code, {
            k: v for k, v in problem.items() if k not in {"call", "instance"}
        }

    foreign, absent = told("globex"), told("nobody")
    assert foreign[0] == 404
    assert "globex" not in str(foreign[1])
    assert foreign == absent


@pytest.mark.parametrize("connection", ["second", "default second", "con_"])
def test_a_foreign_connection_is_refused_like_one_that_is_not_there(
    passage: Passage, bound: dict[str, str], connection: str
):
    told = get(passage, "/there/thing", bound["acme"], Tidegate_Connection=connection)
    assert (told.status_code, told.json()["code"]) == (404, "unknown_connection")
    assert "globex" not in told.text
    # Its own client gets through with it.
    theirs = get(passage, "/there/thing", bound["globex"], Tidegate_Connection="second")
    assert theirs.text == fingerprint("second_key_of_globex")


def test_ids_of_connections_name_nothing(passage: Passage, bound: dict[str, str]):
    for known in passage.gateway.state.store.connections.all():
        answer = get(passage, "/there/thing", bound["acme"], Tidegate_Connection=known.id)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_connection")


def test_no_answer_goes_to_another_client_whatever_the_order_of_calls(
    passage: Passage, provider: Provider, bound: dict[str, str]
):
    def call_all(part: int) -> list[tuple[str, str]]:
        foreign: list[tuple[str, str]] = []
        with httpx.Client(trust_env=False, timeout=20) as consumer:
            for number in range(part, CALLS, 4):
                client = CLIENTS[number % len(CLIENTS)]
                headers = {"Tidegate-Token": bound[client]}
                answer = consumer.get(f"{passage.base}/same", headers=headers)
                if (answer.status_code, answer.text) != (200, fingerprint(key_of(client))):
                    foreign.append((client, answer.text))
        return foreign

    with ThreadPoolExecutor(4) as pool:
        assert [one for found in pool.map(call_all, range(4)) for one in found] == []
    # One consumer socket carried all clients' calls; a provider's socket never carried two.
    assert {len(carried) for carried in provider.connections if carried} == {1}
    keys = {key for carried in provider.connections for key in carried}
    assert {key_of(client) for client in CLIENTS} <= keys


def test_a_providers_cookies_reach_nobody(
    passage: Passage, provider: Provider, bound: dict[str, str]
):
    with httpx.Client(trust_env=False, timeout=20) as consumer:
        for client in ("acme", "globex", "acme"):
            answer = consumer.get(
                f"{passage.base}/thing", headers={"Tidegate-Token": bound[client]}
            )
            assert answer.status_code == 200
            assert SESSION not in str(answer.headers)
        # An application that sets a cookie itself speaks to the gateway, not to the provider.
        headers = {"Tidegate-Token": bound["globex"], "Cookie": "s=stolen"}
        assert consumer.get(f"{passage.base}/thing", headers=headers).status_code == 200
    assert provider.cookies == []
