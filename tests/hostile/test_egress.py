"""Where calls may go: not one packet leaves for a place that is not a declared provider's.

Each test has a network of its own, in which every address answers and every SYN is seen.
"""

from __future__ import annotations

import ssl
from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path

import httpx
import pytest
from support.addresses import INWARD, METADATA, ODDLY_WRITTEN, PUBLIC, PUBLIC_V6
from support.certificates import authority, leaf, server_context
from support.declared import DECLARATION
from support.gate import CREDENTIAL, Gate, gate, home, provider_at
from support.names import name_server
from support.network import Watch, in_a_network
from support.serving import tls_server

from tidegate.app import services
from tidegate.credentials import CredentialRefused
from tidegate.domain.declaration import TlsPolicy
from tidegate.domain.origin import Origin
from tidegate.domain.secret import Secret
from tidegate.engine import EngineError, FetchError, Resolver

NOWHERE = "http://127.0.0.1:1"
FOREIGN = [
    *("unix:///run/docker.sock", "http+unix://%2Frun%2Fdocker.sock", "unix:/run/docker.sock"),
    *("file:///etc/passwd", "ftp://93.184.216.34", "gopher://93.184.216.34:6379", "data:,x"),
    *("ws://93.184.216.34", "wss://93.184.216.34", "//93.184.216.34", "93.184.216.34"),
]


def refused_as_an_origin(running: Gate, host: str) -> bool:
    """Whether no provider can live there: its declaration is refused, or each call to it."""
    before = running.declaration
    try:
        running.declare(provider_at(f"https://{host}", "odd"))
    except EngineError:
        return True
    else:
        return running.code("/odd/x") == "destination_prohibited"
    finally:
        running.declaration = before


def fetch_code(running: Gate, url: str) -> str:
    """What a call of Tidegate's own is refused for."""
    with pytest.raises(FetchError) as refused:
        running.engine.fetch("GET", url)
    return refused.value.problem.code


def test_addresses_that_are_not_public_get_no_packet(tmp_path: Path):
    def work(watch: Watch) -> None:
        with gate(tmp_path, NOWHERE) as running:
            places = {f"p{at}": host for at, host in enumerate(INWARD)}
            running.declare(*(provider_at(f"https://{at}", name) for name, at in places.items()))
            codes = {host: running.code(f"/{name}/x") for name, host in places.items()}
            assert codes == dict.fromkeys(INWARD, "destination_prohibited")
            codes = {host: fetch_code(running, f"https://{host}/") for host in INWARD}
            assert codes == dict.fromkeys(INWARD, "destination_prohibited")
            assert watch.dialled(running.port) == set()

    in_a_network(work)


def test_public_addresses_are_dialled_and_seen(tmp_path: Path):
    # Without this one, the others could pass for seeing nothing at all.
    def work(watch: Watch) -> None:
        with gate(tmp_path, NOWHERE) as running:
            running.declare(
                provider_at(f"https://{PUBLIC}", "v4"),
                provider_at(f"https://[{PUBLIC_V6}]:8443", "v6"),
            )
            for name in ("v4", "v6"):
                assert running.code(f"/{name}/x") == "provider_unreachable"
            assert watch.dialled(running.port) == {(PUBLIC, 443), (PUBLIC_V6, 8443)}

    in_a_network(work)


def test_no_odd_way_to_write_an_address_leads_anywhere(tmp_path: Path):
    def work(watch: Watch) -> None:
        with gate(tmp_path, NOWHERE) as running:
            for host in (*ODDLY_WRITTEN, "localhost"):
                with pytest.raises((FetchError, EngineError, ValueError)):
                    running.engine.fetch("GET", f"https://{host}/")
                assert refused_as_an_origin(running, host), host
            assert watch.dialled(running.port) == set()

    in_a_network(work)


@pytest.mark.parametrize(
    "addresses",
    [
        ["10.0.0.5"],
        [PUBLIC, "10.0.0.5"],
        [PUBLIC, METADATA],
        [PUBLIC, "fd00::5"],
        [PUBLIC_V6, "127.0.0.1"],
        [PUBLIC, PUBLIC_V6, "::ffff:10.0.0.5"],
        [PUBLIC, f"64:ff9b::{METADATA}"],
        ["inner.named.test", "10.0.0.5"],
        [*([PUBLIC] * 20), "10.0.0.5"],
    ],
    ids=", ".join,
)
def test_one_prohibited_address_in_an_answer_condemns_the_host(
    tmp_path: Path, addresses: list[str]
):
    def work(watch: Watch) -> None:
        with (
            name_server(lambda _: addresses) as names,
            gate(tmp_path, NOWHERE, resolver=Resolver((names,))) as running,
        ):
            running.declare(provider_at("https://api.named.test", "named"))
            assert running.code("/named/x") == "destination_prohibited"
            assert fetch_code(running, "https://api.named.test/") == "destination_prohibited"
            assert watch.dialled(running.port) == set()

    in_a_network(work)


def test_a_name_that_changes_a_thousand_times_reaches_no_prohibited_address(tmp_path: Path):
    turns = count()

    def flips(_: str) -> list[str]:
        return [METADATA if next(turns) % 2 else PUBLIC]

    def work(watch: Watch) -> None:
        with (
            name_server(flips) as names,
            gate(tmp_path, NOWHERE, resolver=Resolver((names,))) as running,
            httpx.Client(base_url=running.url, trust_env=False, timeout=20) as client,
        ):
            running.declare(provider_at("https://api.named.test", "named"))
            headers = {"Tidegate-Token": running.token}
            codes = Counter(
                client.get("/named/x", headers=headers).json()["code"] for _ in range(1_000)
            )
            assert set(codes) == {"destination_prohibited", "provider_unreachable"}
            assert min(codes.values()) > 100
            assert watch.dialled(running.port) == {(PUBLIC, 443)}

    in_a_network(work)


@pytest.mark.parametrize(
    "location",
    [
        f"http://{METADATA}/latest/meta-data/",
        "https://elsewhere.example/x",
        "https://10.0.0.5/x",
        "http://same/x",
        "//10.0.0.5/x",
        "file:///etc/passwd",
    ],
)
def test_redirects_are_not_followed_and_carry_no_credential(tmp_path: Path, location: str):
    statuses = (301, 302, 303, 307, 308)
    root = authority("root")

    def work(watch: Watch) -> None:
        answers = iter(statuses)

        def redirect(connection: ssl.SSLSocket) -> None:
            target = location.replace("same", f"{PUBLIC}:{server.port}")
            status = f"HTTP/1.1 {next(answers)} Moved\r\n"
            fields = f"Location: {target}\r\nContent-Length: 0\r\n\r\n"
            connection.sendall((status + fields).encode())

        context = server_context([leaf(root, PUBLIC)])
        with (
            tls_server(context, redirect, host=PUBLIC) as server,
            gate(tmp_path, f"https://{PUBLIC}:{server.port}") as running,
        ):
            (there,) = running.declaration.providers
            running.declare(replace(there, tls=TlsPolicy(ca_pem=root.pem)))
            for status in statuses:
                answer = running.call()
                assert answer.json()["code"] == "redirect_refused", status
                assert "location" not in answer.headers
            assert watch.dialled(running.port) == {(PUBLIC, server.port)}
        assert server.received.count(CREDENTIAL.encode()) == len(statuses)

    in_a_network(work)


def test_no_call_names_a_port_a_scheme_or_a_host_of_its_own(tmp_path: Path):
    def work(watch: Watch) -> None:
        with gate(tmp_path, NOWHERE) as running:
            running.declare(provider_at(f"https://{PUBLIC}", "there"))
            headers = {"Tidegate-Token": running.token}
            for host in (f"{PUBLIC}:22", "10.0.0.5", f"{METADATA}:80", "localhost:6379"):
                answer = httpx.get(
                    f"{running.url}/x", headers=headers | {"Host": host}, trust_env=False
                )
                assert answer.json()["code"] == "unknown_provider", host
            for url in FOREIGN:
                with pytest.raises((FetchError, ValueError)):
                    running.engine.fetch("GET", url)
                with pytest.raises(EngineError):
                    running.declare(provider_at(url, "odd"))
                with pytest.raises(ValueError, match="origin"):
                    Origin.parse(url)
            for path in ("/there:22/x", f"/http://{METADATA}/x", "/unix:/var/run/docker.sock/x"):
                assert running.call(path).status_code in {400, 404}, path
            assert watch.dialled(running.port) == set()

    in_a_network(work)


@pytest.mark.parametrize(
    "shop",
    [
        "evil.test#",
        "evil.test/",
        "a@evil.test",
        "a.evil",
        "evil.test?",
        "a:80",
        "a\r\nHost: x",
        "",
        "127.0.0.1",
        "%2e",
        "é",
    ],
)
def test_a_host_parameter_stays_one_label(tmp_path: Path, shop: str):
    with services(home(tmp_path)) as state:
        state.make_root_key()
        with pytest.raises(CredentialRefused, match="shop"):
            state.connections.connect(
                DECLARATION,
                "shopify",
                "acme",
                "default",
                {"token": Secret("a-key")},
                {"shop": shop},
            )
