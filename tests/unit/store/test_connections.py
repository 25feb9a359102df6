from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from support.samples import connection

from tidegate.domain.connection import Connection
from tidegate.store import (
    KekReplaced,
    SealedCredential,
    Store,
    StoreConflict,
    StoredKek,
    StoredManifest,
    StoredRoot,
)

UNSIGNED = StoredManifest(epoch=1, kek_version=1, entries=b"", mac=b"")
NOISE = SealedCredential(kek_version=1, wrapped_dek=b"\x00\xff" * 40, payload=b"p" * 64)


def put(store: Store, connection: Connection, sealed: SealedCredential) -> None:
    store.sealed.first_root(StoredRoot(1, "a test", b"check", b"token key"))
    store.sealed.add_kek(StoredKek(connection.client, 1, b"wrapped", 1))
    store.sealed.put(connection, sealed, lambda before: UNSIGNED)


def get(store: Store, connection: Connection) -> SealedCredential | None:
    return store.sealed.get(connection)[0]


def test_a_connection_and_what_is_sealed_come_back_as_they_were(store: Store):
    before = store.generation()
    put(store, connection(), NOISE)
    assert store.connections.all() == (connection(),)
    assert store.connections.find("acme", "pay", "default") == connection()
    assert store.connections.find("globex", "pay", "default") is None
    assert get(store, connection()) == NOISE
    assert store.generation() > before


def test_the_next_version_destroys_the_one_before(store: Store):
    put(store, connection(), NOISE)
    put(store, connection(version=2), replace(NOISE, payload=b"q" * 64))
    assert get(store, connection()) is None
    assert store.connections.all() == (connection(version=2),)


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_that_does_not_follow_is_a_conflict(store: Store, version: int):
    put(store, connection(), NOISE)
    with pytest.raises(StoreConflict, match="try again"):
        put(store, connection(version=version), NOISE)
    assert store.connections.all() == (connection(),)
    assert get(store, connection()) == NOISE


def test_two_connections_of_one_client_and_provider_differ_by_name(store: Store):
    put(store, connection(), NOISE)
    put(store, connection(id="con_2", name="eu"), NOISE)
    assert [one.name for one in store.connections.all()] == ["default", "eu"]


def test_removing_takes_what_is_sealed_along(store: Store):
    put(store, connection(), NOISE)
    before = store.generation()
    assert store.sealed.remove(connection(), lambda before: UNSIGNED)
    assert not store.sealed.remove(connection(), lambda before: UNSIGNED)
    assert store.connections.all() == ()
    assert get(store, connection()) is None
    assert store.generation() > before


def test_a_removed_secret_is_gone_from_the_files_too(sqlite_store: Store):
    mark = b"the-very-bytes-that-were-sealed-" * 4
    file = sqlite_store._database.file
    assert file is not None
    files = [file, file.with_name(file.name + "-wal")]

    def on_disk() -> bool:
        return any(mark in path.read_bytes() for path in files)

    put(sqlite_store, connection(), replace(NOISE, payload=mark))
    assert on_disk()
    put(sqlite_store, connection(version=2), replace(NOISE, wrapped_dek=mark))
    assert on_disk()
    sqlite_store.sealed.remove(connection(), lambda before: UNSIGNED)
    assert not on_disk()


def test_vault_values_are_written_once(store: Store):
    assert store.sealed.value("salt") is None
    assert store.sealed.value_once("salt", b"first") == b"first"
    assert store.sealed.value_once("salt", b"second") == b"first"
    assert store.sealed.value("salt") == b"first"


def test_the_first_key_of_a_client_stays(store: Store):
    store.sealed.first_root(StoredRoot(1, "a test", b"check", b"token key"))
    assert store.sealed.kek_version("acme") is None
    first = StoredKek("acme", 1, b"first", 1)
    store.sealed.add_kek(first)
    store.sealed.add_kek(replace(first, wrapped=b"second"))
    assert store.sealed.kek("acme", 1) == first
    assert store.sealed.kek("acme", 2) is None
    assert store.sealed.kek_version("acme") == 1
    with pytest.raises(StoreConflict, match="root key was replaced"):
        store.sealed.add_kek(StoredKek("acme", 2, b"third", 2))


def test_what_was_sealed_by_a_key_that_is_being_replaced_is_not_kept(store: Store):
    put(store, connection(), NOISE)
    store.sealed.add_kek(StoredKek("acme", 2, b"next", 1))
    with pytest.raises(KekReplaced):
        put(store, connection(version=2), NOISE)
    assert get(store, connection()) == NOISE


def test_a_change_that_the_vault_does_not_sign_is_undone(store: Store):
    put(store, connection(), NOISE)
    epoch = store.sealed.epoch()

    def refuse(before: StoredManifest | None) -> StoredManifest:
        raise StoreConflict("no")

    with pytest.raises(StoreConflict):
        store.sealed.put(connection(version=2), NOISE, refuse)
    assert get(store, connection()) == NOISE
    assert store.sealed.epoch() == epoch


def test_no_sealed_row_stands_without_its_connection(store: Store):
    insert = sa.text(
        "INSERT INTO sealed_credentials (connection, version, kek_version, wrapped_dek, payload) "
        "VALUES ('con_x', 1, 1, '', '')"
    )
    with pytest.raises(sa.exc.IntegrityError), store._database.writing() as database:
        database.execute(insert)
