"""Change what is sealed: one change after another, each with its client's manifest and the epoch.

The store does not know what a manifest says. The vault hands in how to amend it, and that runs in
the transaction of the change, so that the one is never there without the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Protocol

import sqlalchemy as sa

from tidegate.store.database import Database
from tidegate.store.errors import KekReplaced
from tidegate.store.schema import keks, manifests, vault_epoch


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """What a client has sealed, as the vault encoded and authenticated it."""

    epoch: int
    kek_version: int
    entries: bytes
    mac: bytes


Amend = Callable[[StoredManifest | None], StoredManifest]
"""Makes the next manifest of the one there is; what it raises undoes the change."""


class Anchoring(Protocol):
    """What of an anchor the store needs: see `vault.anchor`."""

    def mac(self, epoch: int, digest: bytes) -> bytes:
        """Authenticate an epoch together with all manifests at that moment."""
        ...

    def moving(self, before: int, after: int) -> AbstractContextManager[None]:
        """Hold the anchor while a change commits."""
        ...


class Sealing:
    """The one way to change what is sealed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.anchor: Anchoring | None = None

    @contextmanager
    def changing(
        self, client: str | None = None, amend: Amend | None = None, *, publish: bool = True
    ) -> Generator[sa.Connection]:
        """Open a transaction that changes what is sealed, for one client or for the vault itself.

        `publish`: a running gateway should look at what has changed.
        """
        with ExitStack() as anchored:
            opened = self._database.changing() if publish else self._database.writing()
            with opened as database:
                epoch = self._next_epoch(database)
                yield database
                if client is not None and amend is not None:
                    self._put_manifest(database, client, amend(manifest_of(database, client)))
                if self.anchor is not None:
                    mac = self.anchor.mac(epoch, digest_of_manifests(database))
                    database.execute(vault_epoch.update().values(mac=mac))
                    # Entered before the commit, left after it.
                    anchored.enter_context(self.anchor.moving(epoch - 1, epoch))

    def _next_epoch(self, database: sa.Connection) -> int:
        value = vault_epoch.c.value
        statement = vault_epoch.update().values(value=value + 1).returning(value)
        return database.execute(statement).scalar_one()

    def _put_manifest(self, database: sa.Connection, client: str, manifest: StoredManifest) -> None:
        values = asdict(manifest)
        known = manifests.update().where(manifests.c.client == client).values(values)
        if database.execute(known).rowcount == 0:
            database.execute(manifests.insert().values(client=client, **values))


def manifest_of(database: sa.Connection, client: str) -> StoredManifest | None:
    """Read a client's manifest."""
    column = manifests.c
    statement = sa.select(column.epoch, column.kek_version, column.entries, column.mac)
    row = database.execute(statement.where(column.client == client)).mappings().first()
    return None if row is None else StoredManifest(**row)


def digest_of_manifests(database: sa.Connection) -> bytes:
    """Sum up all manifests: none can be rolled back, also not alone, without another digest."""
    column = manifests.c
    statement = sa.select(column.client, column.epoch, column.mac)
    digest = hashlib.sha256()
    # Sorted here: databases differ in how they order text.
    for client, epoch, mac in sorted(database.execute(statement)):
        for part in (client.encode(), str(epoch).encode(), bytes(mac)):
            digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()


def require_newest_kek(database: sa.Connection, client: str, version: int) -> None:
    """Refuse what was sealed by a key that is being replaced: it would be lost with that key.

    Raises:
        KekReplaced: the client has a newer key, or none any more.
    """
    newest = sa.select(sa.func.max(keks.c.version)).where(keks.c.client == client)
    if database.execute(newest).scalar() != version:
        raise KekReplaced(f"The key of client `{client}` was replaced just now; try again.")
