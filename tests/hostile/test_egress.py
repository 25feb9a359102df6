"""Where calls may go: not one packet leaves for a place that is not a declared provider's.

Each test has a network of its own, in which every address answers and every SYN is seen.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path

import httpx
import pytest
from support.certificates import authority, leaf, server_context
from support.declared import DECLARATION
from support.gate import Gate, gate, home
from support.names import name_server
from support.network import Watch, in_a_network
from support.serving import tls_server

from tidegate.app import services
from tidegate.credentials import CredentialRefused
from tidegate.domain.declaration import Grant, Provider, TlsPolicy
from tidegate.domain.operation import Operation
from tidegate.domain.secret import Secret
from tidegate.engine import EngineError, FetchError, Resolver

PUBLIC, PUBLIC_V6 = "93.184.216.34", "2606:4700::6810:84e5"
METADATA = "169.254.169.254"
NOWHERE = "http://127.0.0.1:1"

INWARD = [
    *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.8.9.10", "10.0.0.5", "172.16.0.1", "172.31.255.254"),
    *("192.168.1.1", "100.64.0.1", "100.127.255.254", "169.254.1.1", METADATA, "169.254.170.2"),
    *("100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.7"),
    *("203.0.113.9", "192.88.99.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("[::]", "[::1]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]"),
    *("[::ffff:127.0.0.1]", "[::ffff:10.0.0.5]", f"[::ffff:{METADATA}]", f"[::{METADATA}]"),
    *(f"[::ffff:0:{METADATA}]", f"[64:ff9b::{METADATA}]", "[64:ff9b::a00:5]", "[64:ff9b:1::a00:5]"),
    *("[2002:a00:5::1]", "[2002:7f00:1::]", "[2001:0:4136:e378:8000:63bf:f5ff:fffa]"),
    *("[2001:db8::1]", "[100::1]", "[2001:10::1]", "[3fff::1]", "[5f00::1]", "[4000::1]"),
    *("[::ffff:93.184.216.34]", "[64:ff9b::5db8:d822]", "[2002:5db8:d822::1]"),
]

ODDLY_WRITTEN = [
    *("2130706433", "0x7f000001", "017700000001", "127.1", "127.0.1", "0x7f.1", "0177.0.0.1"),
    *("127.0.0.1.", "0x7f.0x0.0x0.0x1", "169.254.43518", "0xa9fea9fe", "2852039166", "10.5"),
    *(
        "[fe80::1%25lo]",
        "[fe80::1%lo]",
        "[::1]extra",
        "[127.0.0.1]",
        "[::ffff:7f00:1",
        "127。0。0。1",
    ),
    *("①②⑦.0.0.1", "127.0.0.1%00.example.com", "127.0.0.1\t", "user@127.0.0.1", "localhost"),
    *("localhost.", "127.0.0.1:443@example.com", "0", "0x0", "00", "256.256.256.256", "1.2.3.4.5"),
]


def provider(name: str, origin: str, **changes: object) -> Provider:
    made = Provider(
        name=name,
        title=name,
        origins=(origin,),
        attach=(),
        operations=(Operation("Get", "GET", "/x"),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def declare(running: Gate, *providers: Provider) -> None:
    declared = running.declaration
    granted = tuple(Grant("shop", one.name, ("*",), name=f"for {one.name}") for one in providers)
    running.declaration = replace(
        declared,
        providers=(*declared.providers, *providers),
        grants=(*declared.grants, *granted),
    )
    running.publish(revision=2)


def port_of(running: Gate) -> int:
    return int(running.url.rpartition(":")[2])


def refused_as_an_origin(running: Gate, host: str) -> bool:
    """Whether no provider can live there: its declaration is refused, or each call to it."""
    before = running.declaration
    try:
        declare(running, provider("odd", f"https://{host}"))
    except EngineError:
        return True
    else:
        return running.call("/odd/x").json()["code"] == "destination_prohibited"
    finally:
        running.declaration = before


def test_addresses_that_are_not_public_get_no_packet(tmp_path: Path):
    def work(watch: Watch) -> None:
        with gate(tmp_path, NOWHERE) as running:
            declare(
                running,
                *(provider(f"p{at}", f"https://{host}") for at, host in enumerate(INWARD)),
            )
            codes = {
                host: running.call(f"/p{at}/x").json()["code"] for at, host in enumerate(INWARD)
            }
            assert codes == dict.fromkeys(INWARD, "destination_prohibited")
            assert watch.dialled(port_of(running)) == set()

    in_a_network(work)


def test_public_addresses_are_dialled_and_seen(tmp_path: Path):
    # Without this one, the others could pass for seeing nothing at all.
    def work(watch: Watch) -> None:
        with gate(tmp_path, NOWHERE) as running:
            declare(
                running,
                provider("v4", f"https://{PUBLIC}"),
                provider("v6", f"https://[{PUBLIC_V6}]:8443"),
            )
            for name in ("v4", "v6"):
                assert running.call(f"/{name}/x").json()["code"] == "provider_unreachable"
            assert watch.dialled(port_of(running)) == {(PUBLIC, 443), (PUBLIC_V6, 8443)}

    in_a_network(work)


def test_no_odd_way_to_write_an_address_leads_anywhere(tmp_path: Path):
    def work(watch: Watch) -> None:
        with gate(tmp_path, NOWHERE) as running:
            for host in ODDLY_WRITTEN:
                with pytest.raises((FetchError, EngineError, ValueError)):
                    running.engine.fetch("GET", f"https://{host}/")
                assert refused_as_an_origin(running, host), host
            assert watch.dialled(port_of(running)) == set()

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
            declare(running, provider("named", "https://api.named.test"))
            assert running.call("/named/x").json()["code"] == "destination_prohibited"
            assert watch.dialled(port_of(running)) == set()

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
            declare(running, provider("named", "https://api.named.test"))
            headers = {"Tidegate-Token": running.token}
            codes = Counter(
                client.get("/named/x", headers=headers).json()["code"] for _ in range(1_000)
            )
            assert set(codes) == {"destination_prohibited", "provider_unreachable"}
            assert min(codes.values()) > 100
            assert watch.dialled(port_of(running)) == {(PUBLIC, 443)}

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
def test_redirects_are_not_followed(tmp_path: Path, location: str):
    def work(watch: Watch) -> None:
        root = authority("root")
        context = server_context([leaf(root, PUBLIC)])

        def redirect(connection) -> None:
            target = location.replace("same", f"{PUBLIC}:{server.port}")
            connection.sendall(
                f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
            )

        with (
            tls_server(context, redirect, host=PUBLIC) as server,
            gate(tmp_path, NOWHERE) as running,
        ):
            origin = f"https://{PUBLIC}:{server.port}"
            declare(running, provider("there", origin, tls=TlsPolicy(ca_pem=root.pem)))
            answer = running.call("/there/x")
            assert answer.json()["code"] == "redirect_refused"
            assert "location" not in answer.headers
            assert watch.dialled(port_of(running)) == {(PUBLIC, server.port)}

    in_a_network(work)


def test_a_declared_range_opens_no_metadata_service_and_not_the_gateway(tmp_path: Path):
    def work(watch: Watch) -> None:
        with gate(tmp_path, NOWHERE) as running:
            own = port_of(running)
            declare(
                running,
                provider("cloud", f"http://{METADATA}", allow_private=("169.254.0.0/16",)),
                provider("self", f"http://127.0.0.1:{own}", allow_private=("127.0.0.0/8",)),
            )
            for name in ("cloud", "self"):
                assert running.call(f"/{name}/x").json()["code"] == "destination_prohibited"
            assert watch.dialled(own) == set()

    in_a_network(work)


def test_no_call_names_a_port_a_scheme_or_a_host_of_its_own(tmp_path: Path):
    def work(watch: Watch) -> None:
        with gate(tmp_path, NOWHERE) as running:
            declare(running, provider("there", f"https://{PUBLIC}"))
            headers = {"Tidegate-Token": running.token}
            for host in (f"{PUBLIC}:22", "10.0.0.5", f"{METADATA}:80", "localhost:6379"):
                answer = httpx.get(
                    f"{running.url}/x", headers=headers | {"Host": host}, trust_env=False
                )
                assert answer.json()["code"] == "unknown_provider", host
            for path in ("/there:22/x", f"/http://{METADATA}/x", "/unix:/var/run/docker.sock/x"):
                assert running.call(path).status_code in {400, 404}, path
            assert watch.dialled(port_of(running)) == set()

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
