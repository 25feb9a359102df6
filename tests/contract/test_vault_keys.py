"""Keys are replaced, rows put back are noticed, and a backup comes back: on both databases."""

from __future__ import annotations

import os
from pathlib import Path

import pyrage
import pytest
import sqlalchemy as sa
from support.canaries import may_hold
from support.samples import connection

from tidegate.app import Home, services
from tidegate.app.vaulting import back_up, restore, rotate_root
from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.store.schema import keks, sealed_credentials
from tidegate.vault import RootFile, RootRefused, Vault, VaultLocked, VaultRefused, open_root
from tidegate.vault.backup import BackupRefused
from tidegate.vault.root import next_file
from tidegate.vault.status import status

ONE = connection(id="con_one", name="one")


@pytest.fixture
def home(tmp_path: Path, store_url: str) -> Home:
    # The next root key takes the name of the one before, which stays beside it under a number.
    may_hold(tmp_path / "keys" / "root.key.1")
    return Home(tmp_path / "data", tmp_path / "keys" / "root.key", store_url)


def opened(store: Store, home: Home) -> Vault:
    return Vault(store, open_root(RootFile(home.root_key), store), home.anchor)


def test_a_client_key_is_replaced_and_the_one_before_is_gone(store: Store, vault: Vault):
    vault.seal(ONE, {"token": Secret("kept")})
    before, _ = store.sealed.get(ONE)
    assert vault.rotate_client("acme").version == 2
    after, _ = store.sealed.get(ONE)
    assert before is not None
    assert after is not None
    assert after.kek_version == 2
    assert store.sealed.kek("acme", 1) is None
    assert vault.open(ONE)["token"].reveal() == b"kept"


def test_a_client_rotation_that_was_cut_off_goes_on(store: Store, vault: Vault):
    vault.seal(ONE, {"token": Secret("kept")})
    vault.keys.add("acme")
    assert vault.open(ONE)["token"].reveal() == b"kept"
    assert vault.rotate_client("acme").version == 2
    assert store.sealed.kek("acme", 1) is None
    assert vault.open(ONE)["token"].reveal() == b"kept"


def test_a_next_root_key_that_was_never_written_is_made_anew(home: Home):
    with services(home) as operator:
        operator.make_root_key()
        operator.vault.seal(ONE, {"token": Secret("kept")})
        next_file(home.root_key).touch(0o600)
        assert rotate_root(operator, None, handover_s=0).retired is not None
        assert opened(operator.store, home).open(ONE)["token"].reveal() == b"kept"


def test_a_root_key_is_replaced_under_a_running_vault(home: Home):
    with services(home) as running, services(home) as operator:
        running.make_root_key()
        running.vault.seal(ONE, {"token": Secret("kept")})
        first = home.root_key.read_bytes()
        done = rotate_root(operator, None, handover_s=0)
        assert home.root_key.read_bytes() != first
        assert done.retired is not None
        assert done.retired.read_bytes() == first
        running.vault.keys._cache.keep(set())
        running.vault.follow()
        assert running.vault.open(ONE)["token"].reveal() == b"kept"
        assert opened(running.store, home).open(ONE)["token"].reveal() == b"kept"
        retired = open_root(RootFile(done.retired), running.store)
        with pytest.raises(RootRefused, match="not the one that sealed"):
            Vault(running.store, retired)


@pytest.mark.parametrize("stage", ["begun", "re-wrapped", "promoted"])
def test_a_root_rotation_that_was_cut_off_goes_on(home: Home, stage: str):
    from tidegate.app.roots import next_root
    from tidegate.vault.root import promote_next_file

    with services(home) as cut:
        cut.make_root_key()
        cut.vault.seal(ONE, {"token": Secret("kept")})
        following = next_root(home, cut.store, "file")
        cut.vault.begin_root(following.root, following.values)
        if stage != "begun":
            cut.vault.rewrap()
        if stage == "promoted":
            promote_next_file(home.root_key, 2)
    with services(home) as again:
        assert again.vault.open(ONE)["token"].reveal() == b"kept"
        rotate_root(again, None, handover_s=0)
        (root,) = again.store.sealed.roots()
        assert (root.number, root.handover, root.handback) == (2, None, None)
    with services(home) as fresh:
        assert fresh.vault.open(ONE)["token"].reveal() == b"kept"


def test_an_older_row_put_back_is_refused(store: Store, vault: Vault, root_file: Path):
    """Same version, an older seal of it: what only the manifest can tell."""
    vault.seal(ONE, {"token": Secret("old")})
    with store._database.reading() as database:
        row = dict(database.execute(sa.select(sealed_credentials)).mappings().one())
        kek = dict(database.execute(sa.select(keks)).mappings().one())
    vault.rotate_client("acme")
    with store._database.writing() as database:
        database.execute(keks.insert().values(kek))
        database.execute(sealed_credentials.update().values(row))
    fresh = Vault(store, open_root(RootFile(root_file), store))
    with pytest.raises(VaultRefused, match="rolled back"):
        fresh.open(ONE)
    assert status(fresh, store).clients[0].trouble is not None


def test_a_whole_database_put_back_locks_the_vault(tmp_path: Path, home: Home):
    anchored = Home(home.data, home.root_key, home.store_url, anchor=tmp_path / "elsewhere")
    older = Home(tmp_path / "old", home.root_key, f"sqlite:///{tmp_path}/old/tidegate.db",
                 anchor=anchored.anchor)  # fmt: skip
    with services(anchored) as state:
        state.make_root_key()
        state.vault.seal(ONE, {"token": Secret("old")})
        older.prepare()
        with Store.open(older.store_url) as copy:
            state.store.copy_into(copy)
        state.vault.rotate_client("acme")
        assert opened(state.store, anchored).open(ONE)["token"].reveal() == b"old"
    with Store.open(older.store_url) as store:
        with pytest.raises(VaultLocked, match="older copy"):
            opened(store, older)
        root = open_root(RootFile(home.root_key), store)
        locked = Vault(store, root, older.anchor, look_at_locked=True)
        with pytest.raises(VaultLocked):
            locked.open(ONE)
        locked.acknowledge()
        assert opened(store, older).open(ONE)["token"].reveal() == b"old"
        # The anchor is not given up by leaving its name out.
        with pytest.raises(VaultLocked, match="TIDEGATE_ANCHOR"):
            Vault(store, root)


def test_a_shredded_client_opens_no_more_and_may_come_back(store: Store, vault: Vault):
    vault.seal(ONE, {"token": Secret("gone")})
    assert vault.shred("acme") == 1
    assert store.connections.all() == ()
    assert store.sealed.keks() == []
    with pytest.raises(VaultRefused):
        vault.open(ONE)
    vault.seal(ONE, {"token": Secret("new")})
    assert store.sealed.keks() == [("acme", 2, 1)]
    assert vault.open(ONE)["token"].reveal() == b"new"


def test_a_backup_comes_back_and_its_refresh_tokens_are_suspect(tmp_path: Path, home: Home):
    ours, theirs, other = (pyrage.x25519.Identity.generate() for _ in range(3))
    people = [str(one.to_public()) for one in (ours, theirs)]
    crm = connection(id="con_crm", fields=("client_id", "refresh_token"))
    for name, one in (("ours", theirs), ("other", other)):
        descriptor = os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, f"{one}\n".encode())
        os.close(descriptor)
    with services(home) as state:
        state.make_root_key()
        state.vault.seal(crm, {"client_id": Secret("us"), "refresh_token": Secret("rt-canary")})
        with pytest.raises(BackupRefused, match="2 recipients"):
            back_up(state, tmp_path / "one.age", people[:1])
        back_up(state, tmp_path / "b.age", people)
    written = (tmp_path / "b.age").read_bytes()
    assert home.root_key.read_bytes().strip() not in written
    there = tmp_path / "there"
    target = Home(there / "data", there / "keys" / "root.key", f"sqlite:///{there}/data/t.db")
    with pytest.raises(BackupRefused, match="does not open"):
        restore(target, tmp_path / "b.age", tmp_path / "other")
    done = restore(target, tmp_path / "b.age", tmp_path / "ours")
    assert (done.connections, done.suspects) == (1, 1)
    assert list(target.data.glob("copy-*")) == []
    with services(target) as state:
        assert state.vault.open(crm)["refresh_token"].reveal() == b"rt-canary"
        assert state.store.issued.is_suspect("con_crm")
