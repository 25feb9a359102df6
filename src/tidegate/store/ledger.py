"""Keep what was sent to whom, field by field, and sum it up. No value of a call is in it.

Written in the transaction that keeps the call records, so that a call is in both or in neither, and a
batch that comes again after a crash adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

import sqlalchemy as sa

from tidegate.domain.call import CallRecord, FieldRecord
from tidegate.domain.ledger import UNLISTED, Flow, SubjectFlow
from tidegate.store.database import Database
from tidegate.store.schema import calls, flows, ledger

if TYPE_CHECKING:
    import psycopg

OBJECTS_MAX: Final = 1_000
"""How many of a subject's ids at one provider are told."""

_LEFT_AT: Final = "attach"
"""The step after which nothing holds a call back: one that came so far may have reached its provider."""

_ANY: Final = FieldRecord("", None, UNLISTED)

_COLUMNS: Final = tuple(column.name for column in ledger.columns if column.name != "seq")
_FLOW: Final = ("client", "provider", "operation", "place", "category", "action", "purpose")

_ADD_UP: Final = f"""
    INSERT INTO flows ({", ".join(_FLOW)}, first_ms, last_ms, count)
    VALUES ({", ".join("?" * (len(_FLOW) + 3))})
    ON CONFLICT ({", ".join(_FLOW)}) DO UPDATE
    SET first_ms = CASE WHEN excluded.first_ms < flows.first_ms
                   THEN excluded.first_ms ELSE flows.first_ms END,
        last_ms = CASE WHEN excluded.last_ms > flows.last_ms
                  THEN excluded.last_ms ELSE flows.last_ms END,
        count = flows.count + excluded.count
"""  # noqa: S608 - constants only


class Ledger:
    """The rows, and their sums by flow."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, connection: sa.Connection, records: Sequence[CallRecord]) -> None:
        """Keep what these calls sent, in the transaction that keeps the calls themselves."""
        telling = [record for record in records if _tells(record)]
        if not telling:
            return
        rows = [row for record in telling for row in _rows(record)]
        names = ", ".join(_COLUMNS)
        if self._database.is_sqlite:
            marks = ", ".join("?" * len(_COLUMNS))
            insert = f"INSERT INTO ledger ({names}) VALUES ({marks})"  # noqa: S608 - constants only
            connection.exec_driver_sql(insert, rows)
        else:
            driver = cast("psycopg.Connection", connection.connection.driver_connection)
            with (
                driver.cursor() as cursor,
                cursor.copy(f"COPY ledger ({names}) FROM STDIN".encode()) as copy,
            ):
                for row in rows:
                    copy.write_row(row)
        mark = "?" if self._database.is_sqlite else "%s"
        connection.exec_driver_sql(_ADD_UP.replace("?", mark), _sums(telling))

    def flows(self, client: str | None = None) -> tuple[Flow, ...]:
        """Return what was sent, summed up: one client's, or with None every client's."""
        statement = sa.select(flows).order_by(*(flows.c[name] for name in _FLOW))
        if client is not None:
            statement = statement.where(flows.c.client == client)
        with self._database.reading() as connection:
            rows = connection.execute(statement).mappings().all()
        return tuple(
            Flow(
                at=row["place"],
                first=_moment(row["first_ms"]),
                last=_moment(row["last_ms"]),
                count=row["count"],
                **{name: row[name] for name in _FLOW if name != "place"},
            )
            for row in rows
        )

    def about(self, client: str, index: bytes) -> tuple[SubjectFlow, ...]:
        """Return what was sent about one subject of a client, the earliest first."""
        column = ledger.c
        what = (
            column.provider,
            column.operation,
            column.place,
            column.category,
            column.action,
            column.purpose,
        )
        theirs = (column.client == client, column.subject == index)
        sums = (
            sa.func.min(column.at_ms).label("first_ms"),
            sa.func.max(column.at_ms).label("last_ms"),
            sa.func.count().label("count"),
            sa.func.min(column.revision).label("oldest"),
            sa.func.max(column.revision).label("newest"),
        )
        summed = sa.select(*what, *sums).where(*theirs).group_by(*what).order_by("first_ms", *what)
        beside = (column.provider, column.operation, column.agreements, column.object)
        named = sa.or_(column.agreements.is_not(None), column.object.is_not(None))
        details = sa.select(*beside).where(*theirs, named).distinct().limit(OBJECTS_MAX)
        with self._database.one_moment() as connection:
            rows = connection.execute(summed).mappings().all()
            found = connection.execute(details).all()
        return tuple(
            _subject_flow(row, [one[2:] for one in found if one[:2] == _to(row)]) for row in rows
        )

    def connections(self, client: str, index: bytes) -> dict[str, set[str]]:
        """Name the connections by which something was sent about a subject, by provider."""
        theirs = sa.and_(ledger.c.client == client, ledger.c.subject == index)
        statement = (
            sa.select(ledger.c.provider, calls.c.connection)
            .join(calls, calls.c.id == ledger.c.call)
            .where(theirs, calls.c.connection.is_not(None))
            .distinct()
        )
        found: dict[str, set[str]] = {}
        with self._database.reading() as connection:
            for provider, id_ in connection.execute(statement):
                found.setdefault(provider, set()).add(id_)
        return found

    def knows_subjects_of(self, client: str) -> bool:
        """Whether anything is indexed for a client."""
        theirs = sa.select(ledger.c.seq).where(
            ledger.c.client == client, ledger.c.subject.is_not(None)
        )
        with self._database.reading() as connection:
            return connection.execute(theirs.limit(1)).first() is not None


def _tells(record: CallRecord) -> bool:
    return bool(
        (record.sent or record.subjects)
        and record.client
        and record.provider
        and record.operation
        and _LEFT_AT in record.steps_us
    )


def _fields(record: CallRecord) -> tuple[FieldRecord, ...]:
    return tuple(dict.fromkeys(record.sent)) or (_ANY,)


def _rows(record: CallRecord) -> Iterator[tuple[object, ...]]:
    subjects = [bytes.fromhex(text) for text in record.subjects] or [None]
    for field in _fields(record):
        for subject in subjects:
            yield (
                record.id,
                record.at_ms,
                record.client,
                record.provider,
                record.operation,
                field.at,
                field.category or "",
                field.do,
                record.purpose or "",
                subject,
                None,
                record.revision,
                record.agreements,
            )


def _sums(records: Sequence[CallRecord]) -> list[tuple[Any, ...]]:
    found: dict[tuple[Any, ...], list[int]] = {}
    for record in records:
        for field in _fields(record):
            key = (
                *(record.client, record.provider, record.operation),
                *(field.at, field.category or "", field.do, record.purpose or ""),
            )
            times = found.setdefault(key, [record.at_ms, record.at_ms, 0])
            times[0], times[1] = min(times[0], record.at_ms), max(times[1], record.at_ms)
            times[2] += 1
    # Sorted, so that the index is written in its own order.
    return [(*key, *times) for key, times in sorted(found.items(), key=itemgetter(0))]


def _to(row: sa.RowMapping) -> tuple[str, str]:
    return row["provider"], row["operation"]


def _subject_flow(row: sa.RowMapping, beside: Sequence[Sequence[str | None]]) -> SubjectFlow:
    agreements = {name for names, _ in beside for name in (names or "").split()}
    return SubjectFlow(
        provider=row["provider"],
        operation=row["operation"],
        at=row["place"],
        category=row["category"],
        action=row["action"],
        purpose=row["purpose"],
        first=_moment(row["first_ms"]),
        last=_moment(row["last_ms"]),
        count=row["count"],
        revisions=(row["oldest"], row["newest"]),
        agreements=tuple(sorted(agreements)),
        objects=tuple(sorted({one for _, one in beside if one})),
    )


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC)
