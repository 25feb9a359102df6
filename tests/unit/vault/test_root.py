from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.vault import (
    Root,
    RootEnvironment,
    RootFile,
    RootPassphrase,
    RootRefused,
    Vault,
    create_root_file,
    open_root,
)

GOOD = "ab" * 32


def refused(store: Store, path: Path) -> str:
    with pytest.raises(RootRefused) as refusal:
        open_root(RootFile(path), store)
    return str(refusal.value)


def test_a_new_key_file_is_for_its_owner_alone(tmp_path: Path):
    path = tmp_path / "new" / "root.key"
    before = os.umask(0)
    try:
        create_root_file(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(bytes.fromhex(path.read_text())) == 32


def test_a_key_file_is_never_overwritten(root_file: Path):
    before = root_file.read_bytes()
    with pytest.raises(RootRefused, match="never overwritten"):
        create_root_file(root_file)
    (root_file.parent / "link.key").symlink_to("nowhere")
    with pytest.raises(RootRefused, match="never overwritten"):
        create_root_file(root_file.parent / "link.key")
    assert root_file.read_bytes() == before
    assert not (root_file.parent / "nowhere").exists()


def test_two_new_keys_differ(tmp_path: Path):
    keys = {
        (create_root_file(tmp_path / n), (tmp_path / n).read_text())[1] for n in ("a.key", "b.key")
    }
    assert len(keys) == 2


def test_a_key_file_opens_without_a_weakness(sqlite_store: Store, root_file: Path):
    root = open_root(RootFile(root_file), sqlite_store)
    assert root.key.reveal() == bytes.fromhex(root_file.read_text())
    assert root.weakness is None
    assert "key=Secret(…)" in repr(root)


def test_a_missing_key_is_told_and_none_is_made(sqlite_store: Store, tmp_path: Path):
    path = tmp_path / "keys" / "root.key"
    assert "missing" in refused(sqlite_store, path)
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_may_read_is_refused(sqlite_store: Store, root_file: Path, mode: int):
    root_file.chmod(mode)
    assert f"chmod 600 {root_file}" in refused(sqlite_store, root_file)


def test_a_key_that_others_may_replace_is_refused(sqlite_store: Store, root_file: Path):
    root_file.parent.chmod(0o770)
    assert "chmod go-w" in refused(sqlite_store, root_file)


def test_a_link_in_the_place_of_the_key_is_refused(sqlite_store: Store, root_file: Path):
    link = root_file.with_name("link.key")
    link.symlink_to(root_file)
    assert "no link" in refused(sqlite_store, link)


def test_a_second_name_of_the_key_is_refused(sqlite_store: Store, root_file: Path, tmp_path: Path):
    (tmp_path / "data" / "copy.key").hardlink_to(root_file)
    assert "hard link" in refused(sqlite_store, root_file)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_is_refused_without_waiting(
    sqlite_store: Store, tmp_path: Path, make: Callable[[Path, int], None]
):
    make(tmp_path / "thing", 0o600)
    assert "not a file" in refused(sqlite_store, tmp_path / "thing")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_key_of_another_user_is_refused(sqlite_store: Store, root_file: Path):
    os.chown(root_file, 65534, 65534)
    assert "another user" in refused(sqlite_store, root_file)


@pytest.mark.parametrize("below", ["root.key", "deep/er/root.key"])
def test_a_key_beside_the_data_is_refused(sqlite_store: Store, below: str):
    assert sqlite_store.directory is not None
    path = sqlite_store.directory / below
    create_root_file(path)
    assert "beside the data" in refused(sqlite_store, path)


def test_a_key_beside_the_data_by_another_path_is_refused(sqlite_store: Store, tmp_path: Path):
    assert sqlite_store.directory is not None
    create_root_file(sqlite_store.directory / "root.key")
    (tmp_path / "elsewhere").symlink_to(sqlite_store.directory)
    assert "beside the data" in refused(sqlite_store, tmp_path / "elsewhere" / "root.key")
    around = tmp_path / "x" / ".." / "data" / "root.key"
    (tmp_path / "x").mkdir()
    assert "beside the data" in refused(sqlite_store, around)


@pytest.mark.parametrize(
    "content",
    ["", "ab", GOOD[:-1], GOOD + "a", GOOD + "\n\n", GOOD.upper(), "zz" * 32, GOOD + "\n" + GOOD],
)
def test_what_is_no_key_is_refused_without_being_shown(
    sqlite_store: Store, tmp_path: Path, content: str
):
    path = tmp_path / "root.key"
    path.touch(0o600)
    path.write_text(content)
    message = refused(sqlite_store, path)
    assert "not a root key" in message
    assert content == "" or content not in message


def test_the_environment_works_and_is_called_weak(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TIDEGATE_ROOT_KEY", GOOD)
    root = open_root(RootEnvironment(), sqlite_store)
    assert root.key.reveal() == bytes.fromhex(GOOD)
    assert root.weakness is not None
    assert "TIDEGATE_ROOT_KEY" in root.weakness
    assert GOOD not in root.weakness


@pytest.mark.parametrize("value", [None, "", "short", GOOD[:-1] + "\udcff"])
def test_an_environment_without_a_key_is_refused(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, value: str | None
):
    monkeypatch.delenv("TIDEGATE_ROOT_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TIDEGATE_ROOT_KEY", value)
    with pytest.raises(RootRefused, match="TIDEGATE_ROOT_KEY"):
        open_root(RootEnvironment(), sqlite_store)


def by_passphrase(store: Store, words: str) -> Root:
    return open_root(RootPassphrase(Secret(words)), store)


def test_a_passphrase_gives_the_same_key_for_the_same_store(store: Store):
    first = by_passphrase(store, "correct horse battery")
    Vault(store, first)
    again = by_passphrase(store, "correct horse battery")
    assert again.key.matches(first.key)
    assert len(again.key) == 32
    Vault(store, again)


def test_another_passphrase_does_not_start(store: Store):
    Vault(store, by_passphrase(store, "correct horse battery"))
    with pytest.raises(RootRefused, match="the passphrase is not the one"):
        Vault(store, by_passphrase(store, "correct horse batterz"))


def test_the_same_passphrase_gives_other_stores_other_keys(tmp_path: Path):
    keys: list[Secret] = []
    for name in ("one", "two"):
        with Store.open(f"sqlite:///{tmp_path}/{name}/tidegate.db") as store:
            keys.append(by_passphrase(store, "correct horse battery").key)
    assert not keys[0].matches(keys[1])


def test_a_short_passphrase_is_refused(sqlite_store: Store):
    with pytest.raises(RootRefused, match="shorter than 12"):
        by_passphrase(sqlite_store, "hunter2")
