"""Answers at the store that gateways share: altered, moved, forged or read by somebody else, they are a miss."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.servers import wait_until
from support.strict import Strict, strict
from support.valkey import Node, Valkey, nodes, valkey

from tidegate.domain.caching import CacheRules

BODY = b"account 7 of the client"
ANSWERS = "tidegate:v1:answers:*"


@contextmanager
def gateways(folder: Path, *, second: bool = True) -> Iterator[tuple[Valkey, Strict, Node, Node]]:
    """Two gateways of one installation; `second` false: another's, that uses the same store."""
    keys = {client: secrets.token_hex(32) for client in ("acme", "globex", "")}
    others = keys if second else {client: secrets.token_hex(32) for client in keys}
    rules = CacheRules()
    with valkey() as server, strict() as provider:
        provider.body = BODY
        provider.headers = lambda: {"Cache-Control": "max-age=60"}
        shared: dict[str, object] = {
            "nodes": 2,
            "socket": str(server.socket),
            "cache_client_bytes": 8 * 1024**2,
        }
        with (
            nodes(folder / "a", provider.url, shared | {"node": "a"}, count=1, settled=False,
                  cache=rules, cache_keys=keys) as (one,),
            nodes(folder / "b", provider.url, shared | {"node": "b"}, count=1, settled=False,
                  cache=rules, cache_keys=others) as (other,),
        ):  # fmt: skip
            for node in (one, other):
                wait_until(lambda node=node: node.told()["cache"]["shared"]["connected"])
            yield server, provider, one, other


def fields(server: Valkey) -> dict[str, bytes]:
    """The answers at the store, by name; they are one client's."""
    keys = server.keys(ANSWERS)
    if not keys:
        return {}
    (key,) = keys
    names = [name for name in server.lines("HKEYS", key) if name != "bytes"]
    return {name: server.raw("HGET", key, name) for name in names}


def kept(server: Valkey, count: int) -> None:
    wait_until(lambda: len(fields(server)) == count)


@pytest.mark.parametrize(
    "alter",
    [
        lambda value: value[:-1] + bytes([value[-1] ^ 1]),
        lambda value: bytes([value[0] ^ 1]) + value[1:],
        lambda value: value[: len(value) // 2],
        lambda _: b"",
        lambda _: b"HTTP/1.1 200 OK\r\n\r\nforged",
        lambda value: value + b"\0",
    ],
    ids=["last byte", "nonce", "cut", "empty", "forged", "longer"],
)
def test_an_answer_that_was_altered_is_a_miss(tmp_path: Path, alter):
    with gateways(tmp_path) as (server, provider, one, other):
        one.ask("/a")
        kept(server, 1)
        (key,) = server.keys(ANSWERS)
        ((name, value),) = fields(server).items()
        server.ask("HSET", key, name, alter(value))
        found = other.ask("/a")
        assert (found.status, found.text.encode()) == (200, BODY)
        assert "fwd=uri-miss" in found.way
        assert provider.calls == 2


def test_an_answer_that_was_put_in_another_s_place_is_a_miss(tmp_path: Path):
    with gateways(tmp_path) as (server, provider, one, other):
        one.ask("/a")
        kept(server, 1)
        ((first, _),) = fields(server).items()
        provider.body = b"another"
        one.ask("/b")
        kept(server, 2)
        found = fields(server)
        (second,) = set(found) - {first}
        (key,) = server.keys(ANSWERS)
        server.ask("HSET", key, first, found[second])
        assert other.ask("/a").text == "another"  # The provider's, as it answers now.
        assert provider.calls == 3
        assert other.told()["cache"]["shared"]["refused"] == 1


def test_one_client_s_answer_does_not_open_for_another(tmp_path: Path):
    with gateways(tmp_path) as (server, provider, one, other):
        one.ask("/a")
        wait_until(lambda: len(server.keys(ANSWERS)) == 1)
        (acme,) = server.keys(ANSWERS)
        one.ask("/a", client="globex")
        wait_until(lambda: len(server.keys(ANSWERS)) == 2)
        (globex,) = set(server.keys(ANSWERS)) - {acme}
        (theirs,) = [name for name in server.lines("HKEYS", globex) if name != "bytes"]
        (ours,) = [name for name in server.lines("HKEYS", acme) if name != "bytes"]
        server.ask("HSET", globex, theirs, server.raw("HGET", acme, ours))
        assert "fwd=uri-miss" in other.ask("/a", client="globex").way
        assert provider.calls == 3


def test_another_installation_at_the_same_store_is_given_nothing(tmp_path: Path):
    with gateways(tmp_path, second=False) as (server, provider, one, other):
        one.ask("/a")
        kept(server, 1)
        assert "fwd=uri-miss" in other.ask("/a").way
        assert provider.calls == 2


def test_nothing_at_the_store_can_be_read(tmp_path: Path):
    with gateways(tmp_path) as (server, _, one, __):
        one.ask("/secret-path")
        kept(server, 1)
        one.ask("/a", "POST")
        one.told({"client": "acme", "provider": "there"})
        wait_until(lambda: not fields(server))
        one.ask("/secret-path")
        kept(server, 1)
        dump = b""
        for key in server.keys("*"):
            kind = server.ask("TYPE", key).strip().lstrip(b"+")
            command = {b"hash": ("HGETALL", key), b"stream": ("XRANGE", key, "-", "+")}.get(kind)
            dump += key.encode() + (server.ask(*command) if command else b"")
        for told in (BODY, b"secret-path", b"acme", b"there", b"max-age"):
            assert told not in dump


@pytest.mark.parametrize("what", ["answers", "ends", "flight", "changes", "bytes", "held"])
def test_a_store_that_somebody_else_writes_to_stops_no_call(tmp_path: Path, what: str):
    with gateways(tmp_path) as (server, provider, one, other):
        one.ask("/a")
        kept(server, 1)
        (key,) = server.keys(ANSWERS)
        tag = key.rpartition(":")[2]
        ((name, _),) = fields(server).items()
        if what == "flight":
            server.ask("DEL", key)
            server.ask("HSET", f"tidegate:v1:flight:{tag}:{name}", "x", "y")
        elif what == "held":
            server.ask("DEL", key)
            server.ask("SET", f"tidegate:v1:flight:{tag}:{name}", "x")
        elif what == "bytes":
            server.ask("HSET", key, "bytes", "-1e300")
        elif what == "changes":
            server.ask("DEL", "tidegate:v1:changes")
            server.ask("XADD", "tidegate:v1:changes", "*", "c", b"\xff" * 100)
        else:
            server.ask("DEL", f"tidegate:v1:{what}:{tag}")
            server.ask("SET", f"tidegate:v1:{what}:{tag}", "x")
        for node in (one, other):
            for path in ("/a", "/b"):
                found = node.ask(path)
                assert (found.status, found.text.encode()) == (200, BODY)
        wait_until(lambda: one.told()["cache"]["shared"]["connected"])
        assert provider.calls <= 4


def test_the_permissions_that_the_guide_names_do(tmp_path: Path):
    counts = "+fcall +function|load +del +hgetall +hget +hset +hdel +pexpire +time"
    answers = (
        "+unlink +type +get +set +pttl +hstrlen +zadd +zrem +zscore +zrangebyscore +zpopmin "
        "+xadd +xrange"
    )
    with gateways(tmp_path) as (server, provider, one, other):
        server.ask(
            "ACL", "SETUSER", "default", "resetkeys", "~tidegate:*", "resetchannels", "-@all",
            *counts.split(), *answers.split(),
        )  # fmt: skip
        one.ask("/a")
        wait_until(lambda: one.told()["cache"]["shared"]["kept"] == 1)
        time.sleep(0.2)
        assert "detail=shared" in other.ask("/a").way
        one.ask("/a", "POST")
        wait_until(lambda: "fwd=" in other.ask("/a").way)
        assert provider.calls == 3
