"""Chains of certificates, good and bad: what RFC 5280 and RFC 9525 say of each, a real dial must say.

Each chain is served by a TLS server and dialled by the engine with the case's root as its only one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.certificates import authority, leaf, rsa_key, server_context, signed_with_sha1
from support.chains import BAD, GOOD, HOST, HOSTS, NAMES, ROOT, Make, direct
from support.serving import tls_server

from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig, Fetched, FetchError, FetchOptions, Resolver

PRIVATE = ("127.0.0.0/8", "::1/128")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    config = EngineConfig(
        spool=tmp_path_factory.mktemp("spool"),
        workers=1,
        record=False,
        resolver=Resolver(hosts=dict.fromkeys(HOSTS, ("127.0.0.1",))),
    )
    with Engine(config, Secret(os.urandom(32))) as started:
        yield started


def fetch(engine: Engine, host: str, port: int) -> Fetched:
    options = FetchOptions(allow_private=PRIVATE, ca_pem=ROOT.pem)
    return engine.fetch("GET", f"https://{host}:{port}/", options=options)


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
def test_good_chain_is_accepted(engine: Engine, make: Make):
    with tls_server(server_context(make())) as server:
        assert fetch(engine, HOST, server.port).body == b"ok"


@pytest.mark.parametrize(("make", "reason"), BAD.values(), ids=BAD)
def test_bad_chain_is_refused_before_a_byte_is_sent(engine: Engine, make: Make, reason: str):
    with (
        tls_server(server_context(make())) as server,
        pytest.raises(FetchError) as refused,
    ):
        fetch(engine, HOST, server.port)
    assert refused.value.problem.code == "tls_failed"
    assert refused.value.detail.partition(":")[0] == reason
    assert (server.connections, bytes(server.received)) == (1, b"")


def test_chain_signed_with_sha1_is_refused(engine: Engine):
    root = authority("root", key=rsa_key())
    made = leaf(root, HOST)
    options = FetchOptions(allow_private=PRIVATE, ca_pem=root.pem)
    with tls_server(server_context([made])) as server:
        answer = engine.fetch("GET", f"https://{HOST}:{server.port}/", options=options)
        assert answer.body == b"ok"
    with (
        tls_server(server_context([signed_with_sha1(made, root)])) as server,
        pytest.raises(FetchError, match="bad_"),
    ):
        engine.fetch("GET", f"https://{HOST}:{server.port}/", options=options)
    assert server.received == b""


@pytest.mark.parametrize(("names", "host", "matches"), NAMES)
def test_names_match_as_rfc_9525_says(
    engine: Engine, names: tuple[str, ...], host: str, *, matches: bool
):
    listens = "::1" if "[" in host else "127.0.0.1"
    with tls_server(server_context(direct(*names)), host=listens) as server:
        if matches:
            assert fetch(engine, host, server.port).body == b"ok"
            return
        with pytest.raises(FetchError, match="name_mismatch"):
            fetch(engine, host, server.port)
    assert server.received == b""
