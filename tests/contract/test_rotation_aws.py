"""AWS IAM's keys are replaced at a server that checks every signature and allows two keys a user."""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from support.canaries import public
from support.rotating import Clock
from support.servers import accepts, free_port, program, run_server

from tidegate.catalog import load
from tidegate.credentials import Connections, Rotator
from tidegate.domain.declaration import Declaration
from tidegate.domain.rotation import RotationState
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig, Fetched, FetchOptions, Signing
from tidegate.sandbox import Authority
from tidegate.store import RotationRow, Store
from tidegate.vault import RootFile, Vault, open_root

State = RotationState
OWN = ["iam:GetUser"]
MANAGES = [*OWN, *(f"iam:{verb}AccessKey" for verb in ("Create", "Update", "Delete"))]
MANAGES += ["iam:ListAccessKeys", "iam:GetAccessKeyLastUsed"]
FORM = [("content-type", "application/x-www-form-urlencoded")]
GET_USER = b"Action=GetUser&Version=2010-05-08"


@dataclass
class Iam:
    """A running IAM, and somebody who may do anything there."""

    url: str
    ca: Path
    client: Any
    users: int = 0

    def user(self, actions: list[str]) -> tuple[str, dict[str, str]]:
        """Make a user that may do this, and its first key."""
        self.users += 1
        name = f"user-{self.users}"
        self.client.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
        self.client.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy)
        return name, self.key(name)

    def key(self, user: str) -> dict[str, str]:
        made = self.client.create_access_key(UserName=user)["AccessKey"]
        return {"access_key_id": made["AccessKeyId"], "secret_access_key": made["SecretAccessKey"]}

    def keys(self, user: str) -> list[str]:
        listed = self.client.list_access_keys(UserName=user)["AccessKeyMetadata"]
        return [one["AccessKeyId"] for one in listed]


def client(url: str, ca: Path, key: Mapping[str, str]) -> Any:
    return boto3.client(
        "iam", endpoint_url=url, region_name="us-east-1", verify=str(ca),
        aws_access_key_id=key["access_key_id"], aws_secret_access_key=key["secret_access_key"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def iam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iam]:
    folder, port = tmp_path_factory.mktemp("iam"), free_port()
    authority = Authority()
    certificate = authority.certificate(["127.0.0.1"])
    ca = folder / "ca.pem"
    ca.write_bytes(authority.pem)
    (folder / "server.pem").write_bytes(certificate.chain_pem)
    (folder / "server.key").write_bytes(certificate.key_pem.reveal())
    command = [
        program("moto_server", package="moto", folders=[Path(sys.executable).parent]),
        *("-H", "127.0.0.1", "-p", str(port)),
        *("-c", str(folder / "server.pem"), "-k", str(folder / "server.key")),
    ]
    url = f"https://127.0.0.1:{port}"
    with run_server(command, folder=folder, ready=accepts(("127.0.0.1", port))):
        nobody = {"access_key_id": "testing", "secret_access_key": "testing"}
        _, root = Iam(url, ca, client(url, ca, nobody)).user(["iam:*"])
        # From now on every request must be signed by somebody who may do what it asks for.
        context = ssl.create_default_context(cafile=str(ca))
        reset = f"{url}/moto-api/reset-auth"
        httpx.post(reset, content=b"0", verify=context).raise_for_status()
        yield Iam(url, ca, client(url, ca, root), users=1)


@dataclass
class Scene:
    iam: Iam
    user: str
    first: dict[str, str]
    store: Store
    vault: Vault
    engine: Engine
    declaration: Declaration
    clock: Clock
    rotator: Rotator

    def held(self) -> dict[str, Secret]:
        found = self.store.connections.find("acme", "iam", "default")
        assert found is not None
        return self.vault.open(found)

    def held_id(self) -> str:
        return self.held()["access_key_id"].reveal().decode()

    def start(self) -> str:
        found = self.store.connections.find("acme", "iam", "default")
        assert found is not None
        return self.rotator.start(self.declaration, found, author="test").id

    def step(self, rotation: str) -> RotationRow:
        row = self.store.rotations.get(rotation)
        assert row is not None
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
        raise AssertionError(row)

    def ask(self, fields: Mapping[str, Secret]) -> Fetched:
        signer = self.declaration.providers[0].sign
        assert signer is not None
        options = FetchOptions(
            allow_private=("127.0.0.0/8",),
            ca_pem=self.iam.ca.read_text(),
            signing=Signing(signer, fields),
        )
        return self.engine.fetch("POST", f"{self.iam.url}/", FORM, GET_USER, options)


@pytest.fixture
def scene(iam: Iam, tmp_path: Path, sqlite_store: Store, root_file: Path) -> Iterator[Scene]:
    user, first = iam.user(OWN)
    _, admin = iam.user(MANAGES)
    file = tmp_path / "tidegate.yaml"
    file.write_text(
        "version: 1\nclients: {acme: {}}\nproviders:\n  iam:\n    preset: aws-iam\n"
        f"    origin: {iam.url}\n    allow_private: [127.0.0.0/8]\n    tls: {{ca: {iam.ca}}}\n"
        "    deadlines: {connect: 100ms, first_byte: 100ms}\n"
        f"    rotation: {{overlap: 1m, propagation: 2s, values: {{user: {user}}}}}\n"
    )
    declaration = load(file)
    vault = Vault(sqlite_store, open_root(RootFile(root_file), sqlite_store))
    config = EngineConfig(spool=tmp_path / "spool", workers=1, record=False)
    with Engine(config, Secret(os.urandom(32))) as engine:
        known = Connections(sqlite_store, vault, engine)
        for name, key in (("default", first), ("admin", admin)):
            fields = {field: Secret(value) for field, value in key.items()}
            known.connect(declaration, "iam", "acme", name, fields, {})
        clock = Clock()
        rotator = Rotator(sqlite_store, vault, engine, holder="test", clock=clock)
        yield Scene(iam, user, first, sqlite_store, vault, engine, declaration, clock, rotator)
        for row in sqlite_store.rotations.all():
            # The keys' ids, by which a person finds them in IAM.
            public(row.old_id)
            public(row.new_id)


def test_a_key_is_made_tried_taken_and_the_old_one_deleted(scene: Scene):
    rotation = scene.start()
    row = scene.step(rotation)
    assert (row.state, row.old_id) == (State.CREATED, scene.first["access_key_id"])
    assert sorted(scene.iam.keys(scene.user)) == sorted([str(row.old_id), str(row.new_id)])
    row = scene.until_over(rotation)
    assert (row.state, row.trouble) == (State.DONE, None)
    assert scene.iam.keys(scene.user) == [scene.held_id()] == [row.new_id]
    assert scene.until_over(scene.start()).state is State.DONE


def test_a_signature_with_another_secret_is_refused(scene: Scene):
    """So that the server above does check what the rotation shows it."""
    assert scene.ask(scene.held()).status == 200
    wrong = scene.held() | {"secret_access_key": Secret("x" * 40)}
    assert scene.ask(wrong).status == 403


def test_where_both_slots_are_taken_nobody_elses_key_is_deleted(scene: Scene):
    other = scene.iam.key(scene.user)["access_key_id"]
    row = scene.until_over(scene.start())
    assert (row.state, row.task) == (State.MANUAL, "free_slot")
    assert other in (row.trouble or "")
    assert sorted(scene.iam.keys(scene.user)) == sorted([scene.held_id(), other])


def test_the_old_key_stays_while_iam_sees_it_in_use(scene: Scene):
    rotation = scene.start()
    while scene.step(rotation).state is not State.DRAINING:
        pass
    # IAM tells whole seconds.
    time.sleep(2.0)
    somebody = client(scene.iam.url, scene.iam.ca, scene.first)
    somebody.get_user()
    for _ in range(3):
        row = scene.step(rotation)
    assert row.state is State.DRAINING
    assert "in use, by somebody who is not Tidegate" in (row.trouble or "")
    assert len(scene.iam.keys(scene.user)) == 2
