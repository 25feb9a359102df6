"""What a provider may answer to a login, and how often it is asked: a wrong password is never hammered."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.scripted import scripted
from support.sessions import Asked, Said, Sessions, said

from tidegate.catalog import ConfigErrors, load
from tidegate.credentials import Refresher, Renewed
from tidegate.credentials.connections import Connections
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Declaration
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig
from tidegate.sandbox import Authority
from tidegate.snapshot import is_bound
from tidegate.store import Store
from tidegate.vault import Vault

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
FIELDS = {"username": "u", "password": "correct horse battery"}


def by_json(asked: Asked, token: str) -> Said | None:
    if asked.path != "/login":
        return None
    assert asked.json() == {"user": "u", "pass": FIELDS["password"]}
    return said({"token": token, "expires": 600, "end": "2026-07-01T12:10:00Z"})


@dataclass
class Desk:
    """A provider, a connection of it, and who logs in."""

    folder: Path
    origin: str
    ca: Path
    sessions: Sessions
    store: Store
    vault: Vault
    engine: Engine
    now: datetime = NOW
    declaration: Declaration = field(default_factory=Declaration)

    def declare(self, more: str = "") -> None:
        file = self.folder / "tidegate.yaml"
        file.write_text(
            f"""version: 1
clients: {{acme: {{}}}}
providers:
  it:
    origin: {self.origin}
    allow_private: [127.0.0.0/8]
    tls: {{ca: {self.ca}}}
    operations: [GET /things]
    auth:
      login:
        request: {{call: POST /login, body: {{user: "{{username}}", pass: "{{password}}"}}}}
        token: {{at: /token}}
        {more}
"""
        )
        self.declaration = load(file)

    def connect(self, fields: Mapping[str, str]) -> Connection:
        made = Connections(self.store, self.vault, self.engine)
        sealed = {name: Secret(value) for name, value in fields.items()}
        return made.connect(self.declaration, "it", "acme", "default", sealed, {})

    def log_in(self, connection: Connection) -> Renewed:
        refresher = Refresher(
            self.store, self.vault, self.engine, holder="test", clock=lambda: self.now
        )
        return refresher.renew(connection, self.declaration.providers[0], wait_s=0)


@pytest.fixture
def desk(tmp_path: Path, store: Store, vault: Vault) -> Iterator[Desk]:
    ca = Authority()
    sessions = Sessions(by_json, Asked.bearer)
    config = EngineConfig(spool=tmp_path / "spool", workers=1, record=False)
    with scripted(ca, sessions) as origin, Engine(config, Secret(os.urandom(32))) as engine:
        made = Desk(tmp_path, origin, ca.write(tmp_path / "ca.pem"), sessions, store, vault, engine)
        made.declare()
        yield made


@pytest.mark.parametrize(
    ("more", "seconds"),
    [
        ("", 1_800),
        ("lifetime: 2h", 7_200),
        ("expires_in: /expires", 600),
        ("expires_in: /expires\n        unit: m", 36_000),
        ("expires_at: /end", 600),
        ("expires_in: /nowhere", 1_800),
    ],
)
def test_a_session_lives_as_long_as_the_answer_or_the_declaration_says(
    desk: Desk, more: str, seconds: int
):
    desk.declare(more)
    token = desk.log_in(desk.connect(FIELDS)).token
    assert token is not None
    assert token.expires_at == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "answer", [(401, {}, b"no"), (403, {}, b"{}"), (200, {}, b'{"ok": false}')]
)
def test_a_wrong_password_is_shown_twice_and_no_more(desk: Desk, answer: Said):
    connection = desk.connect(FIELDS)
    desk.sessions.refuses = answer
    troubles: list[str | None] = []
    for minutes in range(120):
        desk.now = NOW + timedelta(minutes=minutes)
        troubles.append(desk.log_in(connection).trouble)
    assert len(desk.sessions.logins) == 2
    assert all(trouble and trouble.startswith("login_refused") for trouble in troubles)
    token = desk.store.issued.get(connection.id)
    assert token is not None
    assert token.ended
    # Entered anew, it is tried again.
    desk.sessions.refuses = None
    assert desk.log_in(desk.connect(FIELDS)).trouble is None
    assert len(desk.sessions.logins) == 3


def test_a_session_that_lives_serves_on_while_the_next_login_is_refused(desk: Desk):
    desk.declare("lifetime: 2h")
    connection = desk.connect(FIELDS)
    assert desk.log_in(connection).trouble is None
    desk.sessions.refuses = (401, {}, b"")
    for minutes in range(0, 119, 2):
        desk.now = NOW + timedelta(minutes=minutes)
        desk.log_in(connection)
    token = desk.store.issued.get(connection.id)
    assert token is not None
    assert not token.ended
    assert len(desk.sessions.logins) == 3


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_provider_that_is_away_ends_nothing(desk: Desk, status: int):
    connection = desk.connect(FIELDS)
    desk.sessions.refuses = (status, {"Retry-After": "7"}, b"")
    assert desk.log_in(connection).trouble == f"status_{status}"
    token = desk.store.issued.get(connection.id)
    assert token is not None
    assert not token.ended
    assert token.retry_at == NOW + timedelta(seconds=7)
    desk.sessions.refuses = None
    desk.now += timedelta(seconds=8)
    assert desk.log_in(connection).trouble is None


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "", "two words", 7, None, "x" * 20_000])
def test_a_token_that_no_header_can_carry_is_none(desk: Desk, token: object):
    connection = desk.connect(FIELDS)
    desk.sessions.refuses = (
        200,
        {"Content-Type": "application/json"},
        json.dumps({"token": token}).encode(),
    )
    renewed = desk.log_in(connection)
    assert renewed.trouble in {"unusable_token", "login_refused_no_token"}


def test_a_redirect_of_a_login_is_not_followed(desk: Desk):
    connection = desk.connect(FIELDS)
    desk.sessions.refuses = (307, {"Location": "https://evil.test/login"}, b"")
    assert desk.log_in(connection).trouble == "login_refused_307"
    assert len(desk.sessions.logins) == 1


def test_a_credential_that_was_used_as_it_is_does_not_become_a_login(desk: Desk):
    connection = desk.connect(FIELDS)
    login = desk.declaration.providers[0]
    assert is_bound(login, connection)
    file = desk.folder / "tidegate.yaml"
    file.write_text(file.read_text().partition("    auth:")[0] + "    auth: basic\n")
    (basic,) = load(file).providers
    assert not is_bound(basic, connection)
    other = Connection(
        **{n: getattr(connection, n) for n in Connection.__slots__} | {"scheme": "basic"}
    )
    assert not is_bound(login, other)


MISTAKES = {
    "token: {at: /t}": ("nothing begins a session", "`request`"),
    'request: {call: POST /in, bearer: "{jwt}"}\n        token: {at: /t}': (
        "`{jwt}` stands for nothing",
        "declare the `jwt`",
    ),
    'request: {call: POST /in}\n        token: {at: /t}\n        jwt: {claims: {iss: "{app}"}}': (
        "the JWT goes nowhere",
        "bearer",
    ),
    'request: {call: "POST /{user name}"}\n        token: {at: /t}': (
        "do not make a placeholder",
        "{field}",
    ),
    "request: {call: POST https://evil.test/in}\n        token: {at: /t}": (
        "no origin of this provider",
        "the provider's origins alone",
    ),
    'request: {call: POST /in, query: {u: "{u}"}}': ("`token` says where", "name both"),
    'request: {call: POST /in, query: {u: "{u}"}}\n        token: {at: /t, cookie: S}': (
        "in one place",
        "`cookie`",
    ),
    'request: {call: POST /in, query: {u: "{u}"}}\n        token: {at: /t}\n        over: [200]': (
        "does not say that a session is over",
        "401",
    ),
    'request: {call: POST /in, query: {u: "{u}"}}\n        token: {at: /t}\n        replaces: {x: /x}': (
        "no request is made with `x`",
        "a field of the login",
    ),
    'jwt: {claims: {iss: "{a}", exp: "1"}}': ("`exp` is not for `claims`", ""),
    'request: {call: GET /in, body: {u: "{u}"}}\n        token: {at: /t}': (
        "has no body",
        "`query`",
    ),
}


@pytest.mark.parametrize("login", MISTAKES)
def test_a_mistake_says_where_what_and_what_instead(tmp_path: Path, login: str):
    message, hint = MISTAKES[login]
    file = tmp_path / "tidegate.yaml"
    file.write_text(
        "version: 1\nproviders:\n  it:\n    origin: https://api.it.test\n"
        f"    operations: [GET /things]\n    auth:\n      login:\n        {login}\n"
    )
    with pytest.raises(ConfigErrors) as found:
        load(file)
    first = found.value.errors[0]
    assert message in first.message
    assert hint in first.hint
    assert first.line >= 6
