"""Keep call records, and sum them as they come.

A batch is one transaction: the records, and what they add to the usage of their hour. Storing a
record twice changes nothing, so a batch may be handed in again after a crash.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

import sqlalchemy as sa
from pydantic import TypeAdapter
from pydantic_core import to_json

from tidegate.domain.call import CallRecord, FieldRecord, Gap, WouldRecord
from tidegate.store.database import Database, Turn
from tidegate.store.ledger import Ledger
from tidegate.store.schema import calls, gaps, usage_hours
from tidegate.store.shapes import Shapes

if TYPE_CHECKING:
    import psycopg

_HOUR_MS: Final = 3_600_000
_NOT_DIALLED: Final = 0
_CLASSES_PER_OCTAVE: Final = 4
_SAVING: Final = frozenset({"hit", "stale", "collapsed"})

_JSON_COLUMNS: Final = ("steps_us", "query")
# Most calls have nothing there: what is empty is NULL.
_RARE_COLUMNS: Final = ("sent", "withheld", "would", "subjects")
# Kept in a table of their own, and not with the call.
_APART: Final = ("shapes",)
_PLAIN_COLUMNS: Final = tuple(
    f.name for f in fields(CallRecord) if f.name not in (*_JSON_COLUMNS, *_RARE_COLUMNS, *_APART)
)
_COLUMNS: Final = (*_PLAIN_COLUMNS, *_JSON_COLUMNS, *_RARE_COLUMNS)
_FIELD_RECORDS: Final = TypeAdapter(tuple[FieldRecord, ...])
_WOULD: Final = TypeAdapter(WouldRecord)
_plain_values = attrgetter(*_PLAIN_COLUMNS)
_rare_values = attrgetter(*_RARE_COLUMNS)


@dataclass(frozen=True, slots=True)
class CallPage:
    """Records in the order in which they were stored; `cursor` continues after the last of them."""

    calls: tuple[CallRecord, ...]
    cursor: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What one client did with one operation.

    `refused` calls are those that Tidegate answered below 500 itself, `failed` those from 500 on;
    whatever the provider answered is `ok`. `saved` are those for which the provider was not asked,
    because the answer was stored. The percentiles leave the refused ones out and are exact to a tenth.
    """

    client: str | None
    provider: str | None
    operation: str | None
    calls: int
    ok: int
    refused: int
    failed: int
    sent_bytes: int
    received_bytes: int
    saved: int
    p50_us: int | None
    p95_us: int | None


class Calls:
    """The call records."""

    def __init__(self, database: Database, ledger: Ledger, shapes: Shapes) -> None:
        self._database = database
        self._ledger = ledger
        self._shapes = shapes

    def add(self, records: Sequence[CallRecord]) -> int:
        """Keep the records that are not kept yet; return how many those were."""
        by_id = {record.id: record for record in records}
        if not by_id:
            return 0
        with self._database.writing(relaxed=True) as connection:
            # One batch after another: what is new stays new until the commit, and `seq` grows in
            # the order of commits, so that a follower misses nothing.
            self._database.take_turn(connection, Turn.CALLS)
            for known in self._known(connection, tuple(by_id)):
                del by_id[known]
            fresh = tuple(by_id.values())
            if fresh:
                self._insert(connection, fresh)
                self._sum(connection, fresh)
                self._ledger.add(connection, fresh)
                self._shapes.add(connection, fresh)
        return len(fresh)

    def recent(
        self,
        *,
        limit: int = 100,
        client: str | None = None,
        consumer: str | None = None,
        provider: str | None = None,
        outcome: str | None = None,
        after: int | None = None,
    ) -> CallPage:
        """Return the newest records, or with `after` the oldest ones that follow that cursor."""
        wanted = {"client": client, "consumer": consumer, "provider": provider, "outcome": outcome}
        filters = [calls.c[name] == value for name, value in wanted.items() if value is not None]
        order = calls.c.seq.desc() if after is None else calls.c.seq
        with self._database.reading() as connection:
            newest = connection.execute(sa.select(sa.func.max(calls.c.seq))).scalar() or 0
            between = (calls.c.seq <= newest, calls.c.seq > (after or 0))
            statement = sa.select(calls).where(*between, *filters).order_by(order).limit(limit)
            rows = connection.execute(statement).mappings().all()
        if after is None:
            return CallPage(tuple(_record(row) for row in reversed(rows)), newest)
        # A full page may have left some behind; one that is not full has seen all there are.
        cursor = rows[-1]["seq"] if len(rows) == limit else max(after, newest)
        return CallPage(tuple(_record(row) for row in rows), cursor)

    def usage(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[Usage, ...]:
        """Sum the calls by client, provider and operation.

        Counted by the hour (UTC): the hours that hold `since` and `until` count whole.
        """
        names = (usage_hours.c.client, usage_hours.c.provider, usage_hours.c.operation)
        sums = [
            sa.cast(sa.func.sum(usage_hours.c[name]), sa.BigInteger).label(name) for name in _SUMS
        ]
        statement = sa.select(*names, usage_hours.c.latency, *sums).group_by(
            *names, usage_hours.c.latency
        )
        if since is not None:
            statement = statement.where(usage_hours.c.hour >= _hour(since))
        if until is not None:
            statement = statement.where(usage_hours.c.hour <= _hour(until))
        histograms: defaultdict[tuple[str, str, str], dict[int, _Sums]] = defaultdict(dict)
        with self._database.reading() as connection:
            for row in connection.execute(statement).mappings():
                key = (row["client"], row["provider"], row["operation"])
                histograms[key][row["latency"]] = _Sums(**{name: row[name] for name in _SUMS})
        return tuple(_usage(*key, histogram) for key, histogram in sorted(histograms.items()))

    def last_used(self) -> dict[str, datetime]:
        """Return when each connection's credential was sent last, by the connection's id."""
        column = calls.c
        statement = (
            sa.select(column.connection, sa.func.max(column.at_ms))
            .where(column.connection.is_not(None), column.provider_status.is_not(None))
            .group_by(column.connection)
        )
        with self._database.reading() as connection:
            rows = connection.execute(statement).all()
        return {str(id_): datetime.fromtimestamp(at / 1_000, UTC) for id_, at in rows}

    def add_gap(self, gap: Gap) -> None:
        """Note that records are missing."""
        values = {f.name: getattr(gap, f.name) for f in fields(Gap)}
        with self._database.writing() as connection:
            connection.execute(gaps.insert().values(values))

    def gaps(self) -> tuple[Gap, ...]:
        """Return all known gaps, oldest first."""
        columns = [gaps.c[f.name] for f in fields(Gap)]
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(*columns).order_by(gaps.c.seq)).mappings()
            return tuple(Gap(**row) for row in rows)

    # Every call comes by here: each statement goes the shortest way that the driver has, since Core takes
    # several times as long, and the time is taken from calls where cores are few.

    def _known(self, connection: sa.Connection, ids: Sequence[str]) -> Iterable[str]:
        if self._database.is_sqlite:
            among = "SELECT id FROM calls WHERE id IN (SELECT value FROM json_each(?))"
            rows = connection.exec_driver_sql(among, (to_json(ids).decode(),))
        else:
            among = "SELECT id FROM calls WHERE id = ANY(%s)"
            rows = connection.exec_driver_sql(among, (list(ids),))
        return [str(id_) for (id_,) in rows]

    def _insert(self, connection: sa.Connection, records: Sequence[CallRecord]) -> None:
        rows = [
            (
                *_plain_values(record),
                to_json(record.steps_us).decode(),
                to_json(record.query).decode(),
                *(to_json(one).decode() if one else None for one in _rare_values(record)),
            )
            for record in records
        ]
        names = ", ".join(_COLUMNS)
        if self._database.is_sqlite:
            marks = ", ".join("?" * len(_COLUMNS))
            insert = f"INSERT INTO calls ({names}) VALUES ({marks})"  # noqa: S608 - constants only
            connection.exec_driver_sql(insert, rows)
            return
        # Nothing can conflict: what is known is left out, and it is this transaction's turn.
        driver_connection = cast("psycopg.Connection", connection.connection.driver_connection)
        with (
            driver_connection.cursor() as cursor,
            cursor.copy(f"COPY calls ({names}) FROM STDIN".encode()) as copy,
        ):
            for row in rows:
                copy.write_row(_without_nul(row))

    def _sum(self, connection: sa.Connection, records: Sequence[CallRecord]) -> None:
        sums: defaultdict[tuple[int, str, str, str, int], _Sums] = defaultdict(_Sums)
        for record in records:
            key = (
                record.at_ms // _HOUR_MS,
                record.client or "",
                record.provider or "",
                record.operation or "",
                _latency_class(record),
            )
            sums[key].count(record)
        # Sorted, so that the index is written in its own order.
        rows = [
            (*key, *_sum_values(total)) for key, total in sorted(sums.items(), key=itemgetter(0))
        ]
        mark = "?" if self._database.is_sqlite else "%s"
        connection.exec_driver_sql(_ADD_UP.replace("?", mark), rows)


@dataclass(slots=True)
class _Sums:
    ok: int = 0
    refused: int = 0
    failed: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    saved: int = 0

    def count(self, record: CallRecord) -> None:
        if record.outcome == "ok":
            self.ok += 1
        elif _is_refusal(record):
            self.refused += 1
        else:
            self.failed += 1
        self.sent_bytes += record.sent_bytes
        self.received_bytes += record.received_bytes
        self.saved += _is_saved(record)

    @property
    def calls(self) -> int:
        return self.ok + self.refused + self.failed


_SUMS: Final = tuple(f.name for f in fields(_Sums))
_sum_values = attrgetter(*_SUMS)
_KEYS: Final = ("hour", "client", "provider", "operation", "latency")
_ADD_UP: Final = f"""
    INSERT INTO usage_hours ({", ".join((*_KEYS, *_SUMS))})
    VALUES ({", ".join("?" * (len(_KEYS) + len(_SUMS)))})
    ON CONFLICT ({", ".join(_KEYS)}) DO UPDATE
    SET {", ".join(f"{name} = usage_hours.{name} + excluded.{name}" for name in _SUMS)}
"""  # noqa: S608 - constants only


def _usage(client: str, provider: str, operation: str, histogram: dict[int, _Sums]) -> Usage:
    total = {name: sum(getattr(sums, name) for sums in histogram.values()) for name in _SUMS}
    return Usage(
        client=client or None,
        provider=provider or None,
        operation=operation or None,
        calls=sum(sums.calls for sums in histogram.values()),
        p50_us=_percentile(histogram, 0.50),
        p95_us=_percentile(histogram, 0.95),
        **total,
    )


def _percentile(histogram: dict[int, _Sums], share: float) -> int | None:
    """Return the middle of the class in which that share of the calls is reached."""
    classes = sorted(latency for latency in histogram if latency != _NOT_DIALLED)
    left = share * sum(histogram[latency].calls for latency in classes)
    for latency in classes:
        left -= histogram[latency].calls
        if left <= 0:
            return round(2 ** ((latency - 0.5) / _CLASSES_PER_OCTAVE))
    return None


def _is_saved(record: CallRecord) -> bool:
    # What stands in for a failed provider saved nothing, and the detail says so.
    return record.cache in _SAVING and record.provider_status is None and record.detail is None


def _is_refusal(record: CallRecord) -> bool:
    return record.outcome != "ok" and record.status < 500  # noqa: PLR2004


def _latency_class(record: CallRecord) -> int:
    """Sort durations into classes, four to each doubling; 0 is for calls that went nowhere."""
    if _is_refusal(record):
        return _NOT_DIALLED
    return 1 + int(math.log2(max(record.total_us, 1)) * _CLASSES_PER_OCTAVE)


def _record(row: sa.RowMapping) -> CallRecord:
    plain: dict[str, Any] = {name: row[name] for name in _PLAIN_COLUMNS}
    would: str | None = row["would"]
    return CallRecord(
        steps_us=json.loads(row["steps_us"]),
        query=tuple(json.loads(row["query"])),
        sent=_field_records(row["sent"]),
        withheld=_field_records(row["withheld"]),
        would=None if would is None else _WOULD.validate_json(would),
        subjects=tuple(json.loads(row["subjects"] or "[]")),
        **plain,
    )


def _field_records(text: str | None) -> tuple[FieldRecord, ...]:
    return () if text is None else _FIELD_RECORDS.validate_json(text)


def _hour(at: datetime) -> int:
    return int(at.timestamp()) // 3600


def _without_nul(row: Sequence[Any]) -> Sequence[Any]:
    """Replace what PostgreSQL's text cannot hold, and an error's detail might."""
    if not any(isinstance(value, str) and "\0" in value for value in row):
        return row
    return [v.replace("\0", "\ufffd") if isinstance(v, str) else v for v in row]
