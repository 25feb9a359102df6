"""Nobody gets a second share of a limit, and nobody learns of another client's calls by one."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from support.gate import Gate, Origin, gate, origin
from support.servers import wait_until

from tidegate.domain.declaration import Client, Consumer
from tidegate.domain.limit import Limit

ABORTS = 10_000
ONCE_AN_HOUR = Limit(amount=1, window_ms=3_600_000)
HUNDRED_AN_HOUR = Limit(amount=100, window_ms=3_600_000)


@pytest.fixture
def provider() -> Iterator[Origin]:
    with origin() as served:
        yield served


@pytest.fixture
def there(tmp_path: Path, provider: Origin) -> Iterator[Gate]:
    """Two clients and a consumer of both."""
    with gate(tmp_path, provider.url) as made:
        made.declaration = replace(
            made.declaration,
            clients=(Client("acme"), Client("globex")),
            consumers=(Consumer("shop", ("acme", "globex")),),
            # Without a credential, so that both clients can call.
            providers=(replace(made.declaration.providers[0], attach=()),),
        )
        yield made


def limited(there: Gate, **changes: Limit) -> None:
    declared = there.declaration
    there.declaration = replace(
        declared,
        clients=tuple(replace(one, limit=changes.get("client")) for one in declared.clients),
        consumers=tuple(replace(one, limit=changes.get("consumer")) for one in declared.consumers),
        grants=tuple(replace(one, limit=changes.get("grant")) for one in declared.grants),
    )
    there.publish(there.engine.stats().revision + 1)


SPELLINGS = {
    "as it is": ("/echo/things/1", {}),
    "another id": ("/echo/things/2", {}),
    "a query": ("/echo/things/1?a=b", {}),
    "encoded": ("/echo/things/%31", {}),
    "case": ("/echo/THINGS/1", {}),
    "slash": ("/echo/things/1/", {}),
    "double slash": ("/echo//things/1", {}),
    "dot": ("/echo/./things/1", {}),
    "client in the path": ("/~acme/echo/things/1", {}),
    "client in another case": ("/~ACME/echo/things/1", {}),
    "forwarded": ("/echo/things/1", {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1"}),
    "real address": ("/echo/things/1", {"X-Real-IP": "192.0.2.1", "CF-Connecting-IP": "192.0.2.2"}),
    "original URL": ("/echo/things/1", {"X-Original-URL": "/other", "X-Rewrite-URL": "/other"}),
    "method override": ("/echo/things/1", {"X-HTTP-Method-Override": "HEAD"}),
    "agent": ("/echo/things/1", {"User-Agent": "another"}),
    "host": ("/echo/things/1", {"Host": "another.example"}),
    "connection": ("/echo/things/1", {"Tidegate-Connection": "default"}),
}


@pytest.mark.parametrize("scope", ["client", "consumer", "grant"])
def test_no_spelling_of_a_call_opens_a_second_bucket(there: Gate, provider: Origin, scope: str):
    limited(there, **{scope: ONCE_AN_HOUR})
    first = {"Tidegate-Token": there.token, "Tidegate-Client": "acme"}
    with httpx.Client(base_url=there.url, trust_env=False, timeout=20) as consumer:
        assert consumer.get("/echo/things/1", headers=first).status_code == 200
        for path, headers in SPELLINGS.values():
            client = {} if path.startswith("/~") else {"Tidegate-Client": "acme"}
            answer = consumer.get(
                path, headers={"Tidegate-Token": there.token, **client, **headers}
            )
            assert answer.status_code in {400, 404, 429}, path
    assert len(provider.seen) == 1


def test_another_token_of_the_consumer_has_no_share_of_its_own(there: Gate):
    limited(there, consumer=ONCE_AN_HOUR)
    _, other = there.state.tokens.create(there.declaration, "shop", client="acme")
    limited(there, consumer=ONCE_AN_HOUR)
    bound = other.reveal().decode()
    assert there.call("/~acme/echo/things/1").status_code == 200
    assert there.call("/~acme/echo/things/1", bound).status_code == 429


@pytest.mark.parametrize("scope", ["client", "consumer", "grant"])
def test_another_clients_calls_are_not_felt_and_not_seen(there: Gate, scope: str):
    limited(there, **{scope: HUNDRED_AN_HOUR})
    quiet = there.call("/~globex/echo/things/1")
    for _ in range(120):
        there.call("/~acme/echo/things/1")
    assert there.call("/~acme/echo/things/1").status_code == 429
    answer = there.call("/~globex/echo/things/1")
    assert answer.status_code == 200
    assert quiet.headers["ratelimit"].startswith(f'"tidegate-{scope}";r=99;')
    assert answer.headers["ratelimit"].startswith(f'"tidegate-{scope}";r=98;')


@pytest.mark.parametrize("scope", ["consumer", "grant"])
def test_a_count_of_all_clients_together_is_told_to_none(there: Gate, scope: str):
    limited(there, **{scope: replace(HUNDRED_AN_HOUR, shared=True, concurrency=50)})
    answers = [there.call(f"/~{client}/echo/things/1") for client in ["acme", "globex"] * 51]
    assert answers[-1].status_code == 429
    assert {answer.status_code for answer in answers[:100]} == {200}
    assert all("ratelimit" not in answer.headers for answer in answers)
    assert all("ratelimit-policy" in answer.headers for answer in answers[:100])


@pytest.mark.timeout(600)
def test_ten_thousand_calls_that_are_broken_off_leave_nothing_under_way(
    there: Gate, provider: Origin
):
    limited(there, consumer=Limit(concurrency=64), client=Limit(concurrency=100))
    head = (
        f"GET /~acme/echo/things/1 HTTP/1.1\r\nHost: gate\r\nTidegate-Token: {there.token}\r\n\r\n"
    ).encode()
    reset = struct.pack("ii", 1, 0)
    for number in range(ABORTS):
        with socket.create_connection(("127.0.0.1", there.port), timeout=20) as consumer:
            # Reset at any moment: before the whole head is there, after it, after some of the answer.
            consumer.sendall(head[: len(head) - number % 3 * 20])
            if number % 10 == 0:
                consumer.recv(16) if number % 3 == 0 else None
            consumer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)

    def under_way() -> int:
        return sum(one["in_flight"] for one in there.engine.limits()["consumer_side"])

    wait_until(lambda: under_way() == 0)
    assert there.call("/~acme/echo/things/1").status_code == 200
    wait_until(lambda: under_way() == 0)
