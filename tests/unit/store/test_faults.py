"""What happens to the store when the machine does not do its part."""

from __future__ import annotations

import contextlib
import random  # noqa: TID251 - seeded, so that each run has the same kills
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from support import processes
from support.postgresql import PostgreSQL, postgresql_cluster
from support.samples import NOON, call, connection, declaration

from tidegate.domain.secret import Secret
from tidegate.store import (
    SealedCredential,
    Store,
    StoredKek,
    StoredManifest,
    StoredRoot,
    StoreError,
    StoreUnavailable,
)
from tidegate.vault import RootFile, Vault, open_root

KILLS = 30


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process's transaction that does not end."""
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_kill_at_any_write_loses_and_breaks_nothing(tmp_path: Path, root_file: Path):
    url = f"sqlite:///{tmp_path}/data/tidegate.db"
    rng = random.Random(20260301)
    acknowledged: list[str] = []
    for round_number in range(KILLS):
        writer, pipe = processes.start(
            processes.seal_without_end, url, root_file, round_number * 100_000
        )
        acknowledged.append(pipe.recv())
        # The delay is what is tested: it lets the kill fall anywhere in a write.
        time.sleep(rng.uniform(0, 0.02))
        writer.kill()
        writer.join()
        with contextlib.suppress(EOFError):
            while True:
                acknowledged.append(pipe.recv())
        pipe.close()

    with sqlite3.connect(tmp_path / "data" / "tidegate.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    with Store.open(url) as store:
        vault = Vault(store, open_root(RootFile(root_file), store))
        stored = {one.name: one for one in store.connections.all()}
        for name in acknowledged:
            assert stored[name].version == 2
            assert vault.open(stored[name])["token"].reveal() == f"second-{name}".encode()
        # What was not acknowledged is there whole, in one version or the other, or not at all.
        for one in stored.values():
            assert vault.open(one)["token"].reveal().endswith(f"-{one.name}".encode())


def test_a_locked_store_refuses_writes_in_time_and_still_reads(sqlite_store: Store):
    sqlite_store.revisions.append(declaration(), author="a", note="", at=NOON)
    file = sqlite_store._database.file
    assert file is not None
    with locked(file):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked by another process"):
            sqlite_store.calls.add([call(1)])
        assert time.monotonic() - began < 5
        assert sqlite_store.revisions.current() is not None
        assert sqlite_store.generation() == 1
    assert sqlite_store.calls.add([call(1)]) == 1


def test_a_full_disk_is_told_and_nothing_is_half_written(sqlite_store: Store):
    sqlite_store.calls.add([call(1)])
    with sqlite_store._database.reading() as database:
        pages = database.exec_driver_sql("PRAGMA page_count").scalar_one()
    full = [call(n, detail="x" * 4000) for n in range(2, 60)]
    # The limit belongs to the pool's one connection, which the next transaction uses again.
    with sqlite_store._database.reading() as database:
        database.exec_driver_sql(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(StoreUnavailable, match="full"):
        sqlite_store.calls.add(full)
    with sqlite_store._database.reading() as database:
        database.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert sqlite_store.calls.recent().calls == (call(1),)
    assert sqlite_store.calls.add(full) == len(full)
    assert sum(usage.calls for usage in sqlite_store.calls.usage()) == len(full) + 1


def test_a_damaged_file_is_told(tmp_path: Path):
    file = tmp_path / "data" / "tidegate.db"
    Store.open(f"sqlite:///{file}").close()
    file.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreUnavailable, match="damaged"):
        Store.open(f"sqlite:///{file}")


def test_errors_quote_no_row(store: Store):
    secret_like = "canary-8d1f0c"
    noise = SealedCredential(1, secret_like.encode(), secret_like.encode())
    unsigned = StoredManifest(epoch=1, kek_version=1, entries=b"", mac=b"")
    store.sealed.first_root(StoredRoot(1, "a test", b"check", b"token key"))
    store.sealed.add_kek(StoredKek("acme", 1, b"wrapped", 1))
    store.sealed.put(connection(), noise, lambda before: unsigned)
    with pytest.raises(sa.exc.IntegrityError) as refused:
        store.sealed.put(connection(id="con_1", name="other"), noise, lambda before: unsigned)
    chain: list[BaseException | None] = [refused.value]
    while chain[-1] is not None:
        chain.append(chain[-1].__cause__ or chain[-1].__context__)
    assert all(secret_like not in f"{error!r} {error}" for error in chain)


@pytest.fixture
def own_postgresql() -> Iterator[PostgreSQL]:
    """One that the test may stop."""
    with postgresql_cluster() as cluster:
        yield cluster


def test_postgresql_may_go_and_come_back(own_postgresql: PostgreSQL):
    with own_postgresql.running():
        store = Store.open(own_postgresql.new_database())
        store.calls.add([call(1)])
    for attempt in (
        lambda: store.calls.add([call(2)]),
        store.generation,
        store.revisions.current,
        lambda: store.tokens.touch({"tok_1": NOON}),
    ):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="PostgreSQL at `postgresql"):
            attempt()
        assert time.monotonic() - began < 5
    with own_postgresql.running():
        assert store.calls.add([call(1), call(2)]) == 1
        store.close()


def test_an_absent_postgresql_is_told_without_its_password(tmp_path: Path):
    with pytest.raises(StoreError) as refused:
        Store.open(f"postgresql+psycopg://me:hunter-2-canary@/db?host={tmp_path}")
    assert "hunter-2-canary" not in str(refused.value)


def test_a_role_that_may_not_write_is_told(postgresql: PostgreSQL):
    url = postgresql.new_database()
    with Store.open(url) as store, store._database.writing() as database:
        database.exec_driver_sql("DROP ROLE IF EXISTS reader")
        database.exec_driver_sql("CREATE ROLE reader LOGIN")
        database.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    with (
        Store.open(url.replace(f"//{postgresql.user}@", "//reader@")) as store,
        pytest.raises(StoreError, match="role `reader`"),
    ):
        store.calls.add([call(1)])
    with Store.open(url) as store, store._database.writing() as database:
        database.exec_driver_sql("DROP OWNED BY reader")
        database.exec_driver_sql("DROP ROLE reader")


def test_the_owner_is_asked_for_when_the_file_cannot_be_opened(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(f"sqlite:///{tmp_path}/file/tidegate.db")


def test_what_was_moved_away_is_found_in_its_new_place(tmp_path: Path, root_file: Path):
    with Store.open(f"sqlite:///{tmp_path}/data/tidegate.db") as store:
        vault = Vault(store, open_root(RootFile(root_file), store))
        vault.seal(connection(), {"token": Secret("kept")})
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    with Store.open(f"sqlite:///{tmp_path}/moved/tidegate.db") as store:
        vault = Vault(store, open_root(RootFile(root_file), store))
        assert vault.open(connection())["token"].reveal() == b"kept"
