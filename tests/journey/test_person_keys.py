"""Tokens that are sealed by a person's key come back while there is the key, and are noise from then on."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from support.canaries import plant
from support.crm import Crm, Front, protecting
from support.gate import home
from support.running import wait_until
from support.scripted import Wire, scripted
from support.up import Installation

from tidegate.app import load_declaration, services
from tidegate.cli import main
from tidegate.engine import subject_index
from tidegate.sandbox import Authority

ADA, BOB = "ada.canary.1815@example.com", "bob.canary.1912@example.com"
POLICY = """
  - operations: ["crm:PostPeople"]
    purpose: sales
    fields:
      - at: body $.email
        category: contact.email
        do: {tokenise: aead, subject_key: true, restore_in: [GetPerson]}
      - at: body $.age
        do: {tokenise: aead, subject_key: true, field: age, restore_in: [GetPerson]}
      - {at: body $.note, do: allow}
  - operations: ["crm:PostNotes"]
    purpose: sales
    report_until: 2099-01-01
    fields: [{at: body $.email, do: {tokenise: aead, subject_key: true}}]
"""


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    for value in (ADA, BOB):
        plant(value)
    with protecting(tmp_path_factory.mktemp("persons"), POLICY) as front:
        yield front


def about(who: str) -> dict[str, str]:
    return {"Tidegate-Subject": f"email:{who}"}


def token(front: Front, who: str) -> str:
    assert front.send({"email": who}, **about(who)).status_code == 200
    return front.crm.last["email"]


def erase(front: Front, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = front.gateway.file.parent
    monkeypatch.setenv("TIDEGATE_HOME", str(folder / "data"))
    monkeypatch.setenv("TIDEGATE_ROOT_KEY_FILE", str(folder / "keys" / "root.key"))
    # The provider declares no `erasure`, so that something is left to do by hand.
    main(("subject", "erase", f"email:{who}", "--client", "acme", "--yes", "--as", "anna"))


def lift(who: str) -> None:
    assert main(("subject", "lift", f"email:{who}", "--client", "acme", "--as", "anna")) == 0


def index(front: Front, who: str) -> bytes:
    (key,) = front.gateway.state.vault.subject_keys(["acme"]).values()
    return subject_index(key, "email", who)


def keys(front: Front) -> int:
    store = front.gateway.state.store
    with store._database.reading() as database:
        return database.exec_driver_sql("SELECT count(*) FROM person_keys").scalar_one()


def test_values_come_back_and_no_token_says_whose_it_is(front: Front):
    assert front.send({"email": ADA, "age": 36.5}, **about(ADA)).status_code == 200
    first, again = front.crm.last, token(front, ADA)
    assert first["email"].startswith("tdgt1.a1.")
    # Not even a key's id, by which a provider could tell that two are of one person.
    assert first["email"][9:30] != again[9:30]
    front.crm.answer = json.dumps(first | {"note": f"write to {again}"}).encode()
    assert front.look().json() == {"email": ADA, "age": 36.5, "note": f"write to {again}"}
    front.crm.answer = None
    assert b"tidegate-subject" not in b"".join(front.crm.heads).lower()


def test_a_call_that_names_nobody_or_several_sends_no_value_in_clear(front: Front):
    before = len(front.crm.people)
    nobody = front.send({"email": ADA})
    several = front.send({"email": ADA}, **{"Tidegate-Subject": f"email:{ADA}, email:{BOB}"})
    assert [(one.status_code, one.json()["code"]) for one in (nobody, several)] == [
        (422, "unprotectable")
    ] * 2
    assert "`Tidegate-Subject: kind:identifier`" in nobody.json()["detail"]
    assert "Make a call for each" in several.json()["detail"]
    assert len(front.crm.people) == before
    assert front.send({"note": "nothing of anybody"}).status_code == 200


def test_a_policy_that_only_reports_makes_no_key(front: Front):
    before = keys(front)
    for who in ("new.canary@example.com", BOB):
        assert front.send({"email": who}, to="crm/notes", **about(who)).status_code == 200
    assert keys(front) == before


def test_erasing_a_person_makes_all_their_tokens_noise_and_nobody_elses(
    front: Front, monkeypatch: pytest.MonkeyPatch
):
    adas, bobs = token(front, ADA), token(front, BOB)
    answer = json.dumps({"email": adas}).encode(), json.dumps({"email": bobs}).encode()

    def read(which: int) -> str:
        front.crm.answer = answer[which]
        try:
            return front.look().json()["email"]
        finally:
            front.crm.answer = None

    assert (read(0), read(1)) == (ADA, BOB)
    erase(front, ADA, monkeypatch)
    wait_until(lambda: read(0) == adas)
    assert read(1) == BOB
    refused = front.send({"email": ADA}, **about(ADA))
    assert (refused.status_code, refused.json()["code"]) == (403, "suppressed")

    acts = front.gateway.state.acts.verified().acts[-2:]
    assert [(one.act, one.operator) for one in acts] == [
        ("subject.erase", "anna"),
        ("subject.erased", "anna"),
    ]
    begun, ended = (json.loads(one.details) for one in acts)
    assert len(begun["keys"]) == 1
    request = front.gateway.state.store.subjects.request("acme", acts[0].subject)
    assert request is not None
    assert begun["index"] == request.index.hex()
    assert (ended["document"], ended["keys_destroyed"]) == (request.digest, 1)
    assert len(json.loads(request.document)["keys_destroyed"]) == 1
    assert ADA not in "".join(one.details for one in acts)

    # Somebody who comes again has another key, by which nothing from before is read.
    lift(ADA)
    wait_until(lambda: front.send({"email": ADA}, **about(ADA)).status_code == 200)
    assert (read(0), front.look().json()["email"]) == (adas, ADA)
    last = front.gateway.state.acts.verified().acts[-1]
    assert last.act == "subject.lift"


def test_a_destroyed_key_that_somebody_puts_back_is_given_to_nobody(
    front: Front, monkeypatch: pytest.MonkeyPatch
):
    who = "put.back.canary@example.com"
    before, store = token(front, who), front.gateway.state.store
    subject = index(front, who)
    (kept,) = store.person_keys.of("acme", [subject])
    erase(front, who, monkeypatch)
    assert store.person_keys.of("acme", [subject]) == []
    store.person_keys.add([kept], suppressed_too=True)
    assert store.person_keys.of("acme", [subject]) == [kept]
    lift(who)

    def refused() -> bool:
        answer = front.send({"email": who}, **about(who))
        return answer.status_code == 503 and answer.json()["code"] == "protection_unavailable"

    wait_until(refused)
    front.crm.answer = json.dumps({"email": before}).encode()
    assert front.look().json() == {"email": before}
    front.crm.answer = None
    erase(front, who, monkeypatch)
    lift(who)
    wait_until(lambda: front.send({"email": who}, **about(who)).status_code == 200)


def test_without_the_store_who_is_known_is_sealed_for_and_nobody_new_goes_out(front: Front):
    token(front, BOB)
    before = len(front.crm.people)
    database = front.gateway.file.parent / "data" / "tidegate.db"
    with sqlite3.connect(database, isolation_level=None, timeout=10) as lock:
        lock.execute("BEGIN IMMEDIATE")
        try:
            new = "new.canary.1936@example.com"
            refused = front.send({"email": new}, **about(new))
            assert (refused.status_code, refused.json()["code"]) == (503, "protection_unavailable")
            assert len(front.crm.people) == before
            assert front.send({"email": BOB}, **about(BOB)).status_code == 200
        finally:
            lock.execute("ROLLBACK")
    lock.close()
    wait_until(lambda: front.send({"email": new}, **about(new)).status_code == 200)


def test_what_left_before_a_kill_comes_back_after_it(tmp_path: Path):
    """The provider kills the gateway by its process while it has the token and nobody was answered."""
    authority, process = Authority(), list[int]()

    class Killing(Crm):
        def __call__(self, wire: Wire) -> None:
            with suppress(OSError):
                head = wire.head()
                if head.startswith(b"POST"):
                    length = next(
                        int(line[15:])
                        for line in head.splitlines()
                        if line.lower().startswith(b"content-length:")
                    )
                    self.people.append(wire.read(length))
                    os.kill(process[0], signal.SIGKILL)
                    return
                said = self.people[-1]
                wire.send(
                    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                    f"Content-Length: {len(said)}\r\n\r\n".encode()
                    + said
                )

    crm, place = Killing(), home(tmp_path)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.pem)
    with scripted(authority, crm) as origin:
        file = tmp_path / "tidegate.yaml"
        file.write_text(f"""
version: 1
gateway: {{listen: [{{bind: "127.0.0.1:0"}}]}}
clients: {{acme: {{}}}}
consumers: {{app: {{clients: [acme]}}}}
providers:
  crm:
    origin: {origin}
    auth: none
    allow_private: [127.0.0.0/8]
    tls: {{ca: {ca}}}
    operations: {{PostPeople: POST /people, GetPerson: "GET /people/{{id}}"}}
grants: [{{consumer: app, provider: crm, operations: ["*"]}}]
protection:
  - operations: ["crm:PostPeople"]
    purpose: sales
    fields: [{{at: body $.email, do: {{tokenise: aead, subject_key: true, restore_in: [GetPerson]}}}}]
""")
        with services(place) as state:
            state.make_root_key()
            _, secret = state.tokens.create(load_declaration(file), "app")
        shown = {"Tidegate-Token": secret.reveal().decode()}
        installed = Installation(place, file, shown["Tidegate-Token"], tmp_path)
        with installed.up() as running:
            url = running.url
            process.append(running.process.pid)
            with pytest.raises(httpx.TransportError):
                httpx.post(
                    f"{url}/crm/people",
                    json={"email": ADA},
                    headers=shown | about(ADA),
                    trust_env=False,
                    timeout=20,
                )
            assert running.process.wait(10) == -signal.SIGKILL
        assert b"tdgt1.a1." in crm.people[0]
        with installed.up() as running:
            answer = httpx.get(
                f"{running.url}/crm/people/1", headers=shown, trust_env=False, timeout=20
            )
            assert answer.json() == {"email": ADA}
