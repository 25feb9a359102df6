"""Alter a store as somebody who can write its database: bits, rows, older rows, the whole of it.

Each change is made with SQLite's own library, looked at by a vault that has seen nothing before, and
taken back. A change is *accepted* where that vault opens what was changed.
"""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from tidegate.domain.connection import Connection
from tidegate.domain.secret import Secret
from tidegate.store import Store, StoreError
from tidegate.vault import RootFile, Vault, VaultError, create_root_file, open_root

NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)

# What the vault vouches for. The other columns say when and by whom, and open nothing.
_BOUND: Final[Mapping[str, Sequence[str]]] = {
    "connections": (
        *("id", "client", "provider", "name", "version", "scheme", "origins", "fields"),
    ),
    "sealed_credentials": ("connection", "version", "kek_version", "wrapped_dek", "payload"),
    "issued_tokens": (
        *("connection", "version", "serial", "kek_version", "wrapped_dek", "payload"),
    ),
    "keks": ("client", "version", "wrapped", "root"),
    "manifests": ("client", "epoch", "kek_version", "entries", "mac"),
    "roots": ("key_check", "token_key"),
}
_SEALED: Final = ("kek_version", "wrapped_dek", "payload")


@dataclass(slots=True)
class Tried:
    """How often something was tried; what was accepted, and what was refused without a word for it."""

    tried: int = 0
    accepted: list[str] = field(default_factory=list[str])
    unforeseen: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Place:
    """A store with its root key and, elsewhere, its anchor."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "data" / "tidegate.db"

    @property
    def anchor(self) -> Path:
        return self.folder / "anchor" / "epoch"

    @contextmanager
    def store(self) -> Iterator[Store]:
        with Store.open(f"sqlite:///{self.file}") as store:
            yield store

    def vault(self, store: Store, *, anchored: bool = False) -> Vault:
        """A vault that knows nothing but its root key and what is stored."""
        root = open_root(RootFile(self.folder / "keys" / "root.key"), store)
        return Vault(store, root, self.anchor if anchored else None)


def connection(name: str, client: str = "acme", version: int = 1) -> Connection:
    return Connection(
        id=f"con_{client}_{name}", client=client, provider="pay", name=name, version=version,
        scheme="oauth2 https://id.pay.test/token",
        origins=("https://api.pay.test", "https://files.pay.test"),
        fields=("client_id", "refresh_token"), created_at=NOON, rotated_at=NOON,
    )  # fmt: skip


def make(folder: Path, *, anchored: bool = False) -> Place:
    """Seal credentials and tokens of two clients, two connections each."""
    place = Place(folder)
    create_root_file(folder / "keys" / "root.key")
    place.anchor.parent.mkdir()
    with place.store() as store:
        vault = place.vault(store, anchored=anchored)
        for client, name in itertools.product(("acme", "globex"), ("one", "two")):
            made = connection(name, client)
            vault.seal(made, _fields(made))
            keep_token(store, vault, made)
    return place


def keep_token(store: Store, vault: Vault, made: Connection) -> None:
    """Keep the connection's next token."""
    known = store.issued.get(made.id)
    serial = known.serial if known else 0
    fence = store.issued.take(made, serial, holder="us", now=NOON, until=NOON + timedelta(hours=1))
    if fence is None:
        raise RuntimeError("somebody else asks")
    issued = {"access_token": Secret(f"at-{made.id}-{serial + 1}")}
    ends = NOON + timedelta(hours=1)
    vault.keep_issued(made, fence, serial + 1, issued, issued_at=NOON, expires_at=ends)


def flip_bits(folder: Path, *, every: int = 1) -> Tried:
    """Flip each bit of one row of every table; `every` leaves some out, for a short run."""
    place, tried = make(folder), Tried()
    with place.store() as store, _attack(place) as database:
        look = _Look(place, store)
        for table, columns in _BOUND.items():
            (row,) = database.execute(f"SELECT MIN(rowid) FROM {table}").fetchone()
            for column in columns:
                (good,) = database.execute(
                    f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)
                ).fetchone()
                for bit in range(0, _bits(good), every):
                    _set(database, table, column, row, _flipped(good, bit))
                    look.judge(tried, f"{table}.{column}, bit {bit}", _FIRST)
                    _set(database, table, column, row, good)
        look.require_whole()
    return tried


def swap_rows(folder: Path) -> Tried:
    """Exchange what two rows of a table hold: each column alone, what is sealed together, and all."""
    place, tried = make(folder), Tried()
    with place.store() as store, _attack(place) as database:
        look = _Look(place, store)
        for table, columns in _BOUND.items():
            sealed = tuple(column for column in columns if column in _SEALED)
            sets = [*((column,) for column in columns[1:]), sealed, tuple(columns[1:])]
            rows = [row for (row,) in database.execute(f"SELECT rowid FROM {table}")]
            for one, other in itertools.combinations(rows, 2):
                for names in dict.fromkeys(filter(None, sets)):
                    if not _exchange(database, table, names, (one, other)):
                        continue
                    for whose in dict.fromkeys(
                        _whose(database, table, row) for row in (one, other)
                    ):
                        what = f"{table}: {', '.join(names)} of rows {one} and {other}"
                        look.judge(tried, what, [whose])
                    _exchange(database, table, names, (one, other))
        look.require_whole()
    return tried


def roll_back(folder: Path, *, changes: int) -> tuple[Tried, Tried, Tried]:
    """Make a history, and put older states back: rows; rows with their manifest; the whole database.

    Rows alone must be noticed without an anchor, the rest with one.
    """
    place = make(folder, anchored=True)
    moments = [_keep_copy(place, 0)]
    for number in range(1, changes + 1):
        with place.store() as store:
            _change(store, place.vault(store, anchored=True), number)
        moments.append(_keep_copy(place, number))
    rows, manifests, whole = Tried(), Tried(), Tried()
    for now, later in enumerate(moments):
        for then in range(now):
            earlier = moments[then]
            what = f"{then} at {now}"
            _put_back(place, later)
            _older_rows(place, earlier, rows, what, _ROWS)
            _put_back(place, later)
            _older_rows(
                place, earlier, manifests, what, ((*_ROWS[-1], "manifests"),), anchored=True
            )
            _put_back(place, (earlier[0], later[1]))
            with place.store() as store:
                _Look(place, store, anchored=True).judge(whole, what, _FIRST)
    return rows, manifests, whole


_FIRST: Final = [("acme", "one")]
_ROWS: Final = (
    ("sealed_credentials",),
    ("issued_tokens",),
    ("connections", "sealed_credentials"),
    ("connections", "sealed_credentials", "issued_tokens", "keks"),
)


def _change(store: Store, vault: Vault, number: int) -> None:
    """What happens to a store in its life, one thing after another."""
    (current,) = (c for c in store.connections.all() if c.id == connection("one").id)
    match number % 3:
        case 0:
            vault.rotate_client("acme")
        case 1:
            keep_token(store, vault, current)
        case _:
            following = replace(current, version=current.version + 1)
            vault.seal(following, _fields(following))
            keep_token(store, vault, following)


def _older_rows(
    place: Place,
    earlier: tuple[Path, Path],
    tried: Tried,
    what: str,
    sets: Sequence[Sequence[str]],
    *,
    anchored: bool = False,
) -> None:
    """Put the rows of client `acme`'s first connection back as they were, one set of tables at a time."""
    for tables in sets:
        with _attack(place) as database:
            before = _copy_rows(database, earlier[0], tables)
        if not before:
            continue  # Nothing of it had changed since.
        with place.store() as store:
            said = f"{', '.join(tables)} of {what}"
            _Look(place, store, anchored=anchored).judge(tried, said, _FIRST)
        with _attack(place) as database:
            before(database)


def _copy_rows(
    database: sqlite3.Connection, earlier: Path, tables: Sequence[str]
) -> Callable[[sqlite3.Connection], None] | None:
    """Replace rows by their older selves; returns what takes that back, None where all was the same."""
    where = {"connections": "id", "keks": "client", "manifests": "client"}
    made = connection("one")
    kept: list[tuple[str, str, str, list[Any]]] = []
    changed = False
    database.execute("ATTACH ? AS earlier", (str(earlier),))
    for table in tables:
        column = where.get(table, "connection")
        key = made.client if column == "client" else made.id
        now, then = (
            database.execute(f"SELECT * FROM {which}.{table} WHERE {column} = ?", (key,)).fetchall()
            for which in ("main", "earlier")
        )
        kept.append((table, column, key, now))
        changed = changed or now != then
        _put_rows(database, table, column, key, then)
    database.commit()
    database.execute("DETACH earlier")

    def take_back(database: sqlite3.Connection) -> None:
        for table, column, key, rows in kept:
            _put_rows(database, table, column, key, rows)
        database.commit()

    if changed:
        return take_back
    take_back(database)
    return None


def _put_rows(
    database: sqlite3.Connection, table: str, column: str, key: str, rows: Sequence[Sequence[Any]]
) -> None:
    database.execute(f"DELETE FROM main.{table} WHERE {column} = ?", (key,))
    for row in rows:
        marks = ", ".join("?" * len(row))
        database.execute(f"INSERT INTO main.{table} VALUES ({marks})", row)


def _keep_copy(place: Place, number: int) -> tuple[Path, Path]:
    """Copy the database and its anchor as they are now."""
    folder = place.folder / "moments"
    folder.mkdir(mode=0o700, exist_ok=True)
    file, anchor = folder / f"{number}.db", folder / f"{number}.anchor"
    with closing(sqlite3.connect(place.file)) as source, closing(sqlite3.connect(file)) as copy:
        source.backup(copy)
    shutil.copy(place.anchor, anchor)
    return file, anchor


def _put_back(place: Place, moment: tuple[Path, Path]) -> None:
    file, anchor = moment
    for left in place.file.parent.glob("tidegate.db-*"):
        left.unlink()
    shutil.copyfile(file, place.file)
    shutil.copyfile(anchor, place.anchor)


@contextmanager
def _attack(place: Place) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(place.file)) as database:
        # What is taken back at once need not outlive the power.
        database.execute("PRAGMA synchronous = OFF")
        yield database


class _Look:
    """Looks at a store as a gateway does that starts now, and says what it would take for good."""

    def __init__(self, place: Place, store: Store, *, anchored: bool = False) -> None:
        self._place = place
        self._store = store
        self._anchored = anchored
        self._known = store.connections.all()

    def judge(self, tried: Tried, what: str, whose: Sequence[tuple[str, str]]) -> None:
        """Open what is not as it was; where all connections are, those of `whose`."""
        tried.tried += 1
        try:
            stored = self._store.connections.all()
            strange = [one for one in stored if one not in self._known]
            for one in strange or [one for one in stored if (one.client, one.name) in whose]:
                if self._opens(one):
                    tried.accepted.append(what)
                    return
        except (VaultError, StoreError):
            return
        except Exception as error:  # noqa: BLE001 - it is refused all the same, and is counted
            tried.unforeseen.append(f"{what}: {type(error).__name__}")

    def require_whole(self) -> None:
        """See that all that was changed was taken back: else nothing that was refused says anything."""
        for one in self._known:
            if not self._opens(one):
                raise RuntimeError("the store was not put back as it was")

    def _opens(self, one: Connection) -> bool:
        try:
            vault = self._place.vault(self._store, anchored=self._anchored)
            vault.open(one)
            token = self._store.issued.get(one.id)
            if token is None or token.sealed is None or token.version != one.version:
                return False
            vault.open_issued(one, token.serial, token.sealed)
        except (VaultError, StoreError):
            return False
        return True


def _whose(database: sqlite3.Connection, table: str, row: int) -> tuple[str, str]:
    """Say whose connection a row is about: client and name."""
    if table in {"keks", "manifests"}:
        (client,) = database.execute(
            f"SELECT client FROM {table} WHERE rowid = ?", (row,)
        ).fetchone()
        return client, "one"
    if table == "connections":
        found = database.execute("SELECT client, name FROM connections WHERE rowid = ?", (row,))
        return found.fetchone()
    joined = f"SELECT client, name FROM connections JOIN {table} AS t ON t.connection = id"
    return database.execute(f"{joined} WHERE t.rowid = ?", (row,)).fetchone()


def _exchange(
    database: sqlite3.Connection, table: str, names: Sequence[str], rows: tuple[int, int]
) -> bool:
    """Exchange these columns of two rows; False where they are the same, or the table forbids it."""
    select = f"SELECT rowid, * FROM {table} WHERE rowid = ?"
    one, other = (database.execute(select, (row,)) for row in rows)
    columns = [column for column, *_ in one.description]
    first, second = list(one.fetchone()), list(other.fetchone())
    at = [columns.index(name) for name in names]
    if all(first[place] == second[place] for place in at):
        return False
    for place in at:
        first[place], second[place] = second[place], first[place]
    marks = ", ".join("?" * len(columns))
    try:
        database.execute(f"DELETE FROM {table} WHERE rowid IN (?, ?)", rows)
        for row in (first, second):
            into = f"INSERT INTO {table} (rowid, {', '.join(columns[1:])}) VALUES ({marks})"
            database.execute(into, row)
    except sqlite3.IntegrityError:
        database.rollback()
        return False
    database.commit()
    return True


def _fields(made: Connection) -> dict[str, Secret]:
    refresh = Secret(f"rt-{made.id}-{made.version}")
    return {"client_id": Secret(f"us-{made.id}"), "refresh_token": refresh}


def _bits(value: bytes | str | int) -> int:
    if isinstance(value, int):
        return 31
    return 8 * len(value.encode() if isinstance(value, str) else value)


def _flipped(value: bytes | str | int, bit: int) -> bytes | int:
    if isinstance(value, int):
        return value ^ (1 << bit)
    changed = bytearray(value.encode() if isinstance(value, str) else value)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def _set(database: sqlite3.Connection, table: str, column: str, row: int, value: object) -> None:
    # Bytes that are no text any more stay text all the same, where the column holds text.
    typed = f"iif(typeof({column}) = 'text', CAST(?1 AS TEXT), ?1)"
    database.execute(f"UPDATE {table} SET {column} = {typed} WHERE rowid = ?2", (value, row))
    database.commit()
