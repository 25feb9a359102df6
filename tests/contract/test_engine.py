"""What Python may rely on in the built engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import httpx
import pytest
from support.gate import CREDENTIAL, Gate, Origin, declaring, gate, home, origin

from tidegate import __version__
from tidegate.domain.call import CallRecord
from tidegate.domain.secret import Secret
from tidegate.engine import (
    Engine,
    EngineConfig,
    EngineError,
    ExplainRequest,
    FetchError,
    FetchOptions,
    Listener,
    check_snapshot,
    classify_address,
    explain,
    version,
)
from tidegate.engine.transport import TidegateTransport
from tidegate.events import read_event
from tidegate.snapshot import compile_snapshot

LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture
def provider() -> Iterator[Origin]:
    with origin() as running:
        yield running


@pytest.fixture
def running(tmp_path: Path, provider: Origin) -> Iterator[Gate]:
    with gate(tmp_path, provider.url) as started:
        yield started


def events_of(engine: Engine, count: int) -> list[CallRecord]:
    """Wait for so many events, and acknowledge them."""
    found: list[CallRecord] = []
    ends = time.monotonic() + 10
    while len(found) < count and time.monotonic() < ends:
        batch = engine.events(1_000, 0.5)
        found += [read_event(line) for line in batch.lines]
        if batch.lines:
            engine.acknowledge(batch.cursor)
    return found


def test_call_carries_the_credential_and_not_the_access_token(running: Gate, provider: Origin):
    answer = running.call()
    assert answer.json() == {"path": "/things/1"}
    assert provider.seen[0]["authorization"] == f"Bearer {CREDENTIAL}"
    assert running.token not in json.dumps(provider.seen)


def test_refused_snapshot_leaves_the_one_before_in_force(running: Gate):
    assert running.publish(revision=2) == 2
    with pytest.raises(EngineError, match="acme"):
        running.engine.publish(
            running.snapshot().replace(b'"clients":["acme"],', b'"clients":[],', 1)
        )
    with pytest.raises(EngineError):
        running.engine.publish(b"{")
    assert running.engine.stats().revision == 2
    assert running.call().status_code == 200


def test_snapshot_of_a_newer_format_is_refused(running: Gate):
    with pytest.raises(EngineError, match="format"):
        running.engine.publish(running.snapshot().replace(b'"format":1', b'"format":99', 1))


def test_lease_of_other_origins_is_never_sent(running: Gate, provider: Origin):
    running.lease(origins=("https://api.elsewhere.test",))
    answer = running.call()
    assert answer.json()["code"] == "credential_unavailable"
    assert provider.seen == []


def test_released_lease_leaves_no_credential(running: Gate, provider: Origin):
    running.engine.release(running.connection.id)
    assert running.call().json()["code"] == "credential_unavailable"
    assert provider.seen == []


def test_releasing_what_is_not_there_is_no_error(running: Gate):
    running.engine.release("con_none")


def test_event_has_the_fields_of_a_call_record(running: Gate):
    running.call("/echo/things/1?limit=3")
    batch = running.engine.events(10, 5.0)
    # Shapes are told only where something was learned.
    told = {field.name for field in fields(CallRecord)} - {"shapes"}
    assert set(json.loads(batch.lines[0])) == told
    record = read_event(batch.lines[0])
    assert (record.outcome, record.provider, record.operation) == ("ok", "echo", "GetThing")
    assert record.query == ("limit",)


def test_there_is_one_event_for_each_call_on_whichever_exit(running: Gate):
    paths = ["/echo/things/1", "/echo/nothing", "/nobody/x", "/echo//things"]
    calls = [running.call(path).headers["tidegate-call"] for path in paths]
    calls.append(running.call(token="tdg_wrong").headers["tidegate-call"])
    records = events_of(running.engine, len(calls))
    assert sorted(record.id for record in records) == sorted(calls)


def test_event_that_is_not_acknowledged_comes_again_after_a_restart(
    tmp_path: Path, provider: Origin
):
    with gate(tmp_path, provider.url) as first:
        call = first.call().headers["tidegate-call"]
        assert len(first.engine.events(10, 5.0).lines) == 1
    with gate(tmp_path, provider.url) as second:
        assert [record.id for record in events_of(second.engine, 1)] == [call]
    with gate(tmp_path, provider.url) as third:
        assert third.engine.events(10, 0.2).lines == ()


def test_clean_stop_leaves_no_gap(tmp_path: Path, provider: Origin):
    with gate(tmp_path, provider.url) as first:
        first.call()
    with gate(tmp_path, provider.url) as second:
        assert second.engine.gaps() == []


def test_shutdown_lets_a_call_under_way_finish_and_keeps_its_event(running: Gate, provider: Origin):
    answers: list[httpx.Response] = []
    caller = threading.Thread(target=lambda: answers.append(running.call("/echo/slow")))
    caller.start()
    wait_until(lambda: bool(provider.seen))
    release = threading.Timer(0.2, provider.hold.set)
    release.start()
    assert running.engine.shutdown(grace_s=10)
    caller.join()
    assert answers[0].status_code == 200
    assert [record.operation for record in events_of(running.engine, 1)] == ["GetSlow"]


def test_shutdown_cuts_what_outlives_the_grace_and_says_so(running: Gate, provider: Origin):
    failures: list[httpx.HTTPError] = []

    def call() -> None:
        try:
            running.call("/echo/slow")
        except httpx.HTTPError as error:
            failures.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    wait_until(lambda: bool(provider.seen))
    assert not running.engine.shutdown(grace_s=0.1)
    caller.join()
    assert len(failures) == 1
    assert len(events_of(running.engine, 1)) == 1


CRASHING = """
    import sys
    from pathlib import Path
    from support.gate import gate

    with gate(Path(sys.argv[1]), sys.argv[2]) as running:
        calls = [running.call().headers["tidegate-call"] for _ in range(20)]
        print("\\n".join(calls), flush=True)
        sys.stdin.read()
"""


def test_killed_engine_loses_little_and_the_next_one_reports_the_gap(
    tmp_path: Path, provider: Origin
):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CRASHING), tmp_path, provider.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    calls = {process.stdout.readline().decode().strip() for _ in range(20)}
    # The promise is for what is older than 50 ms.
    time.sleep(0.06)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()
    with gate(tmp_path, provider.url) as after:
        (gap,) = after.engine.gaps()
        assert gap.events_max <= 100
        assert after.engine.gaps() == []
        assert {record.id for record in events_of(after.engine, 20)} == calls


def test_engine_without_a_snapshot_is_not_ready(tmp_path: Path):
    config = EngineConfig(
        spool=tmp_path / "spool", listeners=(Listener("http", "127.0.0.1:0"),), workers=1
    )
    with Engine(config, Secret(os.urandom(32))) as engine:
        url = f"http://{engine.addresses()['http']}"
        assert httpx.get(f"{url}/-/live", trust_env=False).status_code == 200
        assert httpx.get(f"{url}/-/ready", trust_env=False).status_code == 503
        answer = httpx.get(f"{url}/echo/things/1", trust_env=False)
        assert answer.json()["type"] == "urn:tidegate:problem:not_ready"


def test_fetch_goes_where_it_may_and_brings_the_answer_whole(tmp_path: Path, provider: Origin):
    with fetching(tmp_path) as engine:
        answer = engine.fetch(
            "GET", f"{provider.url}/document", options=FetchOptions(allow_private=LOOPBACK)
        )
    assert (answer.status, json.loads(answer.body)) == (200, {"path": "/document"})


def test_fetch_of_a_private_address_is_prohibited(tmp_path: Path, provider: Origin):
    with fetching(tmp_path) as engine, pytest.raises(FetchError) as refused:
        engine.fetch("GET", provider.url.replace("http://", "https://"))
    assert refused.value.problem.code == "destination_prohibited"
    assert provider.seen == []


def test_fetch_larger_than_its_bound_is_refused(tmp_path: Path, provider: Origin):
    options = FetchOptions(allow_private=LOOPBACK, max_bytes=4)
    with fetching(tmp_path) as engine, pytest.raises(FetchError) as refused:
        engine.fetch("GET", f"{provider.url}/document", options=options)
    assert refused.value.problem.code == "response_rejected"


def test_httpx_calls_out_through_the_engine(tmp_path: Path, provider: Origin):
    with fetching(tmp_path) as engine:
        transport = TidegateTransport(engine, FetchOptions(allow_private=LOOPBACK))
        with httpx.Client(transport=transport, trust_env=False) as client:
            answer = client.get(f"{provider.url}/x", params={"a": "b"}, headers={"X-Own": "1"})
        assert answer.json() == {"path": "/x?a=b"}
        assert provider.seen[0]["x-own"] == "1"
        with (
            httpx.Client(transport=TidegateTransport(engine), trust_env=False) as strict,
            pytest.raises(httpx.ConnectError),
        ):
            strict.get("https://127.0.0.1:1/")


def test_explain_tells_step_by_step_and_calls_nobody(running: Gate, provider: Origin):
    told = explain(running.snapshot(), ExplainRequest("shop", "GET", "/echo/things/1"))
    assert told.allowed
    assert told.problem is None
    assert (told.provider, told.operation, told.client) == ("echo", "GetThing", "acme")
    assert told.rule == "grants[0]"
    assert told.origin == provider.url
    assert [step.step for step in told.steps][:4] == ["listen", "authenticate", "route", "decide"]
    assert provider.seen == []


def test_explain_names_the_problem_that_a_call_would_meet(running: Gate):
    told = explain(running.snapshot(), ExplainRequest("shop", "DELETE", "/echo/things/1"))
    assert told.problem is not None
    assert told.problem.code == "unknown_operation"
    assert told.detail is not None
    assert running.call("/echo/nothing").json()["code"] == "unknown_operation"


def test_snapshot_can_be_judged_without_a_running_engine():
    good = declaring("https://api.echo.test")
    check_snapshot(compile_snapshot(good, 1, (), ()))
    with pytest.raises(EngineError):
        check_snapshot(compile_snapshot(good, 1, (), ()).replace(b'"clients":["acme"],', b"", 1))


def test_addresses_are_classified():
    assert classify_address("8.8.8.8") == "public"
    assert classify_address("127.0.0.1") == "loopback"
    assert classify_address("169.254.169.254") == "cloud metadata"
    with pytest.raises(ValueError, match="not an address"):
        classify_address("localhost")


def test_engine_and_package_have_one_version():
    assert version() == __version__


def fetching(folder: Path) -> Engine:
    return Engine(EngineConfig(spool=home(folder).spool, workers=1), Secret(os.urandom(32)))


def wait_until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)
