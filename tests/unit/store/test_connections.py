from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from support.samples import connection

from tidegate.store import SealedCredential, Store, StoreConflict

NOISE = SealedCredential(kek_version=1, wrapped_dek=b"\x00\xff" * 40, payload=b"p" * 64)


def test_a_connection_and_what_is_sealed_come_back_as_they_were(store: Store):
    before = store.generation()
    store.sealed.put(connection(), NOISE)
    assert store.connections.all() == (connection(),)
    assert store.connections.find("acme", "pay", "default") == connection()
    assert store.connections.find("globex", "pay", "default") is None
    assert store.sealed.get(connection()) == NOISE
    assert store.generation() > before


def test_the_next_version_destroys_the_one_before(store: Store):
    store.sealed.put(connection(), NOISE)
    store.sealed.put(connection(version=2), replace(NOISE, payload=b"q" * 64))
    assert store.sealed.get(connection()) is None
    assert store.connections.all() == (connection(version=2),)


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_that_does_not_follow_is_a_conflict(store: Store, version: int):
    store.sealed.put(connection(), NOISE)
    with pytest.raises(StoreConflict, match="try again"):
        store.sealed.put(connection(version=version), NOISE)
    assert store.connections.all() == (connection(),)
    assert store.sealed.get(connection()) == NOISE


def test_two_connections_of_one_client_and_provider_differ_by_name(store: Store):
    store.sealed.put(connection(), NOISE)
    store.sealed.put(connection(id="con_2", name="eu"), NOISE)
    assert [one.name for one in store.connections.all()] == ["default", "eu"]


def test_removing_takes_what_is_sealed_along(store: Store):
    store.sealed.put(connection(), NOISE)
    before = store.generation()
    assert store.connections.remove("con_1")
    assert not store.connections.remove("con_1")
    assert store.connections.all() == ()
    assert store.sealed.get(connection()) is None
    assert store.generation() > before


def test_a_removed_secret_is_gone_from_the_files_too(sqlite_store: Store):
    mark = b"the-very-bytes-that-were-sealed-" * 4
    file = sqlite_store._database.file
    assert file is not None
    files = [file, file.with_name(file.name + "-wal")]

    def on_disk() -> bool:
        return any(mark in path.read_bytes() for path in files)

    sqlite_store.sealed.put(connection(), replace(NOISE, payload=mark))
    assert on_disk()
    sqlite_store.sealed.put(connection(version=2), replace(NOISE, wrapped_dek=mark))
    assert on_disk()
    sqlite_store.connections.remove("con_1")
    assert not on_disk()


def test_vault_values_are_written_once(store: Store):
    assert store.sealed.value("salt") is None
    assert store.sealed.value_once("salt", b"first") == b"first"
    assert store.sealed.value_once("salt", b"second") == b"first"
    assert store.sealed.value("salt") == b"first"


def test_the_first_key_of_a_client_stays(store: Store):
    assert store.sealed.kek_version("acme") is None
    store.sealed.add_kek("acme", 1, b"first")
    store.sealed.add_kek("acme", 1, b"second")
    assert store.sealed.kek("acme", 1) == b"first"
    assert store.sealed.kek("acme", 2) is None
    assert store.sealed.kek_version("acme") == 1


def test_no_sealed_row_stands_without_its_connection(store: Store):
    insert = sa.text(
        "INSERT INTO sealed_credentials (connection, version, kek_version, wrapped_dek, payload) "
        "VALUES ('con_x', 1, 1, '', '')"
    )
    with pytest.raises(sa.exc.IntegrityError), store._database.writing() as database:
        database.execute(insert)
