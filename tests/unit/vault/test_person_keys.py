"""A person of a client has one key, whoever makes it; destroyed it leaves nothing, and nobody gets another's."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from support import processes
from support.samples import connection

from tidegate.domain.ledger import Suppression
from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.store.schema import person_keys
from tidegate.vault import RootFile, Vault, VaultRefused, open_root

ADA, BOB = b"a" * 32, b"b" * 32


def again(store: Store, root_file: Path) -> Vault:
    """A vault with nothing cached."""
    return Vault(store, open_root(RootFile(root_file), store))


def key(vault: Vault, subject: bytes = ADA, client: str = "acme") -> tuple[bytes, bytes]:
    found = vault.person_keys.of(client, [subject], suppressed_too=False)
    id_, secret = found[subject]
    return id_, secret.reveal()


def raw(store: Store) -> list[dict[str, object]]:
    with store._database.reading() as database:
        return [dict(row) for row in database.execute(sa.select(person_keys)).mappings()]


def test_a_person_has_one_key_for_each_client_and_no_two_share_one(store: Store, root_file: Path):
    vault = again(store, root_file)
    id_, secret = key(vault)
    assert (len(id_), len(secret)) == (16, 32)
    assert key(again(store, root_file)) == (id_, secret)
    others = [key(vault, BOB), key(vault, ADA, "globex")]
    assert len({id_, *(one for one, _ in others)}) == len({secret, *(s for _, s in others)}) == 3
    found = vault.person_keys.with_ids("acme", [id_, others[1][0], os.urandom(16)])
    assert [(one, s.reveal()) for one, s in found] == [(id_, secret)]
    stored = b"".join(bytes(row["sealed"]) for row in raw(store))
    assert secret not in stored


def test_a_destroyed_key_is_gone_and_the_next_one_is_another(store: Store, vault: Vault):
    before, generation = key(vault), store.generation()
    assert vault.person_keys.destroy("acme", ADA)
    assert store.generation() > generation
    assert vault.person_keys.with_ids("acme", [before[0]]) == []
    assert not vault.person_keys.destroy("acme", ADA)
    after = key(vault)
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_nothing_of_a_destroyed_key_is_left_in_the_files(sqlite_store: Store, root_file: Path):
    vault = again(sqlite_store, root_file)
    for subject in (ADA, BOB):
        key(vault, subject)
    (sealed,) = (row["sealed"] for row in raw(sqlite_store) if row["subject"] == ADA)
    file = sqlite_store._database.file
    assert file is not None
    wal = file.with_name(file.name + "-wal")
    assert bytes(sealed) in file.read_bytes() + wal.read_bytes()
    vault.person_keys.destroy("acme", ADA)
    assert bytes(sealed) not in file.read_bytes() + wal.read_bytes()
    assert key(vault, BOB)


def test_another_root_or_key_of_the_client_leaves_keys_as_they_are(
    sqlite_store: Store, root_file: Path
):
    vault = again(sqlite_store, root_file)
    vault.seal(connection(), {"token": Secret("kept")})
    before = key(vault)
    vault.rotate_protection("acme")
    vault.rotate_client("acme")
    assert key(again(sqlite_store, root_file)) == before
    key(vault, BOB)
    assert {row["subject"]: row["root"] for row in raw(sqlite_store)} == {ADA: 1, BOB: 2}


def test_a_shredded_clients_keys_are_gone_and_nobody_elses(store: Store, vault: Vault):
    vault.seal(connection(), {"token": Secret("kept")})
    key(vault)
    other = key(vault, ADA, "globex")
    vault.shred("acme")
    assert [row["client"] for row in raw(store)] == ["globex"]
    assert key(vault, ADA, "globex") == other


@pytest.mark.parametrize("column", ["sealed", "id", "root", "subject", "client"])
def test_a_row_that_was_altered_or_moved_does_not_open(
    sqlite_store: Store, root_file: Path, column: str
):
    vault = again(sqlite_store, root_file)
    key(vault)
    changed = {"sealed": b"x" * 61, "id": b"i" * 16, "root": 2, "subject": BOB, "client": "globex"}
    with sqlite_store._database.writing() as database:
        database.execute(person_keys.update().values({column: changed[column]}))
    (row,) = raw(sqlite_store)
    with pytest.raises(VaultRefused, match="does not open"):
        vault.person_keys.of(str(row["client"]), [bytes(row["subject"])], suppressed_too=False)


def test_who_is_suppressed_gets_no_key_unless_calls_about_them_go(store: Store, vault: Vault):
    store.subjects.suppress(Suppression("acme", ADA, "email", datetime.now(UTC), "anna", "dsr_1"))
    assert vault.person_keys.of("acme", [ADA], suppressed_too=False) == {}
    assert raw(store) == []
    assert vault.person_keys.of("acme", [ADA], suppressed_too=True)


def test_gateways_that_make_a_key_at_once_have_the_same(sqlite_store: Store, root_file: Path):
    vaults = [again(sqlite_store, root_file) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(key, vaults))
    assert len(set(found)) == 1
    assert len(raw(sqlite_store)) == 1


def test_processes_that_make_keys_at_once_have_the_same(
    store: Store, store_url: str, root_file: Path
):
    subjects = [bytes([n]) * 32 for n in range(5)]
    again(store, root_file).protection("acme")
    running = [
        processes.start(processes.make_person_keys, store_url, root_file, subjects)
        for _ in range(2)
    ]
    found = [pipe.recv() for _, pipe in running]
    for process, _ in running:
        process.join()
    assert found[0] == found[1]
    assert len(set(found[0])) == len(raw(store)) == 5


def test_a_key_cannot_be_made_between_an_erasure_and_its_end(store: Store, root_file: Path):
    """Whatever order they come in: once somebody is suppressed and their key destroyed, there is none."""
    for number in range(3):
        subject = bytes([number]) * 32
        maker, eraser = again(store, root_file), again(store, root_file)
        one = Suppression("acme", subject, "email", datetime.now(UTC), "anna", "dsr_1")

        def erase(vault: Vault = eraser, one: Suppression = one) -> None:
            store.subjects.suppress(one)
            vault.person_keys.destroy("acme", one.index)

        with ThreadPoolExecutor(2) as pool:
            making = pool.submit(maker.person_keys.of, "acme", [subject], suppressed_too=False)
            pool.submit(erase).result()
            making.result()
    assert raw(store) == []


def test_a_backup_made_before_holds_the_key_and_one_made_after_does_not(
    sqlite_store: Store, root_file: Path, tmp_path: Path
):
    """What the guide says of backups, shown: an erasure is to be made again after an older one is restored."""
    vault = again(sqlite_store, root_file)
    before = key(vault)
    with Store.open(f"sqlite:///{tmp_path}/old/tidegate.db") as old:
        sqlite_store.copy_into(old)
        vault.person_keys.destroy("acme", ADA)
        with Store.open(f"sqlite:///{tmp_path}/new/tidegate.db") as new:
            sqlite_store.copy_into(new)
            assert raw(new) == []
        assert key(again(old, root_file)) == before
        assert asdict(old.person_keys.of("acme", [ADA])[0])["id"] == before[0]
