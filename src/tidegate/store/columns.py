"""Column types that keep domain values exactly, and alike, on both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import cast

import sqlalchemy as sa

from tidegate.store.errors import StoreRefused

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class Instant(sa.TypeDecorator[datetime]):
    """A point in time, as whole microseconds since 1970: SQLite has no type that keeps the zone."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        """Count the microseconds; a time without a zone is a mistake of ours."""
        del dialect
        return None if value is None else (value - _EPOCH) // _TICK

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        """Read it back as UTC."""
        del dialect
        return None if value is None else _EPOCH + value * _TICK


class Names(sa.TypeDecorator[tuple[str, ...]]):
    """A short list of names, as a JSON array in text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: sa.Dialect) -> str | None:
        """Write the names in their order."""
        del dialect
        return None if value is None else json.dumps(value)

    def process_result_value(
        self, value: str | None, dialect: sa.Dialect
    ) -> tuple[str, ...] | None:
        """Read them back as a tuple.

        Raises:
            StoreRefused: it is not what was written.
        """
        del dialect
        if value is None:
            return None
        try:
            found: object = json.loads(value)
        except ValueError:
            found = None
        names = cast("list[object]", found) if isinstance(found, list) else [None]
        if not all(isinstance(name, str) for name in names):
            raise StoreRefused(
                "A list of names in the store is none: its row was altered or damaged. Find out by "
                "whom, and restore a backup."
            )
        return tuple(cast("list[str]", names))
