"""Count the shapes of what operations without a policy send. No value of a call is in it.

Written in the transaction that keeps the call records, so that a batch that comes again after a crash
counts nothing twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from tidegate.domain.call import CallRecord
from tidegate.domain.shape import Shape
from tidegate.store.database import Database
from tidegate.store.schema import shapes

ROWS_MAX: Final = 4_000
"""Of one client's calls of one operation; what is new beyond is not counted."""

_KEY: Final = ("client", "provider", "operation", "place", "kind", "mark")
_TIMES: Final = ("first_ms", "last_ms", "count")
_ADD_UP: Final = f"""
    INSERT INTO shapes ({", ".join((*_KEY, *_TIMES))})
    VALUES ({", ".join(f":{name}" for name in (*_KEY, *_TIMES))})
    ON CONFLICT ({", ".join(_KEY)}) DO UPDATE
    SET first_ms = CASE WHEN excluded.first_ms < shapes.first_ms
                   THEN excluded.first_ms ELSE shapes.first_ms END,
        last_ms = CASE WHEN excluded.last_ms > shapes.last_ms
                  THEN excluded.last_ms ELSE shapes.last_ms END,
        count = shapes.count + excluded.count
"""  # noqa: S608 - constants only

_Key = tuple[str, ...]


class Shapes:
    """The shapes, by client and operation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, connection: sa.Connection, records: Sequence[CallRecord]) -> None:
        """Count what these calls tell, in the transaction that keeps the calls themselves."""
        sums: dict[_Key, list[int]] = {}
        for record in records:
            for key, count in _counts(record):
                times = sums.setdefault(key, [record.at_ms, record.at_ms, 0])
                times[0], times[1] = min(times[0], record.at_ms), max(times[1], record.at_ms)
                times[2] += count
        # Sorted, so that the index is written in its own order.
        rows: list[dict[str, str | int]] = [
            dict(zip((*_KEY, *_TIMES), (*key, *sums[key]), strict=True))
            for key in sorted(self._fitting(connection, sums))
        ]
        if rows:
            connection.execute(sa.text(_ADD_UP), rows)

    def of(
        self, provider: str | None = None, operation: str | None = None, client: str | None = None
    ) -> tuple[Shape, ...]:
        """Return the shapes, of one provider, operation or client where that is said."""
        statement = sa.select(shapes).where(*_only(provider, operation, client))
        with self._database.reading() as connection:
            ordered = statement.order_by(*(shapes.c[name] for name in _KEY))
            found = connection.execute(ordered).mappings().all()
        marks: dict[_Key, dict[str, int]] = {}
        for row in found:
            if row["mark"]:
                marks.setdefault(_without_mark(row), {})[row["mark"]] = row["count"]
        return tuple(
            Shape(
                client=row["client"],
                provider=row["provider"],
                operation=row["operation"],
                at=row["place"],
                kind=row["kind"],
                count=row["count"],
                marks=marks.get(_without_mark(row), {}),
                first=_moment(row["first_ms"]),
                last=_moment(row["last_ms"]),
            )
            for row in found
            if not row["mark"]
        )

    def operations(self) -> set[tuple[str, str]]:
        """Name the providers and operations that shapes are known of."""
        statement = sa.select(shapes.c.provider, shapes.c.operation).distinct()
        with self._database.reading() as connection:
            return {(provider, operation) for provider, operation in connection.execute(statement)}

    def delete(
        self, provider: str | None = None, operation: str | None = None, client: str | None = None
    ) -> int:
        """Forget shapes; return how many rows those were."""
        with self._database.writing() as connection:
            statement = shapes.delete().where(*_only(provider, operation, client))
            return connection.execute(statement).rowcount

    def _fitting(self, connection: sa.Connection, keys: Collection[_Key]) -> list[_Key]:
        """Leave out what is new where an operation has as many rows as it may have."""
        known: set[_Key] = set()
        full: set[_Key] = set()
        for whose in {key[:3] for key in keys}:
            client, provider, operation = whose
            theirs = _only(provider, operation, client)
            count = sa.select(sa.func.count()).select_from(shapes).where(*theirs)
            if connection.execute(count).scalar_one() >= ROWS_MAX:
                full.add(whose)
                statement = sa.select(*(shapes.c[name] for name in _KEY)).where(*theirs)
                known |= {tuple(row) for row in connection.execute(statement)}
        return [key for key in keys if key[:3] not in full or key in known]


def _counts(record: CallRecord) -> Iterator[tuple[_Key, int]]:
    whose = (record.client or "", record.provider or "", record.operation or "")
    for shape in record.shapes:
        for mark, count in (("", shape.count), *shape.marks.items()):
            yield (*whose, shape.at, shape.kind, mark), count


def _only(
    provider: str | None, operation: str | None, client: str | None
) -> list[sa.ColumnElement[bool]]:
    wanted = {"provider": provider, "operation": operation, "client": client}
    return [shapes.c[name] == value for name, value in wanted.items() if value is not None]


def _without_mark(row: sa.RowMapping) -> _Key:
    return tuple(row[name] for name in _KEY[:-1])


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC)
