"""Answers that are kept on disk, over restarts: for their client alone, until they are taken out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from support.caching import Provider, Scene
from support.passage import put_before
from support.running import wait_until
from support.scripted import scripted

from tidegate.cli import main
from tidegate.sandbox import Authority

ON_DISK = ", cache: {disk: 64MiB}"
IN_MEMORY = ""
BODY = "a body that nobody finds on the disk"

Start = Callable[..., AbstractContextManager[Scene]]


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def start(tmp_path: Path, provider: Provider) -> Iterator[Start]:
    """Run a gateway before the provider, in the home that the one before left."""
    authority = Authority()
    with scripted(authority, provider) as origin:
        known = False

        @contextmanager
        def run(gateway: str = ON_DISK) -> Iterator[Scene]:
            nonlocal known
            clients = ("acme", "globex")
            with put_before(
                tmp_path,
                authority,
                origin,
                http="1.1",
                provider="cache: {ttl: 10m}",
                clients=clients,
                gateway=gateway,
                connect=not known,
            ) as passage:
                known = True
                tokens = {client: passage.bound_to(client).token for client in clients}
                yield Scene(provider, passage, tokens)

        yield run


@pytest.fixture
def tidegate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    monkeypatch.setenv("TIDEGATE_HOME", str(tmp_path / "home/data"))
    monkeypatch.setenv("TIDEGATE_ROOT_KEY_FILE", str(tmp_path / "home/keys/root.key"))

    def run(*words: str) -> str:
        capsys.readouterr()
        assert main(words) == 0
        return capsys.readouterr().out

    return run


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "home/data/cache").glob("??/*") if path.is_file()]


def on_disk(tidegate: Callable[..., str]) -> int:
    return json.loads(tidegate("cache", "stats", "--json"))["disk"]["answers"]


def test_an_answer_is_given_again_after_a_restart(tmp_path, start, provider, tidegate):
    provider.say("/a", BODY)
    with start() as made:
        assert made.way("/a").startswith("tidegate; fwd=uri-miss")
        wait_until(lambda: on_disk(tidegate) == 1)
        assert tidegate("cache", "stats").splitlines()[-1] == "on disk: 0.0 of 64 MiB, 1 answer"
    (kept,) = files(tmp_path)
    assert BODY.encode() not in kept.read_bytes()
    with start() as made:
        again = made.call("/a")
        assert again.headers["cache-status"].startswith("tidegate; hit")
        assert again.text == BODY
        assert made.way("/a", client="globex").startswith("tidegate; fwd=uri-miss")
    assert provider.asked("/a") == 2


def test_without_it_declared_nothing_is_written(tmp_path, start, provider, tidegate):
    provider.say("/a", BODY)
    with start(IN_MEMORY) as made:
        made.call("/a")
        assert json.loads(tidegate("cache", "stats", "--json"))["disk"] is None
    assert not (tmp_path / "home/data/cache").exists()


def test_a_purge_reaches_the_disk(tmp_path, start, provider, tidegate):
    provider.say("/a", BODY)
    with start() as made:
        for client in ("acme", "globex"):
            made.call("/a", client=client)
        wait_until(lambda: on_disk(tidegate) == 2)
    with start() as made:
        # What they find is on disk alone by now.
        assert tidegate("cache", "purge", "--provider", "elsewhere") == "0 answers taken out\n"
        assert tidegate("cache", "purge", "--client", "acme") == "1 answer taken out\n"
        assert len(files(tmp_path)) == 1
        assert made.way("/a").startswith("tidegate; fwd=uri-miss")
        assert made.way("/a", client="globex").startswith("tidegate; hit")


def test_what_was_changed_is_not_given_after_a_restart(start, provider, tidegate):
    provider.say("/a", BODY)
    with start() as made:
        made.call("/a")
        wait_until(lambda: on_disk(tidegate) == 1)
        made.call("/a", "PUT", content="x")
    with start() as made:
        assert made.way("/a").startswith("tidegate; fwd=uri-miss")


def test_what_a_shredded_client_had_is_gone_from_the_disk(tmp_path, start, provider, tidegate):
    provider.say("/a", BODY)
    with start() as made:
        for client in ("acme", "globex"):
            made.call("/a", client=client)
        wait_until(lambda: on_disk(tidegate) == 2)
        copied = {path: path.read_bytes() for path in files(tmp_path)}
        tidegate("vault", "shred", "--client", "acme", "--yes")
        wait_until(lambda: len(files(tmp_path)) == 1)
    for path, content in copied.items():
        path.write_bytes(content)
    with start() as made:
        assert made.way("/a", client="globex").startswith("tidegate; hit")
        assert made.call("/a").json()["code"] == "unknown_connection"


def test_answers_sealed_by_a_key_that_was_replaced_do_not_open(start, provider, tidegate):
    provider.say("/a", BODY)
    with start() as made:
        made.call("/a")
        wait_until(lambda: on_disk(tidegate) == 1)
    tidegate("vault", "rotate", "--client", "acme")
    with start() as made:
        assert made.way("/a").startswith("tidegate; fwd=uri-miss")
        assert made.way("/a").startswith("tidegate; hit")
