"""Keep what is known of access tokens: scope, times and a keyed hash, never a token."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from tidegate.domain.connection import AccessToken
from tidegate.store.database import Database
from tidegate.store.errors import StoreConflict
from tidegate.store.schema import access_tokens


class Tokens:
    """The access tokens, revoked and expired ones included."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, token: AccessToken, *, live_max: int | None = None) -> None:
        """Keep a new token, unless `live_max` others of its scope are live at its creation.

        Raises:
            StoreConflict: there are that many.
        """
        with self._database.changing() as connection:
            if live_max is not None and _live_beside(connection, token) >= live_max:
                raise StoreConflict(
                    f"Consumer `{token.consumer}` has {live_max} live tokens of this scope already."
                )
            connection.execute(
                access_tokens.insert().values(
                    id=token.id,
                    consumer=token.consumer,
                    client=token.client,
                    providers=token.providers,
                    hmac_hex=token.hmac_hex,
                    created_at=token.created_at,
                    expires_at=token.expires_at,
                    revoked_at=token.revoked_at,
                    last_used_at=token.last_used_at,
                )
            )

    def get(self, token_id: str) -> AccessToken | None:
        """Return one token."""
        with self._database.reading() as connection:
            statement = sa.select(access_tokens).where(access_tokens.c.id == token_id)
            row = connection.execute(statement).mappings().first()
        return None if row is None else AccessToken(**row)

    def all(self) -> tuple[AccessToken, ...]:
        """Return every token, oldest first."""
        with self._database.reading() as connection:
            order = (access_tokens.c.created_at, access_tokens.c.id)
            rows = connection.execute(sa.select(access_tokens).order_by(*order)).mappings()
            return tuple(AccessToken(**row) for row in rows)

    def revoke(self, token_id: str, at: datetime) -> bool:
        """End a token's validity; False when there is no such token that is not revoked yet."""
        column = access_tokens.c
        statement = (
            access_tokens.update()
            .where(column.id == token_id, column.revoked_at.is_(None))
            .values(revoked_at=at)
        )
        with self._database.changing() as connection:
            return connection.execute(statement).rowcount == 1

    def touch(self, used: Mapping[str, datetime]) -> None:
        """Note when tokens were last used. No snapshot depends on it."""
        if not used:
            return
        last_used = access_tokens.c.last_used_at
        at = sa.bindparam("at", type_=last_used.type)
        statement = (
            access_tokens.update()
            .where(access_tokens.c.id == sa.bindparam("token_id"))
            .where(sa.or_(last_used.is_(None), last_used < at))
            .values(last_used_at=at)
        )
        with self._database.writing(relaxed=True) as connection:
            # In one order everywhere, so that two writers cannot wait for each other.
            rows = [{"token_id": token_id, "at": used[token_id]} for token_id in sorted(used)]
            connection.execute(statement, rows)


def _live_beside(connection: sa.Connection, token: AccessToken) -> int:
    column = access_tokens.c
    statement = sa.select(sa.func.count()).where(
        column.consumer == token.consumer,
        column.client.is_not_distinct_from(token.client),
        column.providers == token.providers,
        column.revoked_at.is_(None),
        column.expires_at > token.created_at,
    )
    return connection.execute(statement).scalar_one()
