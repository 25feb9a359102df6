"""Five hundred values pass, fail or are refused in requests of every form, and stand nowhere afterwards."""

from __future__ import annotations

import io
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
import structlog
from support.agreeing import agree_to
from support.canaries import Hit, search
from support.handled import handled
from support.payloads import COUNT, Sent, planted, requests
from support.running import Running, running
from support.servers import free_port, wait_until

from tidegate.app.logs import configure_logs
from tidegate.cli import main

WAYS = ("open", "kept", "closed", "failing", "slow", "gone")
"""What becomes of a request: it goes as it is, by a policy or not at all; the provider fails at it."""

DECLARED = """
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}], metrics: {{bind: "127.0.0.1:{port}"}}}}
clients: {{acme: {{legal_name: Acme GmbH, region: eu}}}}
organisation: {{legal_name: Tide Agency GmbH, contact: privacy@agency.example}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  there:
    origin: {origin}
    auth: none
    allow_private: [127.0.0.0/8]
    observe: true
    deadlines: {{total: 1s}}
    operations:
{operations}
grants: [{{consumer: app, provider: there, operations: ["*"]}}]
protection:
{policies}
"""
KEPT = """
  - operations: ["there:POST /kept"]
    purpose: sales
    unknown_fields: drop
    fields:
      - {at: body $.email, category: contact.email, do: {tokenise: aead, restore_in: ["GET /kept/{id}"]}}
      - {at: "body $.deep[*].note", category: contact.email, do: {hash: keyed.text}}
      - {at: form email, category: contact.email, do: {mask: 2}}
      - {at: part email, category: contact.email, do: {tokenise: siv}}
      - {at: csv email, category: contact.email, do: {tokenise: aead}}
      - {at: csv note, do: drop}
  - operations: ["there:GET /kept/{id}"]
    purpose: sales
    unknown_fields: drop
    fields:
      - {at: path id, category: contact.email, do: {tokenise: siv}}
      - {at: query email, category: contact.email, do: {tokenise: aead}}
      - {at: header X-Email, category: contact.email, do: drop}
  - operations: ["there:POST /closed", "there:GET /closed/{id}"]
    purpose: sales
    fields: []
"""


class Provider(BaseHTTPRequestHandler):
    """Says back all that it is sent, after a while or with a failure where the path says so."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        came = b"\n".join((self.path.encode(), bytes(self.headers), body))
        SEEN.append(came)
        if self.path.startswith("/slow"):
            time.sleep(1.2)
        if self.path.startswith("/gone"):
            self.close_connection = True
            return
        self.send_response(500 if self.path.startswith("/failing") else 200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(came)))
        self.end_headers()
        self.wfile.write(came)

    def do_GET(self) -> None:
        self.do_POST()


SEEN: list[bytes] = []


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Path]:
    """All that any logger says, down to the least."""
    log = tmp_path / "log"
    root, level = logging.getLogger(), logging.getLogger().level
    with log.open("w") as stream:
        handler = logging.StreamHandler(stream)
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        before = structlog.get_config()
        configure_logs(stream)
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG))
        # The test's own client is not what is looked at.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield log
        finally:
            structlog.configure(**before)
            root.removeHandler(handler)
            root.setLevel(level)


@contextmanager
def gateway(folder: Path, origin: str, port: int) -> Iterator[Running]:
    operations = "\n".join(
        f'      - "{method} /{way}{rest}"'
        for way in WAYS
        for method, rest in (("POST", ""), ("GET", "/{id}"))
    )
    declared = DECLARED.format(origin=origin, port=port, operations=operations, policies=KEPT)
    with running(folder, declared, {}) as started:
        agree_to(started, KEPT, "there")
        yield started


def send(client: httpx.Client, sent: Sent) -> tuple[str, str]:
    """Return what became of it, and Tidegate's own words, where the answer is Tidegate's."""
    answer = client.request(
        sent.method, f"/there{sent.path}", headers=sent.headers, content=sent.body
    )
    if "proxy-status" in answer.headers:
        told = f"{answer.headers}\n{answer.text}"
        return answer.json()["code"], told
    return str(answer.status_code), str(answer.headers)


def reports(started: Running, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every command that tells of calls tell all it knows, and every page be made."""
    folder = started.file.parent
    monkeypatch.setenv("TIDEGATE_HOME", str(folder / "data"))
    monkeypatch.setenv("TIDEGATE_ROOT_KEY_FILE", str(folder / "keys" / "root.key"))
    monkeypatch.chdir(folder)
    said = io.StringIO()
    monkeypatch.setattr(sys, "stdout", said)
    monkeypatch.setattr(sys, "stderr", said)
    for words in (
        "calls --json -n 1000",
        "calls -n 1000",
        "usage --json",
        f"records art30 --client acme --to {into}/art30.html",
        f"records art30 --client acme --to {into}/art30.pdf",
        f"records art30 --client acme --to {into}/art30.json",
        f"records map --to {into}/map.mmd",
        f"records map --to {into}/map.json",
        f"records map --to {into}/map.html",
        "records manifest --client acme",
        "records sent --json",
        "records sent --csv",
        "records unsent --json",
        "protect shapes --json",
        "protect list --all",
        "explain app POST /there/kept",
        "explain app GET /there/open/1",
        "check",
        "status --json",
    ):
        assert main(words.split()) == 0, (words, said.getvalue()[-400:])
    # Few calls a second are looked at: it may be that too little is known for a draft.
    main(("protect", "suggest", "there"))
    (into / "said").write_text(said.getvalue())


def test_no_value_of_a_call_stands_anywhere_but_in_its_echo(
    tmp_path: Path,
    logged: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: pytest.RecordProperty,
):
    values = planted()
    assert len(values) == COUNT
    SEEN.clear()
    outcomes: Counter[str] = Counter()
    into = tmp_path / "told"
    into.mkdir()
    hits, port = list[Hit](), free_port()
    with handled(Provider) as origin, gateway(tmp_path / "home", origin, port) as started:
        # A slow call takes its second: few of those, and all at once.
        calls = [
            one for way in WAYS for one in requests(values[:56] if way == "slow" else values, way)
        ]
        shown = {"Tidegate-Token": started.token("app")}
        with (
            httpx.Client(
                base_url=started.url, headers=shown, trust_env=False, timeout=20
            ) as client,
            ThreadPoolExecutor(12) as pool,
        ):
            came = list(pool.map(partial(send, client), calls))
        outcomes.update(code for code, _ in came)
        (into / "problems").write_text("\n".join(told for _, told in came))
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
        (into / "metrics").write_text(metrics.text)
        wait_until(lambda: len(started.state.store.calls.recent(limit=2_000).calls) >= len(calls))
        reports(started, into, monkeypatch)
        monkeypatch.undo()
        # While it runs: the store's file and its log, and the spool.
        wanted = {value.encode(): "a call" for value in values}
        hits += search([tmp_path / "home" / "data"], wanted)
    hits += search([tmp_path / "home" / "data", into, logged], wanted)
    record_property("canaries_planted", len(wanted))
    record_property("canaries_found", len(hits))
    assert {str(hit) for hit in hits} == set()

    # They were there to be found: the provider has seen them in clear, and each way was gone.
    (tmp_path / "seen").mkdir()
    (tmp_path / "seen" / "bytes").write_bytes(b"\n".join(SEEN))
    found = {hit.form for hit in search([tmp_path / "seen"], wanted)}
    assert {"as it is", "percent-encoded"} <= found
    assert set(outcomes) >= {
        *("200", "500", "undeclared_field", "unparseable"),
        *("provider_timeout", "provider_unreachable"),
    }, outcomes
    assert outcomes["200"] > len(calls) / 4
