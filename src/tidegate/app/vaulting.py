"""What an operator does with the vault: replace keys, look, shred, back up, restore."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tidegate.app.home import Home
from tidegate.app.roots import next_root, root_source
from tidegate.app.services import Services
from tidegate.domain.connection import Connection
from tidegate.domain.oauth import REFRESH_TOKEN
from tidegate.store import Store
from tidegate.vault import Root, RootRefused, Vault, open_root
from tidegate.vault.backup import read_backup, write_backup
from tidegate.vault.keys import number_of
from tidegate.vault.root import promote_next_file, write_root_file

HANDOVER_S: Final = 2.0
"""How long both root keys are good at least: running gateways look several times in it."""


@dataclass(frozen=True, slots=True)
class RootRotated:
    """`settings`: what to set from now on. `retired`: where the key before is kept."""

    number: int
    clients: int
    settings: str
    retired: Path | None


@dataclass(frozen=True, slots=True)
class Restored:
    """`suspects`: how many refresh tokens may be used up. `root_file`: the key that was written."""

    connections: int
    suspects: int
    root_file: Path | None


def rotate_root(state: Services, to: str | None, *, handover_s: float = HANDOVER_S) -> RootRotated:
    """Replace the root key, or go on with a replacement that was cut off.

    1. begin     the next root key stands beside the present one, each sealed by the other
    2. re-wrap   every client's key goes under the next one, in batches
    3. promote   where the key is a file of its own, the next one takes its place
    4. finish    the one before is forgotten, once nothing refers to it

    Raises:
        RootRefused: there is no such place for the next one.
    """
    vault, store, home = state.vault, state.store, state.home
    settings = ""
    if len(store.sealed.roots()) == 1:
        following = next_root(home, store, to or home.root_from)
        vault.begin_root(following.root, following.values)
        settings = following.settings
    began = time.monotonic()
    wrapped = vault.rewrap()
    number = store.sealed.roots()[-1].number
    retired = _promote(state, number)
    while True:
        left = handover_s - (time.monotonic() - began)
        if left > 0:
            time.sleep(left)
        if vault.finish_root():
            return RootRotated(number, wrapped, settings, retired)
        # Somebody's first connection came in between, under the root key before.
        wrapped += vault.rewrap()


def shred(state: Services, client: str) -> int:
    """Destroy a client's keys and all that they seal; return how many connections it had."""
    return state.vault.shred(client)


def back_up(state: Services, to: Path, recipients: Sequence[str]) -> None:
    """Write the store and the root key to an encrypted file; a gateway may run meanwhile.

    Raises:
        BackupRefused: too few recipients, or the file exists.
    """
    root = state.root
    _ = state.vault
    with _folder(state.home) as folder:
        snapshot = Path(folder) / "snapshot.db"
        with Store.open(f"sqlite:///{snapshot}") as copy:
            state.store.copy_into(copy)
        write_backup(snapshot, root, to, recipients)


def restore(home: Home, backup: Path, identity: Path) -> Restored:
    """Restore a backup into an installation that has no state yet.

    Raises:
        BackupRefused: the identity does not open it.
        RootRefused: the root key that is configured is not the backup's.
        StoreRefused: the store is in use.
    """
    home.prepare()
    with _folder(home) as folder:
        snapshot = Path(folder) / "snapshot.db"
        root = read_backup(backup, identity, snapshot)
        with Store.open(f"sqlite:///{snapshot}") as copy, Store.open(home.store_url) as store:
            store.require_unused()
            if number_of(root.wrap, copy.sealed.roots()) is None:
                raise RootRefused("The backup's root key is not the one that seals its store.")
            written = _place_root(home, root, copy, store)
            copy.copy_into(store)
            suspects = _that_may_be_used_up(store)
            store.issued.suspect(suspects, datetime.now(UTC))
            return Restored(len(store.connections.all()), len(suspects), written)


def _that_may_be_used_up(store: Store) -> list[str]:
    """Name the connections whose next token is had for one that is good once."""
    revision = store.revisions.current()
    providers = () if revision is None else revision.declaration.providers
    exchanging = {one.name for one in providers if one.login is not None and one.login.is_used_up}
    return [
        one.id
        for one in store.connections.all()
        if REFRESH_TOKEN in one.fields or one.provider in exchanging
    ]


def trust_grants(store: Store, client: str | None) -> list[Connection]:
    """Let grants that were restored be refreshed again; return their connections."""
    suspects = store.issued.suspects()
    trusted: list[Connection] = []
    for connection in store.connections.all():
        if connection.id in suspects and client in {None, connection.client}:
            store.issued.trust(connection.id)
            trusted.append(connection)
    return trusted


def open_locked(state: Services) -> Vault:
    """Open the vault also where its anchor locks it, for an operator to look at."""
    return Vault(state.store, state.root, state.home.anchor, look_at_locked=True)


def _promote(state: Services, number: int) -> Path | None:
    if state.home.root_from != "file":
        return None
    return promote_next_file(state.home.root_key, number)


def _place_root(home: Home, root: Root, copy: Store, store: Store) -> Path | None:
    """See to it that the installation opens what is restored; say which file was written."""
    if home.root_from == "file" and not home.root_key.exists() and root.key is not None:
        if store.directory is not None and home.root_key.is_relative_to(store.directory):
            raise RootRefused(
                f"`{home.root_key}` is beside the data; set `TIDEGATE_ROOT_KEY_FILE` to a place "
                "apart from it."
            )
        write_root_file(home.root_key, root.key)
        return home.root_key
    configured = open_root(root_source(home, copy), copy)
    if number_of(configured.wrap, copy.sealed.roots()) is None:
        raise RootRefused(
            f"The root key from {configured.source} does not open this backup. Move it away, and "
            "the one in the backup is written in its place."
        )
    return None


def _folder(home: Home) -> AbstractContextManager[str]:
    # Beside the data, because it holds the same: sealed secrets, and records in clear.
    return TemporaryDirectory(prefix="copy-", dir=home.data)
