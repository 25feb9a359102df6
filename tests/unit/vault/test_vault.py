from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from support.samples import connection

from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.vault import RootFile, RootRefused, Vault, VaultRefused, create_root_file, open_root
from tidegate.vault.keys import KEKS_CACHED_MAX


def revealed(fields: dict[str, Secret]) -> dict[str, bytes]:
    return {name: secret.reveal() for name, secret in fields.items()}


def test_what_is_sealed_opens_as_it_was(vault: Vault):
    fields = {"account": b"AC1", "secret": os.urandom(2000), "note": "ä€\0".encode(), "empty": b""}
    made = connection(fields=tuple(fields))
    vault.seal(made, {name: Secret(value) for name, value in fields.items()})
    assert revealed(vault.open(made)) == fields


def test_a_connection_may_hold_nothing(vault: Vault):
    vault.seal(connection(), {})
    assert vault.open(connection()) == {}


def test_the_next_version_takes_the_place_of_the_one_before(vault: Vault):
    vault.seal(connection(), {"token": Secret("old")})
    vault.seal(connection(version=2), {"token": Secret("new")})
    assert revealed(vault.open(connection(version=2))) == {"token": b"new"}
    with pytest.raises(VaultRefused, match="no sealed credential"):
        vault.open(connection())


def test_another_start_opens_what_this_one_sealed(store: Store, root_file: Path):
    first = Vault(store, open_root(RootFile(root_file), store))
    first.seal(connection(), {"token": Secret("kept")})
    second = Vault(store, open_root(RootFile(root_file), store))
    assert revealed(second.open(connection())) == {"token": b"kept"}
    assert second.token_key().matches(first.token_key())
    assert len(second.token_key()) == 32


def test_two_first_starts_agree_on_every_key(store: Store, root_file: Path):
    def start(number: int) -> Vault:
        vault = Vault(store, open_root(RootFile(root_file), store))
        name = f"c{number}"
        vault.seal(connection(id=f"con_{name}", name=name), {"token": Secret(name)})
        return vault

    with ThreadPoolExecutor(4) as pool:
        vaults = list(pool.map(start, range(4)))
    for one in store.connections.all():
        for vault in vaults:
            assert revealed(vault.open(one)) == {"token": one.name.encode()}
    assert all(vault.token_key().matches(vaults[0].token_key()) for vault in vaults)


def test_another_root_key_does_not_start(store: Store, root_file: Path, tmp_path: Path):
    assert Vault.is_new(store)
    Vault(store, open_root(RootFile(root_file), store))
    assert not Vault.is_new(store)
    create_root_file(tmp_path / "keys" / "other.key")
    other = open_root(RootFile(tmp_path / "keys" / "other.key"), store)
    with pytest.raises(RootRefused, match="not the one that sealed this store"):
        Vault(store, other)


def test_nothing_in_the_database_shows_a_secret(sqlite_store: Store, root_file: Path):
    canary = b"canary-2b7e151628aed2a6"
    vault = Vault(sqlite_store, open_root(RootFile(root_file), sqlite_store))
    vault.seal(connection(), {"token": Secret(canary)})
    file = sqlite_store._database.file
    assert file is not None
    stored = b"".join(path.read_bytes() for path in file.parent.iterdir())
    root = bytes.fromhex(root_file.read_text())
    for secret in (canary, vault.token_key().reveal(), root, root.hex().encode()):
        assert secret not in stored


def test_the_same_secret_sealed_twice_looks_different(store: Store, vault: Vault):
    for name in ("a", "b"):
        vault.seal(connection(id=f"con_{name}", name=name), {"token": Secret("same")})
    one, two = (store.sealed.get(each)[0] for each in store.connections.all())
    assert one is not None
    assert two is not None
    assert not {one.payload, one.wrapped_dek} & {two.payload, two.wrapped_dek}


def test_keys_kept_ready_are_bounded(vault: Vault, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tidegate.vault.keys.KEKS_CACHED_MAX", 3)
    made = [connection(id=f"con_{n}", client=f"client-{n}") for n in range(5)]
    for one in made:
        vault.seal(one, {"token": Secret(one.client)})
    assert list(vault.keys._cache._keys) == [("client-2", 1), ("client-3", 1), ("client-4", 1)]
    for one in made:
        assert revealed(vault.open(one)) == {"token": one.client.encode()}
    assert KEKS_CACHED_MAX == 1024


def test_a_refusal_names_the_connection_and_nothing_else(vault: Vault):
    vault.seal(connection(), {"token": Secret("canary-91c0")})
    moved = replace(connection(), origins=("https://evil.test",))
    with pytest.raises(VaultRefused) as refused:
        vault.open(moved)
    assert "`default` of client `acme` at `pay`" in str(refused.value)
    assert "canary" not in str(refused.value)
    assert "evil" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_each_client_s_answers_are_sealed_by_a_key_that_goes_with_it(store: Store, root_file: Path):
    vault = Vault(store, open_root(RootFile(root_file), store))
    ours, theirs = connection(), connection(id="con_o", client="other")
    for one in (ours, theirs):
        vault.seal(one, {"token": Secret("x")})
    clients = [ours.client, theirs.client, "keyless"]

    def keys(of: Vault) -> dict[str | None, bytes]:
        return {name: key.reveal() for name, key in of.cache_keys(clients).items()}

    before = keys(vault)
    assert len(set(before.values())) == 3
    assert {len(key) for key in before.values()} == {32}
    assert keys(Vault(store, open_root(RootFile(root_file), store))) == before
    vault.shred(clients[0])
    after = keys(vault)
    assert after == {name: key for name, key in before.items() if name != ours.client}
    vault.rotate_client(theirs.client)
    assert keys(vault)[theirs.client] != before[theirs.client]
