"""Each client has roots of its own, which end with it; nobody changes them unnoticed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.samples import connection

from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.store.schema import manifests, protection_roots
from tidegate.vault import RootFile, Vault, VaultRefused, open_root


def again(store: Store, root_file: Path) -> Vault:
    """A vault with nothing cached."""
    return Vault(store, open_root(RootFile(root_file), store))


def shown(vault: Vault, client: str = "acme") -> list[tuple[int, bytes]]:
    return [(number, root.reveal()) for number, root in vault.protection(client)]


def execute(store: Store, statement: Any) -> None:
    with store._database.writing() as database:
        # An insert of several rows says no count on PostgreSQL.
        assert database.execute(statement).rowcount != 0


def rows(store: Store, table: sa.Table) -> list[dict[str, Any]]:
    with store._database.reading() as database:
        return [dict(row) for row in database.execute(sa.select(table)).mappings()]


def of(client: str, number: int = 1) -> Any:
    column = protection_roots.c
    return sa.and_(column.client == client, column.version == number)


def test_the_first_root_is_made_when_it_is_asked_for_and_stays(store: Store, root_file: Path):
    first = shown(again(store, root_file))
    assert [number for number, _ in first] == [1]
    assert len(first[0][1]) == 32
    assert shown(again(store, root_file)) == first


def test_no_two_clients_share_a_root(vault: Vault):
    roots = {shown(vault, client)[0][1] for client in ("acme", "globex", "initech")}
    assert len(roots) == 3


def test_after_a_rotation_the_one_before_is_still_there(store: Store, vault: Vault):
    before = shown(vault)
    generation = store.generation()
    assert vault.rotate_protection("acme") == 2
    after = shown(vault)
    assert after[:1] == before
    assert [number for number, _ in after] == [1, 2]
    assert store.generation() > generation


def test_rotating_at_once_gives_every_gateway_the_same_roots(store: Store, root_file: Path):
    vaults = [again(store, root_file) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(shown, vaults))
    assert all(one == found[0] for one in found)
    assert [number for number, _ in found[0]] == [1]


def test_another_key_of_the_client_seals_the_same_roots_anew(store: Store, root_file: Path):
    vault = again(store, root_file)
    vault.seal(connection(), {"token": Secret("kept")})
    vault.rotate_protection("acme")
    before, sealed = shown(vault), rows(store, protection_roots)
    assert vault.rotate_client("acme").version == 2
    assert shown(again(store, root_file)) == before
    resealed = rows(store, protection_roots)
    assert [row["kek_version"] for row in resealed] == [2, 2]
    assert all(old["sealed"] != new["sealed"] for old, new in zip(sealed, resealed, strict=True))
    assert {version for _, version, _ in store.sealed.keks()} == {2}


def test_shredding_a_client_destroys_its_roots(store: Store, vault: Vault):
    before = shown(vault)
    others = shown(vault, "globex")
    vault.shred("acme")
    assert [row["client"] for row in rows(store, protection_roots)] == ["globex"]
    assert shown(vault, "globex") == others
    # A client that comes back has others.
    assert shown(vault)[0][1] != before[0][1]


def test_a_root_is_refused_that_was_altered_moved_or_removed(store: Store, root_file: Path):
    vault = again(store, root_file)
    shown(vault)
    theirs = shown(vault, "globex")
    vault.rotate_protection("acme")
    kept = rows(store, protection_roots)
    by_number = {(row["client"], row["version"]): row["sealed"] for row in kept}
    for change in (
        protection_roots.update().where(of("acme")).values(sealed=by_number["globex", 1]),
        protection_roots.update().where(of("acme")).values(sealed=by_number["acme", 2]),
        protection_roots.update().where(of("acme", 2)).values(sealed=b"\x01" + bytes(60)),
        protection_roots.update().where(of("acme", 2)).values(version=3),
        protection_roots.update().where(of("acme")).values(kek_version=2),
        protection_roots.delete().where(of("acme", 2)),
        protection_roots.delete().where(of("acme")),
    ):
        execute(store, change)
        with pytest.raises(VaultRefused):
            shown(again(store, root_file))
        assert shown(again(store, root_file), "globex") == theirs
        execute(store, protection_roots.delete())
        execute(store, protection_roots.insert().values(kept))
    assert [number for number, _ in shown(again(store, root_file))] == [1, 2]


def test_a_root_that_was_rolled_back_together_with_its_manifest_is_seen(
    store: Store, root_file: Path
):
    vault = again(store, root_file)
    shown(vault)
    old_roots, old_manifests = rows(store, protection_roots), rows(store, manifests)
    vault.rotate_protection("acme")
    shown(vault)
    for table, old in ((protection_roots, old_roots), (manifests, old_manifests)):
        execute(store, table.delete())
        execute(store, table.insert().values(old))
    # The process that knew the newer one does not take the older one.
    with pytest.raises(VaultRefused):
        shown(vault)
