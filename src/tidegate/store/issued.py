"""Keep the tokens that providers issue, and let one at a time ask for the next.

Whoever asks holds the row for a while, under a fence that grows with each holder. An answer is kept
only under the fence it was asked under and for the token it replaces, so that one who was slow, and
whose turn somebody else took over, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from tidegate.domain.connection import Connection
from tidegate.store.database import Database
from tidegate.store.schema import connections, issued_tokens, suspect_grants
from tidegate.store.sealed import CLEAN, SealedCredential
from tidegate.store.sealing import Amend, Sealing, require_newest_kek

_SEALED: Final = ("kek_version", "wrapped_dek", "payload")


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """What is known of a connection's newest token. The token itself is sealed.

    `version` is that of the connection. `serial` 0: none was issued yet. `asked_at`: somebody asked
    for the next one and the answer is not known. `ended`: the consent is gone, and nobody asks again
    until the connection is entered anew; `trouble` says why, or why asking fails at present.
    """

    connection: str
    version: int
    serial: int
    sealed: SealedCredential | None
    issued_at: datetime | None
    expires_at: datetime | None
    fence: int
    held_until: datetime | None
    asked_at: datetime | None
    failures: int
    retry_at: datetime | None
    trouble: str | None
    ended: bool


class IssuedTokens:
    """The newest token of each connection that has issued ones."""

    def __init__(self, database: Database, sealing: Sealing) -> None:
        self._database = database
        self._sealing = sealing

    def all(self) -> dict[str, IssuedToken]:
        """Return what is known, by the connection's id."""
        with self._database.reading() as database:
            rows = database.execute(sa.select(issued_tokens)).mappings()
            return {row["connection"]: _issued(row) for row in rows}

    def get(self, connection: str) -> IssuedToken | None:
        """Return what is known of one connection's token."""
        statement = sa.select(issued_tokens).where(issued_tokens.c.connection == connection)
        with self._database.reading() as database:
            row = database.execute(statement).mappings().first()
        return None if row is None else _issued(row)

    def take(
        self, connection: Connection, serial: int, *, holder: str, now: datetime, until: datetime
    ) -> int | None:
        """Take the turn to ask for the token after `serial`; return the fence to keep it under.

        None: somebody else holds the turn, or has the next token already, or there is no asking.
        That a request is about to be sent is on disk when this returns.
        """
        column = issued_tokens.c
        first = self._database.insert_or_ignore(issued_tokens, "connection").values(
            connection=connection.id,
            version=connection.version,
            serial=0,
            fence=0,
            failures=0,
            ended=False,
        )
        # The credential is another: what was issued for the one before is void. Who holds an older
        # view of the connection than the store does voids nothing.
        current = sa.exists().where(
            connections.c.id == connection.id, connections.c.version == connection.version
        )
        anew = (
            issued_tokens.update()
            .where(column.connection == connection.id, column.version != connection.version)
            .where(current)
            .values(version=connection.version, **CLEAN, **dict.fromkeys(_SEALED))
        )
        take = (
            issued_tokens.update()
            .where(
                column.connection == connection.id,
                column.version == connection.version,
                column.serial == serial,
                column.ended.is_(False),
                # A holder that asks again has been started anew: the one before it is dead.
                sa.or_(
                    column.held_until.is_(None),
                    column.held_until <= now,
                    column.holder == holder,
                ),
            )
            .values(holder=holder, fence=column.fence + 1, held_until=until, asked_at=now)
            .returning(column.fence)
        )
        with self._database.writing() as database:
            database.execute(first)
            database.execute(anew)
            return database.execute(take).scalar()

    def keep(
        self,
        connection: Connection,
        fence: int,
        sealed: SealedCredential,
        amend: Amend,
        *,
        issued_at: datetime,
        expires_at: datetime,
    ) -> bool:
        """Keep the next token and end the turn; False when the turn is somebody else's by now.

        Raises:
            KekReplaced: the client's key is not the newest any more; seal the token again.
        """
        values = asdict(sealed) | CLEAN | {"issued_at": issued_at, "expires_at": expires_at}
        statement = _end(connection.id, fence, values | {"serial": issued_tokens.c.serial + 1})
        try:
            with self._sealing.changing(connection.client, amend, publish=False) as database:
                require_newest_kek(database, connection.client, sealed.kek_version)
                if database.execute(statement).rowcount != 1:
                    raise _TurnIsOver  # noqa: TRY301 - it leaves the transaction undone
        except _TurnIsOver:
            return False
        return True

    def suspects(self) -> dict[str, datetime]:
        """Return the connections whose grant was restored from a backup, and since when."""
        with self._database.reading() as database:
            rows = database.execute(sa.select(suspect_grants)).mappings()
            return {row["connection"]: row["since"] for row in rows}

    def is_suspect(self, connection: str) -> bool:
        """Whether a connection's refresh token may be used up, so that nobody should use it."""
        statement = sa.select(suspect_grants.c.since).where(
            suspect_grants.c.connection == connection
        )
        with self._database.reading() as database:
            return database.execute(statement).first() is not None

    def suspect(self, connections: Sequence[str], since: datetime) -> None:
        """Forbid refreshing until `trust`."""
        statement = self._database.insert_or_ignore(suspect_grants, "connection")
        rows = [{"connection": one, "since": since} for one in connections]
        if rows:
            with self._database.writing() as database:
                database.execute(statement, rows)

    def trust(self, connection: str) -> bool:
        """Allow refreshing again; False where it was never forbidden."""
        statement = suspect_grants.delete().where(suspect_grants.c.connection == connection)
        with self._database.writing() as database:
            return database.execute(statement).rowcount == 1

    def give_up(
        self,
        connection: str,
        fence: int,
        *,
        trouble: str,
        retry_at: datetime | None,
        answered: bool,
        ended: bool = False,
    ) -> bool:
        """End the turn without a token. `answered` False: whether the request arrived is unknown."""
        values: dict[str, object] = {"asked_at": None} if answered else {}
        return self._end(
            connection,
            fence,
            failures=issued_tokens.c.failures + 1,
            trouble=trouble,
            retry_at=retry_at,
            ended=ended,
            **values,
        )

    def _end(self, connection: str, fence: int, **values: object) -> bool:
        with self._database.writing() as database:
            return database.execute(_end(connection, fence, values)).rowcount == 1


class _TurnIsOver(Exception):  # noqa: N818 - its name says what it is
    """Rolls the transaction back."""


def _end(connection: str, fence: int, values: Mapping[str, object]) -> sa.Update:
    column = issued_tokens.c
    return (
        issued_tokens.update()
        .where(column.connection == connection, column.fence == fence)
        .where(column.holder.is_not(None))
        .values({**values, "holder": None, "held_until": None})
    )


def _issued(row: sa.RowMapping) -> IssuedToken:
    values = {name: row[name] for name in IssuedToken.__slots__ if name != "sealed"}
    sealed = None
    if row["payload"] is not None:
        sealed = SealedCredential(**{name: row[name] for name in _SEALED})
    return IssuedToken(sealed=sealed, **values)
