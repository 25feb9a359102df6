"""Calls go on through a running gateway while the key that they carry is replaced."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support.running import Running, running, wait_until

from tidegate.domain.rotation import RotationState
from tidegate.domain.secret import Secret
from tidegate.sandbox import KeyServer
from tidegate.store import RotationRow

CLASSES = {
    "A": "overlap_class: A",
    "B": "overlap_class: B",
}


def declared(server: KeyServer, ca: Path, rotation: str) -> str:
    return f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  api:
    origin: {server.origin}
    auth: bearer
    operations: ["GET /things"]
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
    deadlines: {{connect: 1s, first_byte: 1s}}
    rotation:
      {rotation}
      by: admin
      overlap: 1s
      propagation: 5s
      rotate_every: 30d
      create: {{call: POST /keys, body: {{name: "{{name}}"}}, id: /id, fields: {{token: /key}}}}
      keys: {{call: GET /keys, items: /keys, id: /id, name: /name, last_used: /last_used}}
      delete: {{call: "DELETE /keys/{{id}}"}}
      test: {{call: GET /things}}
      identify: {{call: GET /self, id: /id}}
grants:
  - {{consumer: app, provider: api, operations: ["*"]}}
"""


def age(started: Running, name: str) -> None:
    """Make a credential an old one, as time would."""
    import sqlite3

    with sqlite3.connect(started.file.parent / "data" / "tidegate.db", timeout=10) as database:
        database.execute(
            "UPDATE connections SET rotated_at = rotated_at - 31 * 86400000000 WHERE name = ?",
            (name,),
        )


def ended(started: Running) -> list[RotationRow]:
    return [row for row in started.state.store.rotations.all() if row.active is None]


@pytest.mark.parametrize("overlap", CLASSES)
def test_by_schedule_a_key_is_replaced_and_no_call_fails(tmp_path: Path, overlap: str):
    slots = 2 if overlap == "B" else None
    with KeyServer(slots=slots, propagation_s=0.5) as server:
        first = server.make("by hand")
        first.known_from = 0
        ca = tmp_path / "ca.pem"
        ca.write_text(server.ca_pem)
        text = declared(server, ca, CLASSES[overlap])
        with running(tmp_path / "home", text, {("api", "acme"): {"token": first.value}}) as started:
            declaration = started.state.store.revisions.current().declaration
            started.state.connections.connect(
                declaration, "api", "acme", "admin", {"token": Secret(server.manager)}, {}
            )
            headers = {"Tidegate-Token": started.token("app"), "Tidegate-Connection": "default"}
            stop = threading.Event()

            def call() -> list[str]:
                outcomes: list[str] = []
                with httpx.Client(headers=headers, trust_env=False, timeout=20) as client:
                    while not stop.is_set():
                        answer = client.get(f"{started.url}/api/things")
                        outcomes.append("ok" if answer.status_code == 200 else answer.text)
                        time.sleep(0.01)
                return outcomes

            with ThreadPoolExecutor(2) as pool:
                calling = [pool.submit(call) for _ in range(2)]
                age(started, "default")
                try:
                    wait_until(lambda: len(ended(started)) == 1)
                finally:
                    stop.set()
                outcomes = [outcome for one in calling for outcome in one.result()]
            (row,) = ended(started)
            assert (row.state, row.author) == (RotationState.DONE, "schedule")
            assert set(outcomes) == {"ok"}
            assert server.refused == 0 or server.calls[first.id]
            (alive,) = server.alive()
            assert alive.id == row.new_id
            assert server.calls[alive.id]
            assert first.deleted_at is not None
            assert first.last_used is not None
            assert row.promoted_at is not None
            assert first.last_used < row.promoted_at.timestamp() + 2
