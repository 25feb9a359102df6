"""`tidegate up` from start to stop: what it follows, and what it does not let happen to calls."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs
from support.gate import CREDENTIAL, Origin, home, origin
from support.postgresql import postgresql_cluster

from tidegate.app import Home, Services, load_declaration, services
from tidegate.app.gateway import Gateway, Started
from tidegate.catalog import ConfigErrors
from tidegate.domain.secret import Secret

WITHIN_S = 10.0


@pytest.fixture
def provider() -> Iterator[Origin]:
    with origin() as running:
        yield running


@pytest.fixture
def file(tmp_path: Path, provider: Origin) -> Path:
    written = tmp_path / "tidegate.yaml"
    written.write_text(
        f"""
version: 1
gateway:
  listen: [{{bind: "127.0.0.1:0"}}]
clients: {{acme: {{}}}}
consumers: {{shop: {{clients: [acme]}}}}
providers:
  echo:
    origin: {provider.url}
    auth: bearer
    allow_private: [127.0.0.0/8]
    operations: ["GET /things/{{id}}", "GET /slow"]
grants:
  - {{consumer: shop, provider: echo, operations: ["GET /things/*", "GET /slow"]}}
"""
    )
    return written


class Up:
    """A gateway that runs, a token for it, and the state as another process would open it."""

    def __init__(self, gateway: Gateway, state: Services, token: str) -> None:
        self.gateway = gateway
        self.state = state
        self.token = token
        (address,) = gateway.wait_ready(WITHIN_S).values()
        self.url = f"http://{address}"

    def get(self, path: str = "/echo/things/1") -> httpx.Response:
        headers = {"Tidegate-Token": self.token}
        return httpx.get(self.url + path, headers=headers, trust_env=False, timeout=20)

    def code(self, path: str = "/echo/things/1") -> str:
        answer = self.get(path)
        return "ok" if answer.status_code == 200 else answer.json()["code"]

    def revisions(self) -> list[int]:
        return [revision.number for revision in self.state.store.revisions.all()]


def let_in(state: Services, file: Path) -> str:
    """Connect the client's account and give the consumer a token, before anything is applied."""
    state.make_root_key()
    declaration = load_declaration(file)
    if not state.store.connections.all():
        state.connections.connect(
            declaration, "echo", "acme", "default", {"token": Secret(CREDENTIAL)}, {}
        )
    _, token = state.tokens.create(declaration, "shop")
    return token.reveal().decode()


@contextmanager
def up(place: Home, file: Path) -> Iterator[Up]:
    gateway = Gateway(place, file, author="test", grace_s=5)
    with services(place) as state:
        token = let_in(state, file)
        thread = threading.Thread(target=gateway.run)
        thread.start()
        try:
            yield Up(gateway, state, token)
        finally:
            gateway.stop()
            thread.join()
            for known in state.tokens.list():
                state.tokens.revoke(known.id)


def wait_until(holds: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_start_applies_the_file_and_says_what_is_weak(tmp_path: Path, file: Path):
    told: list[Started] = []
    gateway = Gateway(home(tmp_path), file, author="test")
    gateway_thread = threading.Thread(target=gateway.run, args=(told.append,))
    gateway_thread.start()
    addresses = gateway.wait_ready(WITHIN_S)
    gateway.stop()
    gateway_thread.join()
    assert told[0].addresses == addresses
    assert told[0].revision == 1
    assert any("providers.echo.allow_private" in line for line in told[0].weak)


def test_calls_are_answered_and_stored(tmp_path: Path, file: Path):
    with up(home(tmp_path), file) as running:
        assert running.code() == "ok"
        assert httpx.get(f"{running.url}/-/ready", trust_env=False).status_code == 200
        wait_until(lambda: len(running.state.store.calls.recent().calls) == 1)


def test_edit_becomes_a_revision_without_a_failed_call(tmp_path: Path, file: Path):
    with up(home(tmp_path), file) as running:
        failures: list[str] = []
        ended = threading.Event()

        def call() -> None:
            while not ended.is_set():
                if (code := running.code("/echo/things/1")) != "ok":
                    failures.append(code)

        caller = threading.Thread(target=call)
        caller.start()
        assert running.code("/echo/other") == "unknown_operation"
        file.write_text(file.read_text().replace('"GET /slow"]\ng', '"GET /slow", GET /other]\ng'))
        wait_until(lambda: running.code("/echo/other") == "denied")
        ended.set()
        caller.join()
        assert failures == []
        assert running.revisions() == [1, 2]


def test_bad_edit_leaves_the_revision_in_force_and_names_the_place(tmp_path: Path, file: Path):
    good = file.read_text()
    with capture_logs() as logs, up(home(tmp_path), file) as running:
        file.write_text(good.replace("provider: echo", "provider: ecko"))
        wait_until(lambda: any(entry["event"] == "declaration_refused" for entry in logs))
        assert running.code() == "ok"
        assert running.revisions() == [1]
        (wrong,) = [entry for entry in logs if entry["event"] == "declaration_wrong"]
        assert re.search(r"tidegate\.yaml:\d+:\d+$", wrong["place"])
        assert "echo" in wrong["hint"]
        file.write_text(good.replace("GET /things/*", "GET /things/{id}"))
        wait_until(lambda: running.revisions() == [1, 2])


def test_comment_or_touch_makes_no_revision(tmp_path: Path, file: Path):
    with up(home(tmp_path), file) as running:
        file.write_text(file.read_text() + "# a comment\n")
        running.gateway.reread()
        time.sleep(1.0)
        assert running.revisions() == [1]


def test_rollback_is_followed_and_stays_over_a_restart_until_the_file_is_edited(
    tmp_path: Path, file: Path
):
    place = home(tmp_path)
    with up(place, file) as running:
        first = file.read_text()
        file.write_text(first.replace('operations: ["GET /things/*", ', "operations: ["))
        wait_until(lambda: running.code() == "denied")
        running.state.rollback(1, author="operator")
        wait_until(lambda: running.code() == "ok")
    with up(place, file) as running:
        assert running.code() == "ok"
        assert running.revisions() == [1, 2, 3]
        file.write_text(file.read_text().replace("acme: {}", "acme: {name: Acme}"))
        wait_until(lambda: running.code() == "denied")
        assert running.revisions() == [1, 2, 3, 4]


def test_file_edited_while_it_was_down_is_applied(tmp_path: Path, file: Path):
    place = home(tmp_path)
    with up(place, file) as running:
        assert running.code() == "ok"
    file.write_text(file.read_text().replace("acme: {}", "acme: {name: Acme}"))
    with up(place, file) as running:
        assert running.revisions() == [1, 2]


def test_revoked_token_is_refused_within_a_second(tmp_path: Path, file: Path):
    with up(home(tmp_path), file) as running:
        assert running.code() == "ok"
        (known,) = running.state.tokens.list()
        running.state.tokens.revoke(known.id)
        wait_until(lambda: running.code() == "unauthenticated", within_s=2.0)


def test_expired_token_is_told_that_it_has_expired(tmp_path: Path, file: Path):
    with up(home(tmp_path), file) as running:
        long_ago = datetime.now(UTC) - timedelta(days=2)
        _, token = running.state.tokens.create(
            load_declaration(file), "shop", client="acme", days=1, now=long_ago
        )
        with httpx.Client(base_url=running.url, trust_env=False) as client:

            def told() -> str:
                headers = {"Tidegate-Token": token.reveal().decode()}
                return client.get("/echo/things/1", headers=headers).json()["detail"]

            wait_until(lambda: "has expired" in told())


def test_connection_made_while_it_runs_is_used(tmp_path: Path, file: Path, provider: Origin):
    with up(home(tmp_path), file) as running:
        declaration = load_declaration(file)
        running.state.connections.disconnect("acme", "echo", "default")
        wait_until(lambda: running.code() == "unknown_connection")
        running.state.connections.connect(
            declaration, "echo", "acme", "default", {"token": Secret("another-key-of-acme")}, {}
        )
        wait_until(lambda: running.code() == "ok")
        assert provider.seen[-1]["authorization"] == "Bearer another-key-of-acme"


def test_connection_of_a_provider_that_moved_is_not_used_and_said_so(
    tmp_path: Path, file: Path, provider: Origin
):
    with origin() as elsewhere, capture_logs() as logs, up(home(tmp_path), file) as running:
        assert running.code() == "ok"
        file.write_text(file.read_text().replace(provider.url, elsewhere.url))
        wait_until(lambda: running.code() == "unknown_connection")
        assert elsewhere.seen == []
    told = [entry for entry in logs if entry["event"] == "connection_not_bound"]
    assert [(entry["client"], entry["provider"]) for entry in told] == [("acme", "echo")]


def test_weakness_that_an_edit_brings_is_told(tmp_path: Path, file: Path):
    with capture_logs() as logs, up(home(tmp_path), file) as running:
        told = sum(entry["event"] == "weak" for entry in logs)
        file.write_text(file.read_text().replace("  echo:\n", "  echo:\n    encoded_slash: true\n"))
        wait_until(lambda: running.revisions() == [1, 2])
        wait_until(lambda: sum(entry["event"] == "weak" for entry in logs) == told + 1)
        assert "encoded_slash" in logs[-1]["what"]


def test_changed_listener_waits_for_the_next_start_and_that_is_told(tmp_path: Path, file: Path):
    with capture_logs() as logs, up(home(tmp_path), file):
        file.write_text(file.read_text().replace("gateway:\n", "gateway:\n  workers: 1\n"))
        wait_until(lambda: any(entry["event"] == "gateway_settings_changed" for entry in logs))


def test_bad_file_at_the_start_leaves_the_last_revision_in_force(tmp_path: Path, file: Path):
    place = home(tmp_path)
    with up(place, file) as running:
        assert running.code() == "ok"
    good = file.read_text()
    gateway = Gateway(place, file, author="test", grace_s=5)
    with services(place) as state:
        token = let_in(state, file)
        file.write_text(good.replace("provider: echo", "provider: ecko").replace("- {c", "- {c"))
        thread = threading.Thread(target=gateway.run)
        thread.start()
        running = Up(gateway, state, token)
        assert running.code() == "ok"
        assert running.revisions() == [1]
        gateway.stop()
        thread.join()


def test_bad_file_at_the_very_first_start_is_an_error(tmp_path: Path, file: Path):
    file.write_text(file.read_text().replace("provider: echo", "provider: ecko"))
    with pytest.raises(ConfigErrors, match="ecko"):
        Gateway(home(tmp_path), file, author="test").run()


@pytest.mark.slow
def test_database_that_goes_away_stops_no_call_and_loses_no_record(tmp_path: Path, file: Path):
    with postgresql_cluster() as cluster:
        with cluster.running():
            place = replace(home(tmp_path), store_url=cluster.new_database())
            stack = up(place, file)
            running = stack.__enter__()
            assert running.code() == "ok"
        assert [running.code() for _ in range(20)] == ["ok"] * 20
        with cluster.running():
            wait_until(lambda: stored(running) == 21, within_s=20)
            stack.__exit__(None, None, None)


def stored(running: Up) -> int:
    try:
        return len(running.state.store.calls.recent().calls)
    except Exception:  # noqa: BLE001 - the database is coming back
        return -1


@contextmanager
def process(
    place: Home, file: Path, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `tidegate up` as a process without a terminal; gives the address it listens on."""
    environment = os.environ | {
        "TIDEGATE_HOME": str(place.data),
        "TIDEGATE_ROOT_KEY_FILE": str(place.root_key),
        **variables,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tidegate.cli", "up", str(file)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as started:
        assert started.stdout is not None
        for line in started.stdout:
            if found := re.search(r"127\.0\.0\.1:\d+", line):
                break
        else:
            pytest.fail("the process ended before it listened")
        try:
            yield started, f"http://{found[0]}"
        finally:
            started.kill()


def test_sigterm_finishes_the_call_under_way_and_stores_every_record(
    tmp_path: Path, file: Path, provider: Origin
):
    place = home(tmp_path)
    with services(place) as state:
        token = let_in(state, file)
        with process(place, file) as (running, url):
            headers = {"Tidegate-Token": token}
            client = httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=20)
            for _ in range(10):
                assert client.get("/echo/things/1").status_code == 200
            answers: list[int] = []
            caller = threading.Thread(
                target=lambda: answers.append(client.get("/echo/slow").status_code)
            )
            caller.start()
            wait_until(lambda: len(provider.seen) == 11)
            running.send_signal(signal.SIGTERM)
            threading.Timer(0.3, provider.hold.set).start()
            caller.join()
            assert running.wait(WITHIN_S) == 0
            client.close()
        assert answers == [200]
        assert len(state.store.calls.recent().calls) == 11


def test_sighup_reads_the_file_again_and_interrupts_nothing(tmp_path: Path, file: Path):
    place = home(tmp_path)
    with services(place) as state:
        let_in(state, file)
        with process(place, file) as (running, url):
            running.send_signal(signal.SIGHUP)
            assert httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200
            running.send_signal(signal.SIGINT)
            assert running.wait(WITHIN_S) == 0


def test_service_manager_is_told_when_it_is_ready_and_when_it_stops(tmp_path: Path, file: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(WITHIN_S)
        with process(home(tmp_path), file, NOTIFY_SOCKET=str(tmp_path / "notify")) as (running, _):
            assert manager.recv(64) == b"READY=1"
            running.send_signal(signal.SIGTERM)
            assert manager.recv(64) == b"STOPPING=1"
            assert running.wait(WITHIN_S) == 0


def test_nothing_secret_is_in_the_log(tmp_path: Path, file: Path):
    place = home(tmp_path)
    with services(place) as state:
        token = let_in(state, file)
        with process(place, file) as (running, url):
            httpx.get(f"{url}/echo/things/1", headers={"Tidegate-Token": token}, trust_env=False)
            running.send_signal(signal.SIGTERM)
            assert running.stdout is not None
            said = running.stdout.read()
        assert CREDENTIAL not in said
        assert token not in said
        assert "stopped" in said
