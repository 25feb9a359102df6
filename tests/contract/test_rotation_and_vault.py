"""A provider's key and the vault's own keys are replaced at the same time; nothing older comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.rotating import MANY, Clock, Scene, connect, provider_of

from tidegate.credentials import Rotator
from tidegate.domain.declaration import Client, Declaration
from tidegate.domain.rotation import RotationState
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig
from tidegate.sandbox import KeyServer
from tidegate.store import Store
from tidegate.store.schema import connections, sealed_credentials
from tidegate.vault import Vault, VaultOutdated, VaultRefused

State = RotationState


@pytest.fixture
def scene(store: Store, vault: Vault, tmp_path: Path) -> Iterator[Scene]:
    config = EngineConfig(spool=tmp_path / "spool", workers=1, record=False)
    with Engine(config, Secret(os.urandom(32))) as engine, KeyServer() as server:
        first = server.make("made by hand")
        first.known_from = 0
        connect(vault, server, "default", first.value)
        connect(vault, server, "admin", server.manager)
        declaration = Declaration(clients=(Client("acme"),), providers=(provider_of(server, MANY),))
        clock = Clock()
        rotator = Rotator(store, vault, engine, holder="test", clock=clock)
        yield Scene(store, vault, server, declaration, rotator, clock)


def rows(store: Store) -> list[dict[str, Any]]:
    mine = sealed_credentials.c.connection == "con_default"
    with store._database.reading() as database:
        found = database.execute(sa.select(sealed_credentials).where(mine)).mappings()
        return [dict(row) for row in found]


def put_back(store: Store, row: dict[str, Any]) -> None:
    column = sealed_credentials.c
    same = (column.connection == row["connection"], column.version == row["version"])
    with store._database.writing() as database:
        database.execute(sealed_credentials.delete().where(*same))
        database.execute(sealed_credentials.insert().values(row))


def is_refused(scene: Scene, version: int) -> bool:
    with pytest.raises(VaultRefused):
        scene.vault.open(replace(scene.connection(), version=version))
    return True


@pytest.mark.parametrize("when", [State.CREATED, State.TESTED, State.DRAINING])
@pytest.mark.parametrize("ends", ["done", "rolled back"])
def test_the_clients_key_is_replaced_in_the_middle_of_a_rotation(
    scene: Scene, when: RotationState, ends: str
):
    old = scene.key()
    rotation = scene.start()
    scene.until(rotation, when)
    kept = scene.store.sealed.versions("con_default")
    assert scene.vault.rotate_client("acme").version == 2
    assert scene.store.sealed.versions("con_default") == kept == (1, 2)
    assert {row["kek_version"] for row in rows(scene.store)} == {2}
    if ends == "rolled back":
        scene.until(rotation, State.DRAINING)
        scene.rotator.roll_back(rotation)
    row = scene.until(rotation)
    assert row.state is (State.DONE if ends == "done" else State.ROLLED_BACK)
    assert (scene.key() == old) == (ends == "rolled back")
    assert scene.alive() == [scene.key()]


def test_a_version_that_was_destroyed_and_is_put_back_does_not_open(scene: Scene):
    rotation = scene.start()
    scene.until(rotation, State.DRAINING)
    (first, second) = sorted(rows(scene.store), key=lambda row: row["version"])
    assert scene.vault.open_beside(replace(scene.connection(), version=1))
    scene.until(rotation)
    put_back(scene.store, first)
    assert is_refused(scene, 1)
    # Nor does it as the connection's own.
    flip(scene.store, 1)
    assert is_refused(scene, 1)
    flip(scene.store, second["version"])
    assert scene.key()


def test_a_flip_that_nobody_recorded_is_no_flip(scene: Scene):
    rotation = scene.start()
    scene.until(rotation, State.CREATED)
    kept = rows(scene.store)
    # Both versions open while both are kept, each as what it is.
    beside = scene.vault.open_beside(replace(scene.connection(), version=2))["token"]
    assert not beside.matches(scene.vault.open(scene.connection())["token"])
    flip(scene.store, 2)
    assert is_refused(scene, 2)
    flip(scene.store, 1)
    scene.until(rotation, State.DRAINING)
    # Nor is the way back one, while the old version is still kept.
    flip(scene.store, 1)
    assert is_refused(scene, 1)
    flip(scene.store, 2)
    assert scene.key()
    newest = max(kept, key=lambda row: row["version"])
    put_back(scene.store, newest | {"payload": kept[0]["payload"]})
    assert is_refused(scene, 2)


def test_who_still_holds_the_version_before_is_told_to_look_again(scene: Scene):
    rotation = scene.start()
    before = scene.connection()
    scene.until(rotation, State.DRAINING)
    with pytest.raises(VaultOutdated):
        scene.vault.open(before)


def flip(store: Store, version: int) -> None:
    """Make a version the connection's own, as somebody who writes the database."""
    with store._database.writing() as database:
        mine = connections.c.id == "con_default"
        database.execute(connections.update().where(mine).values(version=version))


def test_entered_anew_no_version_of_before_opens(scene: Scene):
    rotation = scene.start()
    scene.until(rotation, State.DRAINING)
    before = rows(scene.store)
    connect(scene.vault, scene.server, "default", scene.server.make("by hand").value, version=3)
    assert scene.store.sealed.versions("con_default") == (3,)
    for row in before:
        put_back(scene.store, row)
        assert is_refused(scene, row["version"])
