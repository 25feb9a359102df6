"""Several gateways share answers at a store: one fetches, and all are answered."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from support.caching import scene
from support.servers import wait_until
from support.strict import Strict, strict
from support.valkey import Node, Valkey, nodes, valkey

from tidegate.app.asking import ask
from tidegate.domain.caching import CacheRules

MIB = 1024**2
Scene = tuple[Valkey, Strict, list[Node]]


@contextmanager
def gateways(folder: Path, *options: str, most: int = 64 * MIB) -> Iterator[Scene]:
    keys = {client: secrets.token_hex(32) for client in ("acme", "globex", "")}
    with valkey(*options) as server, strict() as provider:
        provider.headers = lambda: {"Cache-Control": "max-age=60"}
        shared = {"nodes": 2, "socket": str(server.socket), "cache_client_bytes": most}
        with nodes(folder, provider.url, shared, cache=CacheRules(), cache_keys=keys) as started:
            wait_until(lambda: all(one.told()["cache"]["shared"]["connected"] for one in started))
            yield server, provider, started


def stands(server: Valkey, count: int = 1) -> Callable[[], bool]:
    """Whether so many answers stand at the store."""

    def stand() -> bool:
        return (
            sum(server.number("ZCARD", key) for key in server.keys("tidegate:v1:ends:*")) >= count
        )

    return stand


def test_what_one_gateway_fetched_another_gives(tmp_path: Path):
    with gateways(tmp_path) as (server, provider, (one, other)):
        provider.body = b"the answer"
        assert one.ask("/a").way.endswith("stored")
        wait_until(stands(server))
        time.sleep(1.1)
        found = other.ask("/a")
        assert (found.status, found.text) == (200, "the answer")
        assert "hit" in found.way
        assert "detail=shared" in found.way
        assert int(found.headers["age"]) >= 1
        # From then on it is the gateway's own.
        assert "detail" not in other.ask("/a").way
        assert provider.calls == 1
        assert other.told()["cache"]["shared"]["hits"] == 1
        assert other.ask("/a", client="globex").way.endswith("stored")
        assert provider.calls == 2


def test_an_answer_that_varies_is_given_to_its_like_alone(tmp_path: Path):
    with gateways(tmp_path) as (server, provider, (one, other)):
        provider.headers = lambda: {"Cache-Control": "max-age=60", "Vary": "Accept-Language"}
        one.ask("/a", Accept_Language="de")
        wait_until(stands(server, 2))
        assert "detail=shared" in other.ask("/a", Accept_Language="de").way
        assert "fwd=" in other.ask("/a", Accept_Language="en").way
        assert provider.calls == 2


def test_calls_for_the_same_through_two_gateways_are_one_to_the_provider(tmp_path: Path):
    with gateways(tmp_path) as (_, provider, started):
        provider.hold_s = 1.0
        with ThreadPoolExecutor(20) as pool:
            found = list(pool.map(lambda number: started[number % 2].ask("/a"), range(20)))
        assert {one.status for one in found} == {200}
        assert provider.calls == 1
        assert sum("collapsed" in one.way for one in found) >= 10


def test_what_cannot_be_shared_keeps_no_gateway_waiting(tmp_path: Path):
    with gateways(tmp_path) as (_, provider, started):
        provider.headers = lambda: {"Cache-Control": "no-store"}
        provider.hold_s = 0.5
        with ThreadPoolExecutor(8) as pool:
            began = time.monotonic()
            found = list(pool.map(lambda number: started[number % 2].ask("/a"), range(8)))
            took = time.monotonic() - began
        assert {one.status for one in found} == {200}
        assert provider.calls == 8
        assert took < 2.5


def test_a_gateway_that_dies_while_it_fetches_is_not_waited_for_long(tmp_path: Path):
    with gateways(tmp_path) as (_, provider, (one, other)):
        provider.hold_s = 1.0
        dying = threading.Thread(target=_ignore, args=(one,), daemon=True)
        dying.start()
        wait_until(lambda: provider.open == 1)
        one.process.kill()
        began = time.monotonic()
        assert other.ask("/a").status == 200
        assert time.monotonic() - began < 10
        dying.join(10)


def _ignore(node: Node) -> None:
    try:
        node.ask("/a")
    except OSError:
        return


def test_without_the_store_each_gateway_goes_by_itself(tmp_path: Path):
    with gateways(tmp_path) as (server, provider, started):
        server.kill()
        for one in started:
            assert one.ask("/a").status == 200
            assert "hit" in one.ask("/a").way
        assert provider.calls == 2
        server.start()
        wait_until(lambda: all(one.told()["cache"]["shared"]["connected"] for one in started))
        started[0].ask("/b")
        wait_until(stands(server))
        assert "detail=shared" in started[1].ask("/b").way


def test_what_a_call_changes_is_over_for_every_gateway(tmp_path: Path):
    with gateways(tmp_path) as (_, provider, (one, other)):
        provider.body = b"before"
        for node in (one, other):
            assert node.ask("/a").text == "before"
        provider.body = b"after"
        assert one.ask("/a", "POST").status == 200
        wait_until(lambda: other.ask("/a").text == "after")
        assert one.ask("/a").text == "after"


def test_a_purge_takes_answers_out_everywhere(tmp_path: Path):
    with gateways(tmp_path) as (server, provider, (one, other)):
        for node in (one, other):
            node.ask("/a")
        wait_until(stands(server))
        calls = provider.calls
        one.told({"client": "acme"})
        wait_until(lambda: not stands(server)())
        wait_until(lambda: "fwd=" in other.ask("/a").way)
        assert provider.calls > calls


def test_a_client_s_answers_take_no_more_of_the_store_than_they_may(tmp_path: Path):
    with gateways(tmp_path, most=MIB) as (server, provider, (one, _)):
        provider.body = b"x" * 100_000
        for number in range(40):
            assert one.ask(f"/{number}").status == 200
        wait_until(lambda: one.told()["cache"]["shared"]["kept"] == 40)
        wait_until(stands(server, 8))
        (answers,) = server.keys("tidegate:v1:answers:*")
        assert server.number("MEMORY", "USAGE", answers, "SAMPLES", "0") < 1.5 * MIB


def test_a_gateway_seals_answers_by_keys_of_its_vault(tmp_path: Path):
    with valkey() as server:
        shared = f", shared: {{valkey: 'unix://{server.socket}', nodes: 1, cache: 8MiB}}"
        with scene(tmp_path, "{ttl: 60s}", gateway=shared) as made:
            home = made.passage.gateway.state.home
            wait_until(lambda: ask(home, "cache-stats")["shared"]["connected"])
            made.provider.say("/a", "the answer")
            assert made.call("/a").text == "the answer"
            wait_until(stands(server))
            assert ask(home, "cache-stats")["shared"]["kept"] == 1
