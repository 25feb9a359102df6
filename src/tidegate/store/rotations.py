"""Keep how far each rotation has come. Every step is one transaction, and is kept under a fence.

What belongs together changes together: a new credential is sealed in the transaction that says it
was made, the connection's version flips in the one that says so, and a superseded credential is
destroyed in the one that says that it was revoked.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from tidegate.domain.connection import Connection
from tidegate.domain.rotation import OverlapClass, RotationState
from tidegate.store.database import Database
from tidegate.store.errors import StoreConflict
from tidegate.store.schema import (
    connections,
    gateways,
    generation,
    issued_tokens,
    rotations,
    sealed_credentials,
)
from tidegate.store.sealed import SealedCredential
from tidegate.store.sealing import Amend, Sealing, require_newest_kek

GATEWAY_GONE: Final = timedelta(hours=1)
"""After how long a silent gateway counts no more: by then its leases have ended (`LEASE`)."""


@dataclass(frozen=True, slots=True)
class RotationRow:
    """One replacement of a connection's credential.

    `entered` is the version that a person entered, on which it rests.
    `old_id` and `new_id` are the provider's names of the keys. `known_ids` are the keys there were
    before. `asked`: a request went out and its outcome is not known. `task` is what a person has to
    do; `trouble` is why the last step did not succeed.
    """

    id: str
    connection: str
    active: str | None
    client: str
    provider: str
    name: str
    overlap_class: OverlapClass
    author: str
    state: RotationState
    entered: int
    old_version: int
    started_at: datetime
    state_at: datetime
    new_version: int | None = None
    old_id: str | None = None
    new_id: str | None = None
    known_ids: tuple[str, ...] | None = None
    asked: str | None = None
    asked_at: datetime | None = None
    promoted_at: datetime | None = None
    generation: int | None = None
    task: str | None = None
    trouble: str | None = None
    failures: int = 0
    retry_at: datetime | None = None
    fence: int = 0
    holder: str | None = None
    held_until: datetime | None = None

    @property
    def key_name(self) -> str:
        """The name that the new key bears at the provider."""
        return f"tidegate-{self.id}"


class Rotations:
    """The rotations, and what the gateways follow."""

    def __init__(self, database: Database, sealing: Sealing) -> None:
        self._database = database
        self._sealing = sealing

    def all(self) -> tuple[RotationRow, ...]:
        """Return every rotation, oldest first."""
        order = (rotations.c.started_at, rotations.c.id)
        with self._database.reading() as database:
            rows = database.execute(sa.select(rotations).order_by(*order)).mappings()
            return tuple(_row(row) for row in rows)

    def active(self) -> tuple[RotationRow, ...]:
        """Return the rotations that are not over."""
        statement = sa.select(rotations).where(rotations.c.active.is_not(None))
        with self._database.reading() as database:
            return tuple(_row(row) for row in database.execute(statement).mappings())

    def active_for(self, connection: str) -> RotationRow | None:
        """Return the connection's rotation that is not over."""
        return self._one(rotations.c.active == connection)

    def get(self, rotation: str) -> RotationRow | None:
        """Return one rotation."""
        return self._one(rotations.c.id == rotation)

    def start(self, row: RotationRow) -> None:
        """Keep the intent.

        Raises:
            StoreConflict: another rotation of the connection is not over.
        """
        values = asdict(row) | {
            "state": row.state.value,
            "overlap_class": row.overlap_class.value,
        }
        statement = self._database.insert_or_ignore(rotations, "active").values(values)
        with self._database.writing() as database:
            if database.execute(statement.returning(rotations.c.id)).first() is None:
                raise StoreConflict(
                    f"A rotation of connection `{row.name}` of client `{row.client}` at "
                    f"`{row.provider}` is under way already."
                )

    def take(self, rotation: str, *, holder: str, now: datetime, until: datetime) -> int | None:
        """Take the turn to make the next step; None: somebody else has it, or it is over."""
        column = rotations.c
        statement = (
            rotations.update()
            .where(
                column.id == rotation,
                column.active.is_not(None),
                sa.or_(
                    column.held_until.is_(None),
                    column.held_until <= now,
                    column.holder == holder,
                ),
            )
            .values(holder=holder, fence=column.fence + 1, held_until=until)
            .returning(column.fence)
        )
        with self._database.writing() as database:
            return database.execute(statement).scalar()

    def note(self, rotation: str, fence: int, **values: object) -> None:
        """Keep what is known now, in the middle of a turn.

        Raises:
            StoreConflict: the turn is somebody else's by now.
        """
        with self._database.writing() as database:
            self._set(database, rotation, fence, values)

    def leave(self, rotation: str, fence: int, **values: object) -> bool:
        """Keep what came of a turn, and end it; False when it was somebody else's."""
        ended = values | {"holder": None, "held_until": None}
        with self._database.writing() as database:
            return _update(database, rotation, fence, ended)

    def keep_new(
        self,
        rotation: str,
        fence: int,
        connection: Connection,
        credential: SealedCredential,
        amend: Amend,
        **values: object,
    ) -> None:
        """Seal the new credential beside the old one; `connection` is its pending version.

        Raises:
            StoreConflict: the turn is somebody else's, or the connection was entered anew.
            KekReplaced: the client's key is not the newest any more; seal it again.
        """
        with self._sealing.changing(connection.client, amend, publish=False) as database:
            require_newest_kek(database, connection.client, credential.kek_version)
            self._set(database, rotation, fence, values | {"new_version": connection.version})
            self._keep_pending(database, connection, credential)

    def replace_at_once(
        self,
        rotation: str,
        fence: int,
        connection: Connection,
        credential: SealedCredential,
        amend: Amend,
        **values: object,
    ) -> None:
        """Seal the new credential and flip to it: the old one is dead already.

        Raises:
            StoreConflict, KekReplaced: as of `keep_new`.
        """
        with self._sealing.changing(connection.client, amend) as database:
            require_newest_kek(database, connection.client, credential.kek_version)
            values |= {"new_version": connection.version, "generation": _generation(database)}
            self._set(database, rotation, fence, values)
            self._keep_pending(database, connection, credential)
            self._flip(database, connection)

    def promote(
        self, rotation: str, fence: int, connection: Connection, amend: Amend, **values: object
    ) -> None:
        """Flip the connection to a version that is sealed; the other one stays sealed too.

        Raises:
            StoreConflict: the turn is somebody else's, or the connection was entered anew.
        """
        with self._sealing.changing(connection.client, amend) as database:
            self._set(database, rotation, fence, values | {"generation": _generation(database)})
            self._flip(database, connection)

    def destroy(
        self, row: RotationRow, fence: int, version: int | None, amend: Amend, **values: object
    ) -> None:
        """Destroy a version that is not the connection's, with the step that makes it useless.

        Raises:
            StoreConflict: the turn is somebody else's.
        """
        current = sa.exists().where(
            connections.c.id == row.connection, connections.c.version == version
        )
        with self._sealing.changing(row.client, amend, publish=False) as database:
            self._set(database, row.id, fence, values)
            database.execute(
                sealed_credentials.delete().where(
                    sealed_credentials.c.connection == row.connection,
                    sealed_credentials.c.version == version,
                    ~current,
                )
            )
        self._database.forget_deleted()

    def next_version(self, connection: Connection) -> int:
        """Return a version that no credential of the connection ever had."""
        newest = sa.select(sa.func.max(rotations.c.new_version)).where(
            rotations.c.connection == connection.id
        )
        with self._database.reading() as database:
            return max(connection.version, database.execute(newest).scalar() or 0) + 1

    def follow(self, gateway: str, generation: int, now: datetime) -> None:
        """Say which generation a gateway's engine has taken up."""
        first = self._database.insert_or_ignore(gateways, "id")
        values = {"generation": generation, "seen_at": now}
        with self._database.writing(relaxed=True) as database:
            database.execute(first.values(id=gateway, **values))
            database.execute(gateways.update().where(gateways.c.id == gateway).values(values))

    def unfollow(self, gateway: str) -> None:
        """Forget a gateway, which has stopped."""
        with self._database.writing(relaxed=True) as database:
            database.execute(gateways.delete().where(gateways.c.id == gateway))

    def behind(self, generation: int, now: datetime) -> int:
        """Count the gateways that may still use what was in force before a generation."""
        statement = sa.select(sa.func.count()).where(
            gateways.c.generation < generation, gateways.c.seen_at > now - GATEWAY_GONE
        )
        with self._database.reading() as database:
            return database.execute(statement).scalar_one()

    def _one(self, where: sa.ColumnElement[bool]) -> RotationRow | None:
        with self._database.reading() as database:
            row = database.execute(sa.select(rotations).where(where)).mappings().first()
        return None if row is None else _row(row)

    def _set(
        self, database: sa.Connection, rotation: str, fence: int, values: dict[str, object]
    ) -> None:
        if not _update(database, rotation, fence, values):
            raise StoreConflict(f"Somebody else goes on with rotation `{rotation}` by now.")

    def _keep_pending(
        self, database: sa.Connection, connection: Connection, credential: SealedCredential
    ) -> None:
        known = sa.select(connections.c.id).where(*_as_it_began(connection))
        if database.execute(known).first() is None:
            raise _entered_anew(connection)
        database.execute(
            sealed_credentials.insert().values(
                connection=connection.id, version=connection.version, **asdict(credential)
            )
        )

    def _flip(self, database: sa.Connection, connection: Connection) -> None:
        """Make `connection` what is stored; its secret must be sealed, and nobody have come first."""
        sealed = sa.exists().where(
            sealed_credentials.c.connection == connection.id,
            sealed_credentials.c.version == connection.version,
        )
        statement = (
            connections.update()
            .where(*_as_it_began(connection), sealed)
            .values(
                version=connection.version,
                entered=connection.entered,
                rotated_at=connection.rotated_at,
                issued_at=connection.issued_at,
            )
        )
        if database.execute(statement).rowcount != 1:
            raise _entered_anew(connection)
        # A consent or client that had ended may be good again with another secret.
        database.execute(
            issued_tokens.update()
            .where(issued_tokens.c.connection == connection.id)
            .values(retry_at=None)
        )


def _as_it_began(connection: Connection) -> tuple[sa.ColumnElement[bool], ...]:
    """The version that a person entered last is still the one that the rotation began with."""
    column = connections.c
    entered = sa.case((column.entered == 0, column.version), else_=column.entered)
    return column.id == connection.id, entered == connection.entered


def _entered_anew(connection: Connection) -> StoreConflict:
    return StoreConflict(
        f"Connection `{connection.name}` of client `{connection.client}` at "
        f"`{connection.provider}` was entered anew or removed during its rotation."
    )


def _update(database: sa.Connection, rotation: str, fence: int, values: dict[str, object]) -> bool:
    plain = {
        name: value.value if isinstance(value, RotationState) else value
        for name, value in values.items()
    }
    column = rotations.c
    statement = rotations.update().where(column.id == rotation, column.fence == fence)
    return database.execute(statement.values(**plain)).rowcount == 1


def _generation(database: sa.Connection) -> int:
    return database.execute(sa.select(generation.c.value)).scalar_one()


def _row(row: sa.RowMapping) -> RotationRow:
    values: dict[str, Any] = dict(row)
    values["state"] = RotationState(row["state"])
    values["overlap_class"] = OverlapClass(row["overlap_class"])
    return RotationRow(**values)
