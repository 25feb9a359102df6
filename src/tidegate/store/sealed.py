"""Keep what the vault sealed. Only the vault uses this; to the store it is noise.

A credential's row comes with its connection's, in one transaction: no version of a connection is
ever without its secret, and none has another's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from tidegate.domain.connection import Connection
from tidegate.store.database import Database
from tidegate.store.errors import StoreConflict
from tidegate.store.schema import (
    connections,
    consents,
    issued_tokens,
    keks,
    manifests,
    person_keys,
    protection_roots,
    roots,
    sealed_credentials,
    suspect_grants,
    vault_epoch,
    vault_values,
)
from tidegate.store.sealing import (
    Amend,
    Anchoring,
    Sealing,
    StoredManifest,
    digest_of_manifests,
    manifest_of,
    require_newest_kek,
)

_SEALED: Final = ("kek_version", "wrapped_dek", "payload")

CLEAN: Final = {
    "failures": 0,
    "retry_at": None,
    "trouble": None,
    "asked_at": None,
    "ended": False,
    "issued_at": None,
    "expires_at": None,
    "holder": None,
    "held_until": None,
}
"""How an issued token's row looks when nothing is the matter and nobody asks."""


@dataclass(frozen=True, slots=True)
class SealedCredential:
    """One version of a credential: its own key, wrapped by the client's, and what it sealed."""

    kek_version: int
    wrapped_dek: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class FirstToken:
    """A token that came together with the consent, under the number that it was sealed for."""

    serial: int
    sealed: SealedCredential
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SealedRow:
    """All that is sealed for a connection. `serial` and `version` are the issued token's.

    `beside`: this is another version than the connection's own, which is kept during a rotation.
    """

    connection: Connection
    credential: SealedCredential | None
    issued: SealedCredential | None
    serial: int
    version: int
    beside: bool = False


@dataclass(frozen=True, slots=True)
class StoredRoot:
    """What is kept of a root key: how to recognise it, and what it seals for the vault itself."""

    number: int
    source: str
    key_check: bytes
    token_key: bytes
    handover: bytes | None = None
    handback: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredKek:
    """A client's key, wrapped by a root key."""

    client: str
    version: int
    wrapped: bytes
    root: int


class Sealed:
    """The sealed credentials, the clients' wrapped keys and the vault's own values."""

    def __init__(self, database: Database, sealing: Sealing) -> None:
        self._database = database
        self._sealing = sealing

    # Credentials, with their connections.

    def put(
        self,
        connection: Connection,
        credential: SealedCredential,
        amend: Amend,
        first: FirstToken | None = None,
    ) -> None:
        """Keep a connection's version with its credential; the version before it is destroyed.

        Raises:
            StoreConflict: the stored connection is not the version before this one.
            KekReplaced: the client's key is not the newest any more.
        """
        with self._sealing.changing(connection.client, amend) as database:
            require_newest_kek(database, connection.client, credential.kek_version)
            self._put_connection(database, connection)
            older = sealed_credentials.c.connection == connection.id
            database.execute(sealed_credentials.delete().where(older))
            database.execute(
                sealed_credentials.insert().values(
                    connection=connection.id, version=connection.version, **asdict(credential)
                )
            )
            # What was issued for the one before is void with it.
            mine = issued_tokens.c.connection == connection.id
            void = issued_tokens.update().where(mine).values(dict.fromkeys(_SEALED))
            database.execute(void)
            # Entered anew, it is no longer the one that was restored.
            suspect = suspect_grants.c.connection == connection.id
            database.execute(suspect_grants.delete().where(suspect))
            if first is not None:
                self._put_first(database, connection, first)
        if connection.version > 1:
            self._database.forget_deleted()

    def get(self, connection: Connection) -> tuple[SealedCredential | None, int | None]:
        """Return the credential of exactly this version, and the epoch of its client's manifest."""
        column = sealed_credentials.c
        epoch = sa.select(manifests.c.epoch).where(manifests.c.client == connection.client)
        statement = sa.select(
            column.kek_version,
            column.wrapped_dek,
            column.payload,
            epoch.scalar_subquery().label("epoch"),
        ).where(column.connection == connection.id, column.version == connection.version)
        with self._database.reading() as database:
            row = database.execute(statement).first()
        if row is None:
            return None, None
        kek_version, wrapped_dek, payload, found = row
        return SealedCredential(kek_version, wrapped_dek, payload), found

    def remove(self, connection: Connection, amend: Amend) -> bool:
        """Delete a connection and all that is sealed for it; False when there is none."""
        with self._sealing.changing(connection.client, amend) as database:
            for table in (suspect_grants, sealed_credentials, issued_tokens):
                database.execute(table.delete().where(table.c.connection == connection.id))
            statement = connections.delete().where(connections.c.id == connection.id)
            removed = database.execute(statement).rowcount == 1
        self._database.forget_deleted()
        return removed

    def rows(self, client: str, *, not_under: int = 0, limit: int | None = None) -> list[SealedRow]:
        """Return what is sealed for a client; only what is under an older key than `not_under`."""
        with self._database.reading() as database:
            return _rows(database, client, not_under, limit)

    def reseal(
        self, client: str, changed: Sequence[tuple[SealedRow, SealedRow]], amend: Amend
    ) -> None:
        """Replace rows, each given as it was and as it is to be, where it is still as it was."""
        with self._sealing.changing(client, amend, publish=False) as database:
            for before, after in changed:
                for table, old, new in (
                    (sealed_credentials, before.credential, after.credential),
                    (issued_tokens, before.issued, after.issued),
                ):
                    if old is None or new == old:
                        continue
                    same = sa.and_(
                        table.c.connection == before.connection.id,
                        table.c.wrapped_dek == old.wrapped_dek,
                    )
                    values = dict.fromkeys(_SEALED) if new is None else asdict(new)
                    database.execute(table.update().where(same).values(values))

    def shred(self, client: str, tombstone: Amend) -> int:
        """Destroy a client's keys and all that they seal; return how many connections it had."""
        theirs = sa.select(connections.c.id).where(connections.c.client == client)
        with self._sealing.changing(client, tombstone) as database:
            for table in (suspect_grants, sealed_credentials, issued_tokens):
                database.execute(table.delete().where(table.c.connection.in_(theirs)))
            database.execute(consents.delete().where(consents.c.client == client))
            for table in (protection_roots, person_keys, keks):
                database.execute(table.delete().where(table.c.client == client))
            mine = connections.c.client == client
            gone = database.execute(connections.delete().where(mine)).rowcount
        self._database.rewrite(
            suspect_grants,
            sealed_credentials,
            issued_tokens,
            consents,
            protection_roots,
            person_keys,
            keks,
            connections,
            manifests,
        )
        return gone

    # Clients' keys.

    def versions(self, connection: str) -> tuple[int, ...]:
        """Name the versions that are kept: during a rotation, two."""
        column = sealed_credentials.c
        statement = sa.select(column.version).where(column.connection == connection)
        with self._database.reading() as database:
            return tuple(database.execute(statement.order_by(column.version)).scalars())

    def kek_version(self, client: str) -> int | None:
        """Return the version of the client's newest key."""
        statement = sa.select(sa.func.max(keks.c.version)).where(keks.c.client == client)
        with self._database.reading() as database:
            return database.execute(statement).scalar()

    def kek(self, client: str, version: int) -> StoredKek | None:
        """Return one of the client's keys, wrapped."""
        statement = sa.select(keks).where(keks.c.client == client, keks.c.version == version)
        with self._database.reading() as database:
            row = database.execute(statement).mappings().first()
        return None if row is None else StoredKek(**row)

    def keks(self) -> list[tuple[str, int, int]]:
        """Return client, version and root of every key."""
        column = keks.c
        statement = sa.select(column.client, column.version, column.root)
        with self._database.reading() as database:
            return sorted((row[0], row[1], row[2]) for row in database.execute(statement))

    def add_kek(self, kek: StoredKek) -> None:
        """Keep a client's new key, unless another process was first with that version.

        Raises:
            StoreConflict: the root key that wraps it was replaced meanwhile.
        """
        statement = self._database.insert_or_ignore(keks, "client", "version")
        with self._sealing.changing(publish=False) as database:
            _require_root(database, kek.root)
            database.execute(statement.values(asdict(kek)))

    def drop_keks(self, client: str, *, below: int) -> bool:
        """Destroy older keys of a client; False while something is still sealed by one."""
        older = sa.and_(keks.c.client == client, keks.c.version < below)
        with self._sealing.changing() as database:
            manifest = manifest_of(database, client)
            signed_by_older = manifest is not None and manifest.kek_version < below
            pending = sa.select(consents.c.id).where(
                consents.c.client == client, consents.c.kek_version < below
            )
            asked = database.execute(pending.limit(1)).first() is not None
            roots_by_older = sa.select(protection_roots.c.version).where(
                protection_roots.c.client == client, protection_roots.c.kek_version < below
            )
            protecting = database.execute(roots_by_older.limit(1)).first() is not None
            if signed_by_older or asked or protecting or _rows(database, client, below, 1):
                return False
            database.execute(keks.delete().where(older))
        self._database.forget_deleted()
        return True

    # Root keys.

    def roots(self) -> tuple[StoredRoot, ...]:
        """Return what is kept of the root keys, oldest first."""
        statement = sa.select(roots).order_by(roots.c.number)
        with self._database.reading() as database:
            rows = database.execute(statement).mappings()
            return tuple(StoredRoot(**row) for row in rows)

    def first_root(self, root: StoredRoot) -> None:
        """Keep the first root, unless another process was first."""
        statement = self._database.insert_or_ignore(roots, "number")
        with self._database.writing() as database:
            database.execute(statement.values(asdict(root)))

    def replace_check(self, number: int, key_check: bytes) -> None:
        """Write a root's known text anew."""
        mine = roots.c.number == number
        with self._database.writing() as database:
            database.execute(roots.update().where(mine).values(key_check=key_check))

    def begin_root(self, root: StoredRoot, values: Mapping[str, bytes]) -> None:
        """Put the next root key beside the present one.

        Raises:
            StoreConflict: a root key is being replaced already.
        """
        with self._sealing.changing() as database:
            known = database.execute(sa.select(roots.c.number)).scalars().all()
            if list(known) != [root.number - 1]:
                raise StoreConflict("The root key is being replaced already.")
            database.execute(roots.insert().values(asdict(root)))
            for name, value in values.items():
                database.execute(vault_values.insert().values(name=name, value=value))

    def keks_not_under(self, root: int, limit: int) -> list[StoredKek]:
        """Return some of the clients' keys that another root than this one wraps."""
        statement = sa.select(keks).where(keks.c.root != root).limit(limit)
        with self._database.reading() as database:
            return [StoredKek(**row) for row in database.execute(statement).mappings()]

    def rewrap(self, changed: Sequence[tuple[StoredKek, StoredKek]]) -> None:
        """Replace wrapped keys, each given as it was and as it is to be, where it is as it was."""
        statement = (
            keks.update()
            .where(keks.c.client == sa.bindparam("of"), keks.c.version == sa.bindparam("at"))
            .where(keks.c.wrapped == sa.bindparam("was"))
            .values(wrapped=sa.bindparam("now"), root=sa.bindparam("under"))
        )
        rows = [
            {
                "of": old.client,
                "at": old.version,
                "was": old.wrapped,
                "now": new.wrapped,
                "under": new.root,
            }
            for old, new in changed
        ]
        with self._sealing.changing(publish=False) as database:
            database.execute(statement, rows)

    def finish_root(self, number: int) -> bool:
        """Forget the roots before this one; False while one still wraps a key."""
        with self._sealing.changing() as database:
            if database.execute(sa.select(keks.c.client).where(keks.c.root != number)).first():
                return False
            database.execute(roots.delete().where(roots.c.number < number))
            mine = roots.c.number == number
            database.execute(roots.update().where(mine).values(handover=None, handback=None))
        self._database.forget_deleted()
        return True

    # The whole.

    def manifest(self, client: str) -> StoredManifest | None:
        """Return a client's manifest."""
        with self._database.reading() as database:
            return manifest_of(database, client)

    def sign_manifest(self, client: str, amend: Amend) -> None:
        """Write a client's manifest anew."""
        with self._sealing.changing(client, amend, publish=False):
            pass

    def epoch(self) -> tuple[int, bytes, bytes]:
        """Return the epoch, what authenticates it, and the digest of all manifests."""
        statement = sa.select(vault_epoch.c.value, vault_epoch.c.mac)
        with self._database.reading() as database:
            value, mac = database.execute(statement).one()
            return value, mac, digest_of_manifests(database)

    def anchor(self, anchor: Anchoring | None) -> None:
        """Have every change from now on carried to an anchor."""
        self._sealing.anchor = anchor

    def advance(self) -> None:
        """Begin the next epoch without changing anything else."""
        with self._sealing.changing(publish=False):
            pass

    def count(self) -> tuple[int, int]:
        """Count the sealed credentials and the issued tokens."""
        credentials = sa.select(sa.func.count()).select_from(sealed_credentials)
        tokens = sa.select(sa.func.count()).where(issued_tokens.c.payload.is_not(None))
        with self._database.reading() as database:
            return database.execute(credentials).scalar_one(), database.execute(tokens).scalar_one()

    def value(self, name: str) -> bytes | None:
        """Return one of the vault's own values."""
        statement = sa.select(vault_values.c.value).where(vault_values.c.name == name)
        with self._database.reading() as database:
            return database.execute(statement).scalar()

    def value_once(self, name: str, value: bytes) -> bytes:
        """Keep a value unless it is there already; return the one that is kept."""
        statement = self._database.insert_or_ignore(vault_values, "name")
        with self._database.writing() as database:
            database.execute(statement.values(name=name, value=value))
            kept = sa.select(vault_values.c.value).where(vault_values.c.name == name)
            return database.execute(kept).scalar_one()

    def drop_value(self, name: str) -> None:
        """Forget one of the vault's own values."""
        with self._database.writing() as database:
            database.execute(vault_values.delete().where(vault_values.c.name == name))

    def _put_first(
        self, database: sa.Connection, connection: Connection, first: FirstToken
    ) -> None:
        column = issued_tokens.c
        none = self._database.insert_or_ignore(issued_tokens, "connection").values(
            connection=connection.id, version=connection.version, serial=0,
            fence=0, failures=0, ended=False,
        )  # fmt: skip
        # The next fence: whoever still asks for the version before has nothing to keep.
        values = {
            "version": connection.version,
            "serial": first.serial,
            "fence": column.fence + 1,
            "issued_at": first.issued_at,
            "expires_at": first.expires_at,
        }
        keep = issued_tokens.update().where(
            column.connection == connection.id, column.serial == first.serial - 1
        )
        database.execute(none)
        if database.execute(keep.values(CLEAN | asdict(first.sealed) | values)).rowcount != 1:
            raise StoreConflict("A token was issued for this connection just now; try again.")

    def _put_connection(self, database: sa.Connection, connection: Connection) -> None:
        values = asdict(connection)
        if connection.version == 1:
            statement = self._database.insert_or_ignore(
                connections, "client", "provider", "name"
            ).values(values)
        else:
            statement = (
                connections.update()
                .where(connections.c.id == connection.id)
                .where(connections.c.version == connection.version - 1)
                .values(values)
            )
        if database.execute(statement.returning(connections.c.id)).first() is None:
            raise StoreConflict(
                f"Connection `{connection.name}` of client `{connection.client}` at "
                f"`{connection.provider}` was changed by somebody else just now; try again."
            )


def _require_root(database: sa.Connection, number: int) -> None:
    if database.execute(sa.select(roots.c.number).where(roots.c.number == number)).first() is None:
        raise StoreConflict("The root key was replaced just now; try again.")


def _rows(
    database: sa.Connection, client: str, not_under: int, limit: int | None
) -> list[SealedRow]:
    sealed, issued = sealed_credentials.c, issued_tokens.c
    joined = connections.outerjoin(
        sealed_credentials,
        sa.and_(sealed.connection == connections.c.id, sealed.version == connections.c.version),
    ).outerjoin(issued_tokens, issued.connection == connections.c.id)
    statement = (
        sa.select(
            connections,
            sealed.kek_version,
            sealed.wrapped_dek,
            sealed.payload,
            issued.kek_version,
            issued.wrapped_dek,
            issued.payload,
            issued.serial,
            issued.version,
        )
        .select_from(joined)
        .where(connections.c.client == client)
    )
    if not_under:
        statement = statement.where(
            sa.or_(sealed.kek_version < not_under, issued.kek_version < not_under)
        )
    width = len(connections.columns)
    names = [column.name for column in connections.columns]
    found: list[SealedRow] = []
    for row in database.execute(statement.limit(limit)):
        values = tuple(row)
        rest = values[width:]
        found.append(
            SealedRow(
                Connection(**dict(zip(names, values[:width], strict=True))),
                None if rest[2] is None else SealedCredential(*rest[:3]),
                None if rest[5] is None else SealedCredential(*rest[3:6]),
                rest[6] or 0,
                rest[7] or 0,
            )
        )
    return [*found, *_beside(database, client, not_under, limit)]


def _beside(
    database: sa.Connection, client: str, not_under: int, limit: int | None
) -> list[SealedRow]:
    """Read the versions that a rotation keeps beside the connections' own."""
    sealed = sealed_credentials.c
    joined = connections.join(
        sealed_credentials,
        sa.and_(sealed.connection == connections.c.id, sealed.version != connections.c.version),
    )
    statement = (
        sa.select(
            connections, sealed.version, sealed.kek_version, sealed.wrapped_dek, sealed.payload
        )
        .select_from(joined)
        .where(connections.c.client == client)
    )
    if not_under:
        statement = statement.where(sealed.kek_version < not_under)
    names = [column.name for column in connections.columns]
    found: list[SealedRow] = []
    for row in database.execute(statement.limit(limit)):
        values = tuple(row)
        version, *rest = values[len(names) :]
        own = Connection(**dict(zip(names, values[: len(names)], strict=True)))
        credential = SealedCredential(*rest)
        found.append(SealedRow(replace(own, version=version), credential, None, 0, 0, beside=True))
    return found
