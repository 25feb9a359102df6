"""Keep the roots of the keys by which clients' values are protected. Only the vault uses this."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import sqlalchemy as sa

from tidegate.store.database import Database
from tidegate.store.errors import StoreConflict
from tidegate.store.schema import protection_roots
from tidegate.store.sealing import Amend, Sealing, require_newest_kek


@dataclass(frozen=True, slots=True)
class StoredProtectionRoot:
    """One root of a client, sealed by the client's key of version `kek_version`."""

    client: str
    version: int
    kek_version: int
    sealed: bytes


class ProtectionRoots:
    """The sealed roots, by client; each changes together with its client's manifest."""

    def __init__(self, database: Database, sealing: Sealing) -> None:
        self._database = database
        self._sealing = sealing

    def of(self, client: str) -> list[StoredProtectionRoot]:
        """Return a client's roots, oldest first."""
        column = protection_roots.c
        statement = sa.select(protection_roots).where(column.client == client)
        with self._database.reading() as database:
            rows = database.execute(statement.order_by(column.version)).mappings()
            return [StoredProtectionRoot(**row) for row in rows]

    def clients(self) -> list[str]:
        """Name the clients that have roots."""
        statement = sa.select(protection_roots.c.client).distinct()
        with self._database.reading() as database:
            return sorted(database.execute(statement).scalars())

    def add(self, root: StoredProtectionRoot, amend: Amend) -> None:
        """Keep a client's next root; running gateways are told.

        Raises:
            StoreConflict: another process was first with that version.
            KekReplaced: the client's key is not the newest any more.
        """
        statement = self._database.insert_or_ignore(protection_roots, "client", "version")
        with self._sealing.changing(root.client, amend) as database:
            require_newest_kek(database, root.client, root.kek_version)
            kept = statement.values(asdict(root)).returning(protection_roots.c.version)
            if database.execute(kept).first() is None:
                raise StoreConflict(
                    f"Client `{root.client}` was given a protection root just now; look again."
                )

    def reseal(
        self, before: StoredProtectionRoot, after: StoredProtectionRoot, amend: Amend
    ) -> None:
        """Replace a seal where it is still as it was.

        Raises:
            StoreConflict: it is not.
        """
        column = protection_roots.c
        same = sa.and_(
            column.client == before.client,
            column.version == before.version,
            column.sealed == before.sealed,
        )
        statement = protection_roots.update().where(same)
        with self._sealing.changing(before.client, amend, publish=False) as database:
            if database.execute(statement.values(asdict(after))).rowcount != 1:
                raise StoreConflict(f"A protection root of `{before.client}` was changed just now.")
