from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from support import processes
from support.samples import NOON, declaration

from tidegate.store import Store, StoreRefused, schema
from tidegate.store.database import Database
from tidegate.store.migrate import _MIGRATIONS, migrate


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_log_and_folder_are_for_the_owner_alone(tmp_path: Path):
    folder = tmp_path / "new" / "data"
    before = os.umask(0)
    try:
        with Store.open(f"sqlite:///{folder}/tidegate.db") as store:
            store.revisions.append(declaration(), author="a", note="", at=NOON)
            assert mode(folder) == 0o700
            assert {path.name: mode(path) for path in folder.iterdir()} == {
                "tidegate.db": 0o600,
                "tidegate.db-wal": 0o600,
                "tidegate.db-shm": 0o600,
            }
    finally:
        os.umask(before)


@pytest.mark.parametrize(("what", "bits"), [("file", 0o640), ("folder", 0o755)])
def test_a_file_or_folder_that_others_may_read_is_refused(tmp_path: Path, what: str, bits: int):
    file = tmp_path / "data" / "tidegate.db"
    Store.open(f"sqlite:///{file}").close()
    loose = file if what == "file" else file.parent
    loose.chmod(bits)
    with pytest.raises(StoreRefused, match=f"chmod .00 {loose}"):
        Store.open(f"sqlite:///{file}")


def test_a_link_in_the_place_of_the_file_is_refused(tmp_path: Path):
    (tmp_path / "real.db").touch(0o600)
    (tmp_path / "link.db").symlink_to("real.db")
    with pytest.raises(StoreRefused, match="no link"):
        Store.open(f"sqlite:///{tmp_path}/link.db")


@pytest.mark.parametrize(
    "url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://db.test/x", "/a/file"]
)
def test_other_urls_are_refused_without_being_repeated(url: str):
    with pytest.raises(StoreRefused, match="URL must"):
        Store.open(url)


def test_sqlite_is_told_to_overwrite_and_to_keep_its_promises(sqlite_store: Store):
    with sqlite_store._database.reading() as connection:
        told = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "secure_delete", "foreign_keys", "temp_store")
        }
    assert told == {"journal_mode": "wal", "secure_delete": 1, "foreign_keys": 1, "temp_store": 2}


def test_writes_are_synced_and_only_call_records_are_not(sqlite_store: Store):
    def synchronous(*, relaxed: bool) -> int:
        with sqlite_store._database.writing(relaxed=relaxed) as connection:
            return connection.exec_driver_sql("PRAGMA synchronous").scalar_one()

    full, normal = 2, 1
    assert [synchronous(relaxed=relaxed) for relaxed in (False, True, False)] == [
        full,
        normal,
        full,
    ]


def test_migrations_lead_to_the_tables_that_the_code_uses(store: Store):
    with store._database.reading() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == schema.HEAD
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_opening_again_keeps_what_is_there(store_url: str):
    with Store.open(store_url) as store:
        store.revisions.append(declaration(), author="a", note="", at=NOON)
    with Store.open(store_url) as store:
        assert store.revisions.current() is not None


def test_a_database_of_a_newer_tidegate_is_refused(store_url: str):
    with Store.open(store_url) as store, store._database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreRefused, match="newer Tidegate"):
        Store.open(store_url)


def test_many_processes_may_open_a_new_store_at_once(store_url: str):
    running = [processes.start(processes.open_store, store_url) for _ in range(6)]
    assert [pipe.recv() for _, pipe in running] == ["opened"] * 6
    for process, pipe in running:
        process.join()
        pipe.close()


def test_an_interrupted_migration_leaves_nothing_behind(store_url: str):
    database = Database(store_url)
    executed: list[str] = []

    def stop_halfway(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        executed.append(statement)
        if "CREATE TABLE calls" in statement:
            raise KeyboardInterrupt

    sa.event.listen(database._engine, "before_cursor_execute", stop_halfway)
    with pytest.raises(KeyboardInterrupt):
        migrate(database)
    assert any("CREATE TABLE keks" in statement for statement in executed)
    with database.reading() as connection:
        assert sa.inspect(connection).get_table_names() == []
    database.close()
    Store.open(store_url).close()


def test_a_copy_that_lost_its_log_mode_gets_it_back(tmp_path: Path, sqlite_store: Store):
    copy = tmp_path / "data" / "copy.db"
    with sqlite3.connect(sqlite_store._database.file) as original:
        original.execute(f"VACUUM INTO '{copy}'")
    original.close()
    copy.chmod(0o600)
    with Store.open(f"sqlite:///{copy}") as store:
        assert store._database.is_write_ahead()


def test_generation_grows_with_what_the_snapshot_depends_on(store_url: str):
    with Store.open(store_url) as store, Store.open(store_url) as other:
        before = store.generation()
        other.revisions.append(declaration(), author="a", note="", at=NOON)
        assert store.generation() > before


def test_a_second_opening_in_one_process_leaves_the_first_its_locks(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/data/tidegate.db"
    with Store.open(url) as first:
        first.generation()
        Store.open(url).close()
        # Who leaves last takes the log away: another process must see that somebody is still there.
        assert revisions_seen_elsewhere(url) == 0
        first.revisions.append(declaration(), author="a", note="", at=NOON)
        assert revisions_seen_elsewhere(url) == 1


def revisions_seen_elsewhere(url: str) -> int:
    code = (
        "from tidegate.store import Store\n"
        f"with Store.open({url!r}) as store: print(len(store.revisions.all()))"
    )
    seen = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return int(seen.stdout)
