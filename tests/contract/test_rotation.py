"""A credential is replaced step by step, through whatever goes wrong, and no key is forgotten."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.rotating import IN_PLACE, MANY, Clock, Scene, connect, provider_of

from tidegate.credentials import CredentialRefused, Rotator
from tidegate.credentials.rotator import TURN
from tidegate.domain.declaration import Client, Declaration
from tidegate.domain.rotation import BY_HAND, Identify, OverlapClass, Rotation, RotationState
from tidegate.domain.secret import Secret
from tidegate.engine import Engine, EngineConfig
from tidegate.sandbox import KeyServer
from tidegate.store import Store, StoreConflict
from tidegate.vault import Vault

State = RotationState
MakeScene = Callable[..., Scene]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    config = EngineConfig(spool=tmp_path / "spool", workers=1, record=False)
    with Engine(config, Secret(os.urandom(32))) as started:
        yield started


@pytest.fixture
def scene(store: Store, vault: Vault, engine: Engine) -> Iterator[Scene]:
    with made(store, vault, engine, MANY) as found:
        yield found


@pytest.fixture
def make(sqlite_store: Store, root_file: Path, engine: Engine) -> Iterator[MakeScene]:
    from contextlib import ExitStack

    from tidegate.vault import RootFile, open_root

    vault = Vault(sqlite_store, open_root(RootFile(root_file), sqlite_store))
    with ExitStack() as stack:
        yield lambda rotation, **options: stack.enter_context(
            made(sqlite_store, vault, engine, rotation, **options)
        )


@contextmanager
def made(
    store: Store, vault: Vault, engine: Engine, rotation: Rotation, **options: Any
) -> Iterator[Scene]:
    with KeyServer(**options) as server:
        first = server.make("made by hand")
        first.known_from = 0
        connect(vault, server, "default", first.value)
        admin = connect(vault, server, "admin", server.manager)
        assert admin.name == "admin"
        declaration = Declaration(
            clients=(Client("acme"),), providers=(provider_of(server, rotation),)
        )
        clock = Clock()
        rotator = Rotator(store, vault, engine, holder="test", clock=clock)
        yield Scene(store, vault, server, declaration, rotator, clock)


def test_a_key_is_made_tried_taken_and_the_old_one_deleted(scene: Scene):
    old = scene.key()
    rotation = scene.start()
    row = scene.step(rotation)
    assert row.state is State.CREATED
    assert scene.key() == old
    assert [key.name for key in scene.server.alive()] == ["made by hand", row.key_name]
    assert scene.step(rotation).state is State.TESTED
    assert scene.step(rotation).state is State.PROMOTED
    new = scene.key()
    assert new != old
    assert sorted(scene.alive()) == sorted([old, new])
    assert scene.store.sealed.versions("con_default") == (1, 2)
    row = scene.until(rotation)
    assert (row.state, row.trouble, row.task) == (State.DONE, None, None)
    assert scene.alive() == [new]
    assert scene.store.sealed.versions("con_default") == (2,)
    assert scene.connection().lease_version == 1


def test_the_next_rotation_knows_the_key_that_the_last_one_made(scene: Scene):
    first = scene.until(scene.start())
    rotation = scene.start()
    assert scene.row(rotation).old_id == first.new_id
    scene.until(rotation)
    assert scene.alive() == [scene.key()]


def test_one_rotation_at_a_time(scene: Scene):
    scene.start()
    with pytest.raises(StoreConflict, match="under way"):
        scene.start()


def test_a_new_key_may_take_a_while_to_be_known(make: MakeScene):
    scene = make(replace(MANY, propagation_ms=30_000), propagation_s=1.0)
    rotation = scene.start()
    scene.step(rotation)
    row = scene.step(rotation)
    assert (row.state, row.trouble) == (State.CREATED, "status_401")
    import time

    time.sleep(1.1)
    assert scene.step(rotation).state is State.TESTED


def test_a_key_that_never_works_is_deleted_and_the_old_one_stays(make: MakeScene):
    scene = make(MANY, propagation_s=3_600)
    old = scene.key()
    row = scene.until(scene.start())
    assert (row.state, row.trouble, row.active) == (State.ROLLED_BACK, "status_401", None)
    assert scene.alive() == [old] == [scene.key()]
    assert scene.store.sealed.versions("con_default") == (1,)


@pytest.mark.parametrize("how", ["cut before", "cut after", "away", "unreadable"])
def test_a_lost_answer_leaves_no_key_without_an_owner(scene: Scene, how):
    scene.server.upset("POST /keys", how)
    rotation = scene.start()
    row = scene.step(rotation)
    assert (row.state, row.asked) == (State.INTENT, "create")
    row = scene.until(rotation)
    assert row.state is State.DONE
    assert scene.alive() == [scene.key()]


def test_one_who_dies_between_asking_and_keeping_is_followed_at_once_by_its_successor(scene: Scene):
    rotation = scene.start()
    died_after_asking(scene, rotation)
    orphan = scene.server.alive()[-1]
    row = scene.until(rotation)
    assert row.state is State.DONE
    assert orphan.deleted_at is not None
    assert scene.alive() == [scene.key()]


def died_after_asking(scene: Scene, rotation: str) -> None:
    """What the store and the provider look like when a process was killed just then."""
    now = scene.clock()
    fence = scene.store.rotations.take(rotation, holder="test", now=now, until=now + TURN)
    assert fence is not None
    known = tuple(key.id for key in scene.server.alive())
    scene.store.rotations.note(rotation, fence, asked="create", asked_at=now, known_ids=known)
    scene.server.make(scene.row(rotation).key_name)


def test_another_waits_until_the_turn_of_the_dead_one_is_over(scene: Scene):
    rotation = scene.start()
    now = scene.clock()
    assert scene.store.rotations.take(rotation, holder="dead", now=now, until=now + TURN)
    assert scene.step(rotation).state is State.INTENT
    scene.clock.ahead += TURN
    assert scene.step(rotation).state is State.CREATED


def test_keys_without_names_are_left_to_a_person(make: MakeScene):
    assert MANY.list is not None
    scene = make(replace(MANY, list=replace(MANY.list, name_at="")), named=False)
    rotation = scene.start()
    died_after_asking(scene, rotation)
    orphan = scene.server.alive()[-1]
    row = scene.until(rotation)
    assert (row.state, row.task) == (State.UNKNOWN, "check_keys")
    assert orphan.id in (row.trouble or "")
    assert orphan.deleted_at is None
    scene.rotator.confirm(rotation)
    assert scene.row(rotation).active is None


def test_two_slots_are_enough_and_a_third_key_is_nobody_elses_to_delete(make: MakeScene):
    two = replace(MANY, overlap_class=OverlapClass.TWO_SLOTS, keys_max=2)
    scene = make(two, slots=2)
    assert scene.until(scene.start()).state is State.DONE
    foreign = scene.server.make("somebody else's")
    row = scene.until(scene.start())
    assert (row.state, row.task) == (State.MANUAL, "free_slot")
    assert foreign.id in (row.trouble or "")
    assert foreign.deleted_at is None
    scene.rotator.confirm(row.id)
    assert scene.row(row.id).state is State.ROLLED_BACK


def test_in_place_the_new_key_is_taken_at_once(make: MakeScene):
    scene = make(IN_PLACE)
    old = scene.key()
    rotation = scene.start()
    assert scene.step(rotation).state is State.PROMOTED
    assert scene.key() != old
    assert scene.until(rotation).state is State.DONE
    assert scene.alive() == [scene.key()]
    assert scene.store.sealed.versions("con_default") == (2,)


@pytest.mark.parametrize("how", ["cut before", "cut after", "away", "unreadable"])
def test_in_place_nothing_is_asked_twice(make: MakeScene, how):
    scene = make(IN_PLACE)
    scene.server.upset("POST /self/rotate", how)
    rotation = scene.start()
    row = scene.until(rotation)
    assert (row.state, row.task) == (State.UNKNOWN, "check_keys")
    for _ in range(3):
        scene.clock.ahead += timedelta(hours=1)
        scene.rotator.advance(rotation, scene.declaration)
    asked = [one for one in scene.server.requests if one == "POST /self/rotate"]
    assert len(asked) <= 1


def test_in_place_a_death_after_asking_is_unknown(make: MakeScene):
    scene = make(IN_PLACE)
    rotation = scene.start()
    died_after_asking(scene, rotation)
    assert scene.until(rotation).state is State.UNKNOWN
    assert scene.server.requests == []


def test_rolled_back_while_it_drains_calls_carry_the_old_key_again(scene: Scene):
    old = scene.key()
    rotation = scene.start()
    scene.until(rotation, State.DRAINING)
    new = scene.key()
    scene.rotator.roll_back(rotation)
    assert scene.key() == old
    assert sorted(scene.alive()) == sorted([old, new])
    row = scene.until(rotation)
    assert (row.state, row.active) == (State.ROLLED_BACK, None)
    assert scene.alive() == [old]
    assert scene.store.sealed.versions("con_default") == (1,)
    assert scene.until(scene.start()).state is State.DONE


def test_after_it_was_revoked_there_is_no_way_back(scene: Scene):
    rotation = scene.start()
    scene.until(rotation, State.REVOKED)
    with pytest.raises(CredentialRefused, match="no way back"):
        scene.rotator.roll_back(rotation)


def test_the_old_key_stays_while_a_gateway_may_use_it(scene: Scene):
    store = scene.store
    store.rotations.follow("slow", store.generation(), scene.clock())
    rotation = scene.start()
    scene.until(rotation, State.PROMOTED)
    for _ in range(3):
        assert scene.step(rotation).state is State.PROMOTED
    store.rotations.follow("slow", store.generation(), scene.clock())
    assert scene.until(rotation).state is State.DONE


def test_the_old_key_stays_while_somebody_else_uses_it(scene: Scene):
    rotation = scene.start()
    scene.until(rotation, State.DRAINING)
    first = next(iter(scene.server.keys.values()))
    first.last_used = scene.clock().timestamp() + 100
    for _ in range(4):
        row = scene.step(rotation)
    assert row.state is State.DRAINING
    assert "still sees the old key in use" in (row.trouble or "")
    assert first.deleted_at is None
    scene.rotator.roll_back(rotation)
    assert scene.until(rotation).state is State.ROLLED_BACK


def test_an_old_key_whose_id_is_not_known_is_for_a_person_to_revoke(make: MakeScene):
    scene = make(replace(MANY, identify=Identify(field="token", pattern="never-(.*)")))
    row = scene.until(scene.start())
    assert (row.state, row.task) == (State.MANUAL, "revoke_old")
    assert scene.store.sealed.versions("con_default") == (1, 2)
    scene.rotator.confirm(row.id)
    assert scene.until(row.id).state is State.DONE
    assert scene.store.sealed.versions("con_default") == (2,)


def test_entered_anew_before_the_flip_the_new_key_is_deleted(scene: Scene):
    rotation = scene.start()
    scene.until(rotation, State.TESTED)
    mine = scene.server.make("entered by a person")
    connect(scene.vault, scene.server, "default", mine.value, version=2)
    row = scene.until(rotation)
    assert (row.state, row.trouble) == (State.ROLLED_BACK, "the connection was entered anew")
    assert scene.key() == mine.value
    assert row.key_name not in [key.name for key in scene.server.alive()]


def test_entered_anew_after_the_flip_a_person_says_which_keys_are_used(scene: Scene):
    rotation = scene.start()
    scene.until(rotation, State.PROMOTED)
    mine = scene.server.make("entered by a person")
    connect(scene.vault, scene.server, "default", mine.value, version=3)
    row = scene.until(rotation)
    assert (row.state, row.task) == (State.MANUAL, "check_keys")
    assert len(scene.server.alive()) == 3


def test_without_the_admin_connection_nothing_begins(scene: Scene):
    (admin,) = (one for one in scene.store.connections.all() if one.id == "con_admin")
    scene.vault.forget(admin)
    with pytest.raises(CredentialRefused, match="tidegate connect api --client acme --name admin"):
        scene.start()
    assert scene.store.rotations.all() == ()


def test_the_admin_connection_does_not_rotate_itself(scene: Scene):
    admin = scene.store.connections.get("con_admin")
    assert admin is not None
    with pytest.raises(CredentialRefused, match="cannot rotate itself"):
        scene.rotator.start(scene.declaration, admin, author="test")


def test_a_provider_that_refuses_ends_it_after_a_few_attempts(scene: Scene):
    for key in scene.server.keys.values():
        key.value = "changed"
    scene.server.manager = "changed"
    old = scene.key()
    row = scene.until(scene.start())
    assert (row.state, row.trouble) == (State.ROLLED_BACK, "status_401")
    assert scene.key() == old


def test_a_key_pasted_by_a_person_goes_the_same_way(make: MakeScene):
    scene = make(replace(BY_HAND, test=MANY.test, propagation_ms=1_000))
    old = scene.key()
    rotation = scene.start()
    assert scene.row(rotation).task == "paste_key"
    with pytest.raises(CredentialRefused, match="in use already"):
        scene.rotator.give(rotation, scene.declaration, {"token": Secret(old)})
    scene.rotator.give(rotation, scene.declaration, {"token": Secret("sk-mistyped")})
    for _ in range(8):
        row = scene.step(rotation)
    assert (row.state, row.task, row.trouble) == (State.INTENT, "paste_key", "status_401")
    mine = scene.server.make("by a person")
    scene.rotator.give(rotation, scene.declaration, {"token": Secret(mine.value)})
    row = scene.until(rotation)
    assert (row.state, row.task) == (State.MANUAL, "revoke_old")
    assert scene.key() == mine.value
    scene.rotator.confirm(rotation)
    assert scene.until(rotation).state is State.DONE
