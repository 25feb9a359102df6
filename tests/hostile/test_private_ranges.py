"""What a declared range opens, and that it opens nothing else: no other place, provider or time."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from support.addresses import METADATA, METADATA_SERVICES, NEVER, PRIVATE, PUBLIC, PUBLIC_V6
from support.gate import Gate, gate, origin, provider_at
from support.network import Watch, assign, in_a_network

NOWHERE = "http://127.0.0.1:1"
OWN_V6 = "fd00::5"
EVERYTHING = ("0.0.0.0/0", "::/0")
# An address of one link needs to be told which one, and an origin has no zone id.
WITHOUT_A_LINK = "[fe80::1]"


def codes(running: Gate, hosts: list[str], allowed: tuple[str, ...]) -> dict[str, str]:
    """What becomes of a call to a provider at each host."""
    places = {f"p{at}": host for at, host in enumerate(hosts)}
    running.declare(
        *(provider_at(f"https://{at}", name, allow_private=allowed) for name, at in places.items())
    )
    return {host: running.code(f"/{name}/x") for name, host in places.items()}


def test_what_is_declared_is_dialled_and_seen(tmp_path: Path):
    # Where nothing may be seen elsewhere, this says that it would have been.
    def work(watch: Watch) -> None:
        hosts = [host for host in PRIVATE if host != WITHOUT_A_LINK]
        with gate(tmp_path, NOWHERE) as running:
            found = codes(running, hosts, EVERYTHING)
            assert found == dict.fromkeys(hosts, "provider_unreachable")
            addresses = {ip_address(host.strip("[]")) for host in hosts}
            addresses = {getattr(one, "ipv4_mapped", None) or one for one in addresses}
            assert watch.dialled(running.port) == {(str(one), 443) for one in addresses}

    in_a_network(work)


def test_no_range_opens_a_metadata_service_or_an_address_of_many(tmp_path: Path):
    def work(watch: Watch) -> None:
        with gate(tmp_path, NOWHERE) as running:
            hosts = [*METADATA_SERVICES, *NEVER]
            assert set(codes(running, hosts, EVERYTHING).values()) == {"destination_prohibited"}
            assert watch.dialled(running.port) == set()
            assert codes(running, [METADATA], (f"{METADATA}/32",)) == {
                METADATA: "provider_unreachable"
            }
            assert watch.dialled(running.port) == {(METADATA, 443)}

    in_a_network(work)


@pytest.mark.parametrize(
    ("bind", "hosts"),
    [
        ("0.0.0.0:0", ["127.8.9.10", "10.0.0.5", PUBLIC, "[::ffff:10.0.0.5]"]),
        ("[::]:0", ["127.8.9.10", "10.0.0.5", PUBLIC, f"[{OWN_V6}]", f"[{PUBLIC_V6}]"]),
        ("10.0.0.5:0", ["10.0.0.5", "[::ffff:10.0.0.5]"]),
    ],
)
def test_no_call_comes_back_to_the_gateway(tmp_path: Path, bind: str, hosts: list[str]):
    def work(watch: Watch) -> None:
        for address in (OWN_V6, PUBLIC_V6):
            assign(address)
        with gate(tmp_path, NOWHERE, bind=bind) as running:
            own = [f"{host}:{running.port}" for host in hosts]
            found = codes(running, own, EVERYTHING)
            assert found == dict.fromkeys(own, "destination_prohibited")
            # The consumer's own connections, one a call, and no other.
            assert [port for _, port in watch.syns()] == [running.port] * len(hosts)

    in_a_network(work)


def test_a_range_is_one_providers_and_ends_with_its_declaration(tmp_path: Path):
    def work(watch: Watch) -> None:
        with origin() as inward, gate(tmp_path, inward.url) as running:
            assert [running.call().status_code for _ in range(3)] == [200] * 3
            # One connection, which now rests and could be taken again.
            (there,) = watch.dialled(running.port)
            assert there[0] == "127.0.0.1"
            running.declare(provider_at(inward.url, "other"))
            assert running.code("/other/x") == "destination_prohibited"
            echo = next(one for one in running.declaration.providers if one.name == "echo")
            running.declare(replace(echo, allow_private=()))
            assert running.code("/echo/things/1") == "destination_prohibited"
            assert watch.dialled(running.port) == set()
            assert len(inward.seen) == 3

    in_a_network(work)
