"""What the records of privacy promise: an agreement's last instant, and whom something was sent about."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

import httpx

from bench import inside
from bench.measure import QUICK, Effort, Outcome, Table
from bench.stage import BenchError, Stage
from tidegate.app import Home, services
from tidegate.domain.agreement import ALL, Agreement
from tidegate.domain.call import CallRecord, FieldRecord
from tidegate.domain.declaration import Client, Declaration
from tidegate.privacy import Operator
from tidegate.privacy.subjects import SubjectRegister
from tidegate.sandbox import KeyServer

_ROWS: Final = 1_000_000
_ROWS_A_SUBJECT: Final = 40
_BATCH: Final = 10_000
_DECLARED: Final = """
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: all}}}}
providers:
  api:
    origin: {origin}
    auth: bearer
    operations: {{PostPerson: "POST /people/{{person}}", GetThings: "GET /things/{{thing}}"}}
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
grants:
  - {{consumer: app, provider: api, operations: ["*"]}}
protection:
  - operations: ["api:PostPerson"]
    purpose: sales
    fields: [{{at: body $.email, category: contact.email, do: allow}}]
"""


def measure_find(_stage: Stage, effort: Effort) -> Outcome:
    """How long it takes to say what was sent about one of many."""
    rows = 50_000 if effort is QUICK else _ROWS
    declaration = Declaration(clients=(Client("acme"),))
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder:
        where = Path(folder)
        url = f"sqlite:///{where}/data/tidegate.db"
        with services(Home(where / "data", where / "keys" / "root.key", url)) as state:
            state.make_root_key()
            register = SubjectRegister(state.store, state.vault)
            subjects = [
                register.subject(declaration, "acme", "email", f"person-{number}@example.com")
                for number in range(rows // _ROWS_A_SUBJECT)
            ]
            indexes = [subject.index.hex() for subject in subjects]
            for batch in _batches(indexes, rows):
                state.store.calls.add(batch)
            took: list[float] = []
            for subject in subjects[:: len(subjects) // 20]:
                began = time.monotonic()
                found = register.find(subject)
                took.append(time.monotonic() - began)
                sent = sum(flow.count for flow in found.flows)
                if sent != _ROWS_A_SUBJECT:
                    raise BenchError(f"{sent} of {_ROWS_A_SUBJECT} fields were found")
    return Outcome(
        figures={"protection.subject_find_s": max(took)},
        table=Table(
            f"What was sent about somebody, in a ledger of {rows:,} rows",
            ("median", "longest"),
            [(f"{median(took) * 1_000:.1f} ms", f"{max(took) * 1_000:.1f} ms")],
        ),
        rounds={"took_s": took},
    )


def _batches(indexes: list[str], rows: int) -> Iterator[list[CallRecord]]:
    fields = (
        FieldRecord("body $.email", "contact.email", "allow"),
        FieldRecord("body $.phone", "contact.phone_number", "hash"),
    )
    calls = rows // len(fields)
    for first in range(0, calls, _BATCH):
        yield [
            CallRecord(
                **_CALL,
                id=f"{number:026}",
                at_ms=1_795_766_400_000 + number,
                sent=fields,
                subjects=(indexes[number % len(indexes)],),
            )
            for number in range(first, min(first + _BATCH, calls))
        ]


_CALL: Final = {
    "client": "acme",
    "consumer": "app",
    "provider": "crm",
    "operation": "PostPeople",
    "method": "POST",
    "decision": "allow",
    "rule": "grants[0]",
    "revision": 1,
    "outcome": "ok",
    "detail": None,
    "status": 200,
    "provider_status": 200,
    "sent_bytes": 200,
    "received_bytes": 2,
    "total_us": 900,
    "provider_us": 700,
    "steps_us": {"attach": 1, "forward": 700},
    "tls_version": "1.3",
    "tls_group": "X25519",
    "address": "192.0.2.7",
    "http": "1.1",
    "retries": 0,
    "token": None,
    "connection": None,
    "purpose": "sales",
}


def measure_expiry(_stage: Stage, effort: Effort) -> Outcome:
    """An agreement ends while calls go on: personal ones stop at the instant, others do not."""
    before_s, after_s = (1.0, 1.0) if effort is QUICK else (5.0, 5.0)
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-") as folder, KeyServer() as server:
        key = server.make("by hand")
        key.known_from = 0
        (Path(folder) / "ca.pem").write_text(server.ca_pem)
        declared = _DECLARED.format(origin=server.origin, ca=Path(folder) / "ca.pem")
        accounts = [("acme", "default", {"token": key.value})]
        with inside.running(Path(folder), declared, accounts) as gateway:
            ends = datetime.now(UTC) + timedelta(seconds=before_s + 1)
            gateway.state.agreements.add(Operator("bench", "bench"), _agreement(ends))
            callers = [_Caller(gateway, kind, ends, after_s) for kind in ("people", "things") * 2]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
        came = set(server.requests)
    people = [call for one in callers if one.kind == "people" for call in one.calls]
    things = [call for one in callers if one.kind == "things" for call in one.calls]
    sent_before = sum(path in came for path, at, _ in people if at < ends.timestamp())
    sent_after = sum(path in came for path, at, _ in people if at >= ends.timestamp())
    others_failed = sum(status != 200 for _, __, status in things)
    if not sent_before or len(things) < 10:
        raise BenchError("no personal call went before the agreement ended")
    late = sum(at >= ends.timestamp() for _, at, __ in people)
    return Outcome(
        figures={
            "protection.sent_after_agreement": float(sent_after),
            "protection.others_failed_after_agreement": float(others_failed),
        },
        table=Table(
            "An agreement ends while calls go on",
            ("", "calls", "came to the provider", "failed"),
            [
                ("personal, before", f"{len(people) - late}", f"{sent_before}", ""),
                ("personal, from the instant on", f"{late}", f"{sent_after}", ""),
                ("others, throughout", f"{len(things)}", "", f"{others_failed}"),
            ],
        ),
        rounds={},
    )


def _agreement(ends: datetime) -> Agreement:
    return Agreement(
        name="acme-api",
        kind="dpa",
        provider="api",
        clients=(ALL,),
        parties=("Acme GmbH", "Api Ltd"),
        role="processor",
        categories=("contact",),
        purposes=("sales",),
        regions=("eu",),
        document="ab" * 32,
        starts=ends - timedelta(days=30),
        ends=ends,
    )


class _Caller(threading.Thread):
    """Calls one after the other until some time after the agreement has ended, each with a path of its own."""

    def __init__(self, gateway: inside.Inside, kind: str, ends: datetime, after_s: float) -> None:
        super().__init__()
        self.kind = kind
        self.calls: list[tuple[str, float, int]] = []
        self._gateway = gateway
        self._until = ends.timestamp() + after_s

    def run(self) -> None:
        method = "POST" if self.kind == "people" else "GET"
        headers = {"Tidegate-Token": self._gateway.token}
        with httpx.Client(trust_env=False, timeout=20, headers=headers) as client:
            while (at := time.time()) < self._until:
                path = f"/{self.kind}/{self.ident}-{len(self.calls)}"
                body = {"email": "jane.doe@example.com"} if method == "POST" else None
                answer = client.request(method, f"{self._gateway.url}/api{path}", json=body)
                self.calls.append((f"{method} {path}", at, answer.status_code))
