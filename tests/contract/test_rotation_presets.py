"""Each built-in provider's keys are replaced as it is declared, at a server that behaves as it does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.key_dialects import (
    Cloudflare,
    Datadog,
    GitLab,
    Google,
    Mailgun,
    Okta,
    SendGrid,
    Twilio,
)
from support.keys import rsa_key
from support.rotating import Clock

from tidegate.catalog import load
from tidegate.credentials import Connections, Refresher, Rotator
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.rotation import RotationState
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig, FetchOptions
from tidegate.sandbox import IssuedKey, KeyServer
from tidegate.store import RotationRow, Store
from tidegate.vault import RootFile, Vault, open_root

State = RotationState
POLICIES = """
      values:
        policies:
          - effect: allow
            permission_groups: [{id: c8fed203ed3043cba015a93ad1616f1f}]
            resources: {com.cloudflare.api.account.1: "*"}"""
ROLL = """
      overlap_class: C
      parameters: {}
      create: {call: "PUT /client/v4/user/tokens/{old_id}/value", body: {}, fields: {token: /result}}"""


@dataclass(frozen=True)
class Case:
    """A preset, what is said beside it, and what its connections hold."""

    preset: str
    dialect: Callable[[], Any]
    rotation: str = ""
    beside: str = ""
    first: Callable[[KeyServer, IssuedKey], Mapping[str, str]] = lambda _, key: {"token": key.value}
    admin: Callable[[KeyServer], Mapping[str, str]] | None = lambda keys: {"token": keys.manager}
    secret: str = "token"
    admin_provider: str = ""


CASES = {
    "sendgrid": Case("sendgrid", SendGrid, "\n      values: {scopes: [mail.send]}"),
    "twilio": Case(
        "twilio",
        Twilio,
        "\n      values: {account: AC1}",
        first=lambda _, key: {"account_sid": key.id, "auth_token": key.value},
        admin=lambda keys: {"account_sid": "AC1", "auth_token": keys.manager},
        secret="auth_token",
    ),
    "mailgun": Case(
        "mailgun",
        Mailgun,
        "\n      values: {role: basic}",
        first=lambda _, key: {"key": key.value},
        admin=lambda keys: {"key": keys.manager},
        secret="key",
    ),
    "datadog": Case(
        "datadog",
        Datadog,
        first=lambda _, key: {"api_key": key.value, "application_key": "app"},
        admin=lambda keys: {"api_key": keys.manager, "application_key": "app-admin"},
        secret="api_key",
    ),
    "cloudflare": Case("cloudflare", Cloudflare, POLICIES),
    "cloudflare, rolled": Case("cloudflare", Cloudflare, ROLL),
    "gitlab": Case("gitlab", GitLab, admin=None),
    "okta-app": Case(
        "okta-app",
        Okta,
        "\n      values: {app: 0oa1}",
        first=lambda _, key: {"client_id": "0oa1", "client_secret": key.value},
        secret="client_secret",
        admin_provider="okta",
    ),
    "gcp-iam": Case(
        "gcp-iam",
        Google,
        "\n      values: {account: m@p.iam}",
        beside="""
    auth:
      oauth2:
        grant: jwt_bearer
        token_url: ORIGIN/token
        assertion: {key_id: true, claims: {scope: "https://www.googleapis.com/auth/cloud-platform"}}""",
        secret="private_key",
    ),
}


@dataclass
class Scene:
    """A provider of a preset, with a connection whose key is replaced."""

    case: Case
    server: KeyServer
    dialect: Any
    store: Store
    vault: Vault
    engine: Engine
    declaration: Declaration
    clock: Clock
    rotator: Rotator

    @property
    def provider(self) -> Provider:
        return self.declaration.providers[0]

    def connection(self) -> Connection:
        found = self.store.connections.find("acme", "api", "default")
        assert found is not None
        return found

    def held(self) -> str:
        return self.vault.open(self.connection())[self.case.secret].reveal().decode()

    def alive(self) -> list[str]:
        return [key.value for key in self.server.alive()]

    def start(self) -> str:
        return self.rotator.start(self.declaration, self.connection(), author="test").id

    def row(self, rotation: str) -> RotationRow:
        found = self.store.rotations.get(rotation)
        assert found is not None
        return found

    def step(self, rotation: str) -> RotationRow:
        row = self.row(rotation)
        if row.retry_at is not None:
            self.clock.ahead += max(row.retry_at - self.clock(), timedelta(0))
        found = self.rotator.advance(rotation, self.declaration)
        assert found is not None
        return found

    def until_over(self, rotation: str) -> RotationRow:
        for _ in range(60):
            row = self.step(rotation)
            if row.active is None or row.state in {State.UNKNOWN, State.MANUAL}:
                return row
        raise AssertionError(self.row(rotation))


Make = Callable[[str], Scene]


@pytest.fixture
def make(tmp_path: Path, sqlite_store: Store, root_file: Path) -> Iterator[Make]:
    vault = Vault(sqlite_store, open_root(RootFile(root_file), sqlite_store))
    with ExitStack() as stack:
        config = EngineConfig(spool=tmp_path / "spool", workers=1, record=False)
        engine = stack.enter_context(Engine(config, Secret(os.urandom(32))))

        def made(name: str) -> Scene:
            case = CASES[name]
            dialect = case.dialect()
            server = stack.enter_context(KeyServer(dialect=dialect))
            scene = Scene(
                case, server, dialect, sqlite_store, vault, engine,
                declared(tmp_path, case, server), clock := Clock(),
                Rotator(sqlite_store, vault, engine, holder="test", clock=clock),
            )  # fmt: skip
            connect(scene)
            return scene

        yield made


def declared(folder: Path, case: Case, server: KeyServer) -> Declaration:
    (folder / "ca.pem").write_text(server.ca_pem)
    where = (
        f"\n    origin: {server.origin}\n    allow_private: [127.0.0.0/8]\n    tls: {{ca: ca.pem}}"
    )
    file = folder / "tidegate.yaml"
    file.write_text(
        "version: 1\nclients: {acme: {}}\nproviders:\n"
        f"  api:\n    preset: {case.preset}{where}{case.beside.replace('ORIGIN', server.origin)}\n"
        f"    rotation:\n      overlap: 1m\n      propagation: 2s{case.rotation}\n"
        + (f"  okta:\n    preset: okta{where}\n" if case.admin_provider else "")
    )
    return load(file)


def connect(scene: Scene) -> None:
    case, server = scene.case, scene.server
    known = Connections(scene.store, scene.vault, scene.engine)
    key = scene.dialect.make(server, "made by hand")
    if isinstance(scene.dialect, Google):
        google = scene.dialect
        fields = {"client_id": google.account, "private_key": key.value, "key_id": key.id}
        google.pem["admin-key"], _ = rsa_key()
        admin = {
            "client_id": google.admin,
            "private_key": google.pem["admin-key"],
            "key_id": "admin-key",
        }
    else:
        fields = case.first(server, key)
        admin = case.admin(server) if case.admin is not None else None
    entries = [("api", "default", fields)]
    if admin is not None:
        entries.append((case.admin_provider or "api", "admin", admin))
    for provider, name, held in entries:
        sealed = {field: Secret(value) for field, value in held.items()}
        made = known.connect(scene.declaration, provider, "acme", name, sealed, {})
        if scene.provider.token_grant is not None:
            Refresher(scene.store, scene.vault, scene.engine, holder="test").renew(
                made, scene.provider
            )


MANY = [name for name in CASES if name not in {"gitlab", "cloudflare, rolled"}]
NAMED = ["sendgrid", "twilio", "mailgun", "datadog", "cloudflare"]
NAMELESS = ["okta-app", "gcp-iam"]
IN_PLACE = ["gitlab", "cloudflare, rolled"]


@pytest.mark.parametrize("name", MANY)
def test_a_key_is_made_tried_taken_and_the_old_one_deleted(make: Make, name: str):
    scene = make(name)
    old = scene.held()
    rotation = scene.start()
    assert scene.step(rotation).state is State.CREATED
    assert (scene.held(), len(scene.alive())) == (old, 2)
    row = scene.until_over(rotation)
    new = scene.held()
    assert new != old
    if name == "mailgun":
        # Nothing shows which key the first one was: a person ends it, and the next is known.
        assert (row.state, row.task) == (State.MANUAL, "revoke_old")
        scene.rotator.confirm(rotation)
        for key in scene.server.alive():
            key.deleted_at = None if key.value == new else datetime.now(UTC).timestamp()
        row = scene.until_over(rotation)
    assert (row.state, row.trouble) == (State.DONE, None)
    assert scene.alive() == [new]
    again = scene.until_over(scene.start())
    assert again.state is State.DONE
    assert scene.alive() == [scene.held()] != [new]


@pytest.mark.parametrize("name", NAMED)
def test_a_key_whose_value_was_lost_is_found_by_its_name_and_deleted(make: Make, name: str):
    scene = make(name)
    create = scene.provider.rotation.create
    assert create is not None
    path = create.hook.path.replace("{account}", "AC1")
    scene.server.upset(f"POST {path}", "cut after")
    rotation = scene.start()
    row = scene.step(rotation)
    assert (row.state, row.asked) == (State.INTENT, "create")
    (orphan,) = [key for key in scene.server.alive() if key.name == row.key_name]
    # So many keys that whoever reads one page alone does not see it.
    for number in range(250 if name in {"datadog", "cloudflare"} else 5):
        scene.dialect.make(scene.server, f"somebody's {number}")
    scene.server.keys[orphan.id] = scene.server.keys.pop(orphan.id)
    row = scene.until_over(rotation)
    assert orphan.deleted_at is not None
    assert scene.held() in scene.alive()
    assert sum(key.name == row.key_name for key in scene.server.alive()) == 1


@pytest.mark.parametrize("name", NAMELESS)
def test_where_keys_bear_no_names_a_lost_answer_is_for_a_person(make: Make, name: str):
    scene = make(name)
    old = scene.held()
    create = scene.provider.rotation.create
    assert create is not None
    path = create.hook.path.replace("{app}", "0oa1")
    path = path.replace("{account}", "m%40p.iam")
    scene.server.upset(f"POST {path}", "cut after")
    row = scene.until_over(scene.start())
    assert (row.state, row.task) == (State.UNKNOWN, "check_keys")
    assert scene.held() == old
    assert len(scene.alive()) == 2


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_the_new_value_is_taken_and_the_old_one_dead_at_once(make: Make, name: str):
    scene = make(name)
    old = scene.held()
    rotation = scene.start()
    row = scene.step(rotation)
    assert row.state is State.PROMOTED
    assert scene.alive() == [scene.held()] != [old]
    assert scene.until_over(rotation).state is State.DONE


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_a_lost_answer_is_never_asked_for_again(make: Make, name: str):
    """At GitLab a second request with the old token would end the new one too."""
    scene = make(name)
    old_id = next(iter(scene.server.keys))
    method, path = (
        ("POST", "/api/v4/personal_access_tokens/self/rotate")
        if name == "gitlab"
        else ("PUT", f"/client/v4/user/tokens/{old_id}/value")
    )
    scene.server.upset(f"{method} {path}", "cut after")
    rotation = scene.start()
    row = scene.until_over(rotation)
    assert (row.state, row.task) == (State.UNKNOWN, "check_keys")
    scene.clock.ahead += timedelta(days=1)
    assert scene.rotator.advance(rotation, scene.declaration) == scene.row(rotation)
    assert scene.server.requests.count(f"{method} {path}") == 1
    assert len(scene.alive()) == 1


def test_gitlabs_trap_is_one(make: Make):
    """The server above does end the new token when it is asked again, so the test above can fail."""
    scene = make("gitlab")
    old = scene.held()
    options = FetchOptions(allow_private=("127.0.0.0/8",), ca_pem=scene.server.ca_pem)
    url = f"{scene.server.origin}/api/v4/personal_access_tokens/self/rotate"
    scene.engine.fetch("POST", url, [("private-token", old)], b"", options)
    assert len(scene.alive()) == 1
    scene.engine.fetch("POST", url, [("private-token", old)], b"", options)
    assert scene.alive() == []


def test_a_rotated_gitlab_token_lives_longer_than_it_is_kept(make: Make):
    scene = make("gitlab")
    scene.until_over(scene.start())
    (key,) = scene.server.alive()
    lives = scene.dialect.expires[key.id] - datetime.now(UTC).date()
    assert lives.days >= 119 > scene.provider.rotation.age_max_ms / 86_400_000


def test_the_query_of_a_next_page_is_taken_and_its_host_is_not(make: Make):
    """Twilio's list here names another host; the credential goes where it went before."""
    scene = make("twilio")
    for number in range(7):
        scene.dialect.make(scene.server, str(number))
    rotation = scene.start()
    row = scene.step(rotation)
    assert row.state is State.CREATED
    assert len(row.known_ids or ()) == 8


def test_a_full_provider_is_left_to_a_person(make: Make):
    scene = make("sendgrid")
    for number in range(99):
        scene.dialect.make(scene.server, str(number))
    row = scene.until_over(scene.start())
    assert (row.state, row.task) == (State.MANUAL, "free_slot")
    assert len(scene.alive()) == 100


def test_a_secret_is_made_inactive_before_it_is_deleted(make: Make):
    scene = make("okta-app")
    scene.until_over(scene.start())
    assert scene.dialect.refused_deletions == 0
    without = replace(scene.provider, rotation=replace(scene.provider.rotation, deactivate=None))
    others = scene.declaration.providers[1:]
    scene.declaration = replace(scene.declaration, providers=(without, *others))
    row = scene.until_over(scene.start())
    assert (row.state, row.task) == (State.MANUAL, "revoke_old")
    assert scene.dialect.refused_deletions > 0


def test_which_secret_is_in_use_is_not_guessed_where_there_are_two(make: Make):
    scene = make("okta-app")
    scene.dialect.make(scene.server, "")
    row = scene.until_over(scene.start())
    assert (row.state, row.task, row.old_id) == (State.MANUAL, "free_slot", None)
    assert len(scene.alive()) == 2
