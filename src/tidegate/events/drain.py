"""Carry events from the engine's spool to the store, on a thread of its own.

An event is acknowledged, and so leaves the spool, only after the store has it. While the store is
slow, locked or gone, the events wait in the spool on disk and the drain tries again: calls go on
meanwhile. A batch that was stored but not acknowledged comes again after a crash; the store knows
calls by their id. What even the spool could not hold is put on record as a gap.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from tidegate.domain.call import CallRecord, Gap
from tidegate.engine import Engine, EngineError
from tidegate.events.reading import UnreadableEventError, read_event
from tidegate.events.yielding import give_way, yield_to_the_wire
from tidegate.store import Store, StoreError

BATCH_MAX: Final = 2_000
STORED_AT_ONCE: Final = 40
"""How many events are stored in one transaction: a smaller one costs more than it spares calls."""

READ_AT_ONCE: Final = 10
"""How many events are read before a call that waits for the core gets it."""

WAIT_S: Final = 0.2
"""How long to wait for a first event; also how soon a stop is noticed."""

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 2.0
NOTES_EVERY_S: Final = 5.0
"""How often the last use of access tokens, and what was lost, is written, at most."""

_GIVING_UP_S: Final = 6.0
"""How long a statement under way may take to return: the store waits 4 s for a lock."""

_MS: Final = 1_000
_ECHOED: Final = "credential_echoed"
_ECHO_TOLD_EVERY_S: Final = 3_600.0
_log = structlog.stdlib.get_logger("tidegate.events")


class Drain:
    """Moves events until it is finished. One engine has one drain."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        count: Callable[[Sequence[CallRecord]], None] | None = None,
    ) -> None:
        """`count` is given each call that the store has taken, once."""
        self._count = count
        self._engine = engine
        self._store = store
        self._last_used: dict[str, datetime] = {}
        self._lost = 0
        self._echo_told: dict[str | None, float] = {}
        self._counted_at = self._noted_at = time.time()
        self._waiting_since: float | None = None
        self._ending = threading.Event()
        self._giving_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidegate-drain", daemon=True)

    def start(self) -> None:
        """Begin on a thread of its own."""
        self._thread.start()

    def finish(self, within_s: float) -> bool:
        """Store what is left and end. To be called when the engine makes no more events.

        False when the store did not take everything in time: the rest stays in the spool, from
        which the next start takes it.
        """
        self._ending.set()
        self._thread.join(within_s)
        if not self._thread.is_alive():
            return True
        self._giving_up.set()
        self._thread.join(_GIVING_UP_S)
        return False

    def _run(self) -> None:
        yield_to_the_wire()
        self._record_gaps()
        while not self._giving_up.is_set():
            # Read first: what came before the end was asked for is in the batch after it.
            ending = self._ending.is_set()
            try:
                moved = self._move(0.0 if ending else WAIT_S)
            except EngineError as error:
                self._tell_waiting(error)
                moved = False
                self._giving_up.wait(BACKOFF_MAX_S)
            if ending or time.time() - self._noted_at > NOTES_EVERY_S:
                self._take_notes()
            if ending and not moved:
                return

    def _move(self, wait_s: float) -> bool:
        """Move one batch; False when there was nothing to move."""
        batch = self._engine.events(BATCH_MAX, wait_s)
        for start in range(0, len(batch.lines), STORED_AT_ONCE):
            records = tuple(_readable(batch.lines[start : start + STORED_AT_ONCE]))
            give_way()
            if not self._stored(records):
                return True
        if batch.lines:
            self._engine.acknowledge(batch.cursor)
        return bool(batch.lines)

    def _record_gaps(self) -> None:
        """Put on record what an engine before this one lost, so that nothing is missing unseen."""
        for gap in self._engine.gaps():
            _tell_missing(gap)
            self._until_taken(lambda gap=gap: self._store.calls.add_gap(gap))

    def _stored(self, records: Sequence[CallRecord]) -> bool:
        taken = self._until_taken(lambda: self._store.calls.add(records))
        if taken:
            if self._count is not None:
                self._count(records)
            for record in records:
                self._note_use(record)
                self._note_echo(record)
                _tell_breaker(record)
        return taken

    def _until_taken(self, write: Callable[[], object]) -> bool:
        """Write, again and again with growing pauses; False only when it is time to give up."""
        pause_s = BACKOFF_FIRST_S
        while True:
            try:
                write()
            except Exception as error:  # noqa: BLE001 - whatever it is, the spool keeps the events
                self._tell_waiting(error)
            else:
                self._tell_flowing()
                return True
            if self._giving_up.wait(BACKOFF_FIRST_S if self._ending.is_set() else pause_s):
                return False
            pause_s = min(pause_s * 2, BACKOFF_MAX_S)

    def _tell_waiting(self, error: Exception) -> None:
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
            # Only these are known to hold nothing of a call.
            reason = (
                str(error) if isinstance(error, StoreError | EngineError) else type(error).__name__
            )
            _log.warning("records_wait_in_spool", reason=reason)

    def _tell_flowing(self) -> None:
        if self._waiting_since is not None:
            waited_s = round(time.monotonic() - self._waiting_since, 1)
            self._waiting_since = None
            _log.info("records_flow_again", waited_s=waited_s)

    def _note_echo(self, record: CallRecord) -> None:
        """Tell of a credential that came back: once an hour of each connection."""
        if _ECHOED not in (record.detail or ""):
            return
        told = self._echo_told.get(record.connection)
        if told is not None and time.monotonic() - told < _ECHO_TOLD_EVERY_S:
            return
        self._echo_told[record.connection] = time.monotonic()
        _log.warning(
            "credential_echoed",
            client=record.client,
            provider=record.provider,
            operation=record.operation,
            call=record.id,
        )

    def _note_use(self, record: CallRecord) -> None:
        if record.token is not None:
            at = datetime.fromtimestamp(record.at_ms / _MS, UTC)
            self._last_used[record.token] = max(at, self._last_used.get(record.token, at))

    def _take_notes(self) -> None:
        """Write what is not worth a transaction of its own; what fails is written the next time."""
        self._noted_at = time.time()
        lost = self._engine.stats().events_lost
        try:
            if lost > self._lost:
                self._record_loss(lost - self._lost)
            self._lost, self._counted_at = lost, self._noted_at
            if self._last_used:
                self._store.tokens.touch(self._last_used)
                self._last_used.clear()
        except StoreError:
            return

    def _record_loss(self, count: int) -> None:
        """Put on record what this engine had to drop, because its spool was full or not writable."""
        gap = Gap(
            noticed_ms=int(self._noted_at * _MS),
            after_ms=int(self._counted_at * _MS),
            events_max=count,
            reason="the spool was full or could not be written",
        )
        self._store.calls.add_gap(gap)
        # Told when it is on record: until then this is tried, and would be told, again and again.
        _tell_missing(gap)


def _tell_breaker(record: CallRecord) -> None:
    """Tell of a provider that is left alone from this call on, or called again."""
    names = {"provider": record.provider, "operation": record.operation, "call": record.id}
    if record.breaker == "opened":
        _log.warning("circuit_opened", **names)
    elif record.breaker == "closed":
        _log.info("circuit_closed", **names)


def _tell_missing(gap: Gap) -> None:
    _log.warning(
        "events_missing",
        after=datetime.fromtimestamp(gap.after_ms / _MS, UTC).isoformat(),
        at_most=gap.events_max,
        reason=gap.reason,
    )


def _readable(lines: Sequence[bytes]) -> Iterator[CallRecord]:
    for number, line in enumerate(lines):
        if number % READ_AT_ONCE == 0:
            give_way()
        try:
            yield read_event(line)
        except UnreadableEventError as error:
            # Kept back it would stop all that come after it, and time does not mend it.
            _log.error("event_unreadable", reason=str(error), length=len(line))
