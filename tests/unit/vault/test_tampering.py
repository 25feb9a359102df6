"""Whoever can write the database can destroy a secret, but not read it and not lead it astray."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.samples import connection

from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.store.schema import connections, keks, roots, sealed_credentials
from tidegate.vault import RootFile, RootRefused, Vault, VaultError, VaultRefused, open_root

HERS = connection(id="con_hers", client="acme")
HERS_TOO = connection(id="con_hers_too", client="acme", name="second")
THEIRS = connection(id="con_theirs", client="globex")
ALL = (HERS, HERS_TOO, THEIRS)


@pytest.fixture
def sealed(store: Store, vault: Vault) -> Store:
    for one in ALL:
        vault.seal(one, {"token": Secret(f"secret of {one.id}")})
    return store


def again(store: Store, root_file: Path) -> Vault:
    """A vault with nothing cached."""
    return Vault(store, open_root(RootFile(root_file), store))


def change(store: Store, table: sa.Table, where: Mapping[str, Any], **values: Any) -> None:
    conditions = [table.c[name] == value for name, value in where.items()]
    with store._database.writing() as database:
        assert database.execute(table.update().where(*conditions).values(values)).rowcount == 1


def stored(store: Store, table: sa.Table, column: str, **where: Any) -> Any:
    conditions = [table.c[name] == value for name, value in where.items()]
    with store._database.reading() as database:
        return database.execute(sa.select(table.c[column]).where(*conditions)).scalar_one()


def refuses(store: Store, root_file: Path, connection_id: str) -> bool:
    (one,) = [c for c in store.connections.all() if c.id == connection_id]
    with pytest.raises(VaultRefused):
        again(store, root_file).open(one)
    return True


@pytest.mark.parametrize(
    ("table", "column", "where"),
    [
        (sealed_credentials, "payload", {"connection": "con_hers"}),
        (sealed_credentials, "wrapped_dek", {"connection": "con_hers"}),
        (keks, "wrapped", {"client": "acme"}),
    ],
    ids=lambda value: value.name if isinstance(value, sa.Table) else None,
)
def test_every_flipped_bit_is_refused(
    sqlite_store: Store, root_file: Path, table: sa.Table, column: str, where: dict[str, str]
):
    vault = again(sqlite_store, root_file)
    vault.seal(HERS, {"token": Secret("secret")})
    good: bytes = stored(sqlite_store, table, column, **where)
    for byte in range(len(good)):
        bad = bytearray(good)
        bad[byte] ^= 1 << (byte % 8)
        change(sqlite_store, table, where, **{column: bytes(bad)})
        vault.keys._cache.keep(set())
        with pytest.raises(VaultRefused):
            vault.open(HERS)
    for shorter in (b"", good[:1], good[:13], good[:-1], good + b"\0"):
        change(sqlite_store, table, where, **{column: shorter})
        vault.keys._cache.keep(set())
        with pytest.raises(VaultRefused):
            vault.open(HERS)
    change(sqlite_store, table, where, **{column: good})
    vault.keys._cache.keep(set())
    assert vault.open(HERS)["token"].reveal() == b"secret"


@pytest.mark.parametrize(
    "altered",
    [
        {"client": "globex", "name": "moved"},
        {"provider": "maps"},
        {"name": "other"},
        {"scheme": "query"},
        {"origins": ("https://evil.test", "https://files.pay.test")},
        {"origins": ("https://api.pay.test",)},
        {"origins": ("https://files.pay.test", "https://api.pay.test")},
        {"origins": ("https://api.pay.test,https://files.pay.test",)},
        {"fields": ("username",)},
        {"version": 2},
        {"version": 0},
    ],
    ids=str,
)
def test_an_altered_connection_does_not_open(
    sealed: Store, root_file: Path, altered: dict[str, Any]
):
    change(sealed, connections, {"id": "con_hers"}, **altered)
    if "version" in altered:
        change(sealed, sealed_credentials, {"connection": "con_hers"}, **altered)
    assert refuses(sealed, root_file, "con_hers")


@pytest.mark.parametrize("source", ["con_hers_too", "con_theirs"])
def test_a_secret_moved_from_another_row_does_not_open(sealed: Store, root_file: Path, source: str):
    moved = {
        column: stored(sealed, sealed_credentials, column, connection=source)
        for column in ("payload", "wrapped_dek")
    }
    for part in ({"payload": moved["payload"]}, {"wrapped_dek": moved["wrapped_dek"]}, moved):
        change(sealed, sealed_credentials, {"connection": "con_hers"}, **part)
        assert refuses(sealed, root_file, "con_hers")


def test_a_client_key_moved_to_another_client_does_not_open(sealed: Store, root_file: Path):
    change(
        sealed, keks, {"client": "acme"}, wrapped=stored(sealed, keks, "wrapped", client="globex")
    )
    assert refuses(sealed, root_file, "con_hers")
    (theirs,) = [one for one in sealed.connections.all() if one.id == "con_theirs"]
    assert again(sealed, root_file).open(theirs)["token"].reveal() == b"secret of con_theirs"


def test_a_whole_client_renamed_does_not_open(sealed: Store, root_file: Path):
    change(sealed, keks, {"client": "acme"}, client="evil")
    change(sealed, connections, {"id": "con_hers"}, client="evil")
    assert refuses(sealed, root_file, "con_hers")


@pytest.mark.parametrize("kek_version", [0, 2, -1])
def test_another_key_version_does_not_open(sealed: Store, root_file: Path, kek_version: int):
    change(sealed, sealed_credentials, {"connection": "con_hers"}, kek_version=kek_version)
    assert refuses(sealed, root_file, "con_hers")


def test_an_old_row_put_back_under_a_newer_version_does_not_open(
    sealed: Store, vault: Vault, root_file: Path
):
    old, _ = sealed.sealed.get(HERS)
    assert old is not None
    vault.seal(connection(id="con_hers", version=2), {"token": Secret("new")})
    where = {"connection": "con_hers"}
    change(sealed, sealed_credentials, where, payload=old.payload, wrapped_dek=old.wrapped_dek)
    assert refuses(sealed, root_file, "con_hers")


def test_a_deleted_client_key_is_told_as_such_when_sealing_again(sealed: Store, root_file: Path):
    change(sealed, keks, {"client": "acme"}, wrapped=b"\x01" + bytes(60))
    with pytest.raises(VaultRefused, match="key of client `acme`"):
        again(sealed, root_file).seal(
            connection(id="con_new", name="new"), {"token": Secret("anything")}
        )


@pytest.mark.parametrize(
    ("column", "error"), [("key_check", RootRefused), ("token_key", VaultRefused)]
)
def test_the_vault_does_not_start_on_altered_values_of_its_own(
    sealed: Store, root_file: Path, column: str, error: type[VaultError]
):
    good: bytes = stored(sealed, roots, column, number=1)
    for byte in range(0, len(good), 5):
        bad = bytearray(good)
        bad[byte] ^= 0x10
        change(sealed, roots, {"number": 1}, **{column: bytes(bad)})
        with pytest.raises(error):
            again(sealed, root_file)


def test_the_vaults_values_do_not_stand_in_for_each_other(sealed: Store, root_file: Path):
    change(sealed, roots, {"number": 1}, token_key=stored(sealed, roots, "key_check", number=1))
    with pytest.raises(VaultRefused):
        again(sealed, root_file)
