"""See rotations through, on a thread of its own: begin those that are due, and make every next step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from tidegate.credentials.errors import CredentialRefused
from tidegate.credentials.rotator import Rotator, is_due
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Declaration
from tidegate.domain.rotation import RotationState
from tidegate.store import RotationRow, Store, StoreConflict, StoreError

LOOK_EVERY_S: Final = 1.0
AT_ONCE: Final = 4
FOLLOW_EVERY: Final = timedelta(seconds=30)
"""How often a gateway says that it is there, when nothing has changed."""

AGAIN_AFTER: Final = timedelta(hours=6)
"""How long after a rotation that came to nothing the schedule tries the next one."""

_log = structlog.stdlib.get_logger("tidegate.rotation")


class Caretaker:
    """Looks every second what is due. `gateway` is its name among those that share the store."""

    def __init__(
        self,
        store: Store,
        rotator: Rotator,
        declaration: Callable[[], Declaration],
        taken_up: Callable[[], int],
        *,
        gateway: str,
    ) -> None:
        self._store = store
        self._rotator = rotator
        self._declaration = declaration
        self._taken_up = taken_up
        self._gateway = gateway
        self._followed = (-1, datetime.min.replace(tzinfo=UTC))
        self._refused = dict[str, str]()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidegate-rotation", daemon=True)

    def start(self) -> None:
        """Begin; from now on no old key is revoked that this gateway may still use."""
        self._follow()
        self._thread.start()

    def stop(self) -> None:
        """End; a request that is under way is waited for, because its answer is needed."""
        self._ending.set()
        self._thread.join()

    def gone(self) -> None:
        """Say that this gateway carries no more calls."""
        # Where the store is away, its silence says the same, later.
        with suppress(StoreError):
            self._store.rotations.unfollow(self._gateway)

    def _run(self) -> None:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tidegate-rotate") as pool:
            while not self._ending.is_set():
                try:
                    self._look(pool)
                except StoreError:
                    # The gateway tells of it; a rotation goes on where it is.
                    pass
                except Exception as error:  # noqa: BLE001 - the next look may succeed
                    _log.error("rotations_not_looked_at", kind=type(error).__name__, exc_info=error)
                self._ending.wait(LOOK_EVERY_S)

    def _look(self, pool: ThreadPoolExecutor) -> None:
        self._follow()
        now = datetime.now(UTC)
        self._begin(now)
        due = [row for row in self._store.rotations.active() if is_due(row, now)]
        for _ in pool.map(self._advance, due):
            if self._ending.is_set():
                break

    def _follow(self) -> None:
        generation, now = self._taken_up(), datetime.now(UTC)
        before, at = self._followed
        if generation != before or now - at > FOLLOW_EVERY:
            self._store.rotations.follow(self._gateway, generation, now)
            self._followed = generation, now

    def _begin(self, now: datetime) -> None:
        every = {
            provider.name: timedelta(milliseconds=provider.rotation.rotate_every_ms)
            for provider in self._declaration().providers
            if provider.rotation.rotate_every_ms is not None and provider.rotation.has_hook
        }
        if not every:
            return
        ended = {row.connection: row.state_at for row in self._store.rotations.all()}
        busy = {row.connection for row in self._store.rotations.active()}
        for connection in self._store.connections.all():
            period = every.get(connection.provider)
            if period is None or connection.id in busy or self._is_admin(connection):
                continue
            born = connection.issued_at or connection.rotated_at
            tried = ended.get(connection.id)
            if now - born < period or (
                tried is not None and now - tried < min(period, AGAIN_AFTER)
            ):
                continue
            self._start(connection)

    def _is_admin(self, connection: Connection) -> bool:
        return any(
            provider.rotation.by == connection.name
            and (provider.rotation.by_provider or provider.name) == connection.provider
            for provider in self._declaration().providers
        )

    def _start(self, connection: Connection) -> None:
        named = _named(connection)
        try:
            row = self._rotator.start(self._declaration(), connection, author="schedule")
        except StoreConflict:
            return
        except CredentialRefused as refused:
            if self._refused.get(connection.id) != str(refused):
                _log.error("rotation_refused", **named, reason=str(refused))
            self._refused[connection.id] = str(refused)
            return
        self._refused.pop(connection.id, None)
        _log.info("rotation_begun", **named, rotation=row.id)

    def _advance(self, before: RotationRow) -> None:
        try:
            row = self._rotator.advance(before.id, self._declaration())
        except StoreError:
            return
        if row is not None:
            tell(before, row)


def tell(before: RotationRow, row: RotationRow) -> None:
    """Log what a step did."""
    named = _named(row) | {"rotation": row.id, "state": row.state.value}
    if row.state in {RotationState.UNKNOWN, RotationState.MANUAL}:
        if row.state is not before.state:
            hint = "`tidegate rotate` for this connection says what to do"
            _log.error(
                "rotation_needs_person", **named, task=row.task, reason=row.trouble, hint=hint
            )
    elif row.state is not before.state or row.active != before.active:
        if row.state is RotationState.ROLLED_BACK:
            _log.warning("rotation_step", **named, reason=row.trouble)
        else:
            _log.info("rotation_step", **named)
    elif row.trouble is not None and row.failures != before.failures:
        _log.warning("rotation_delayed", **named, reason=row.trouble)


def _named(one: Connection | RotationRow) -> dict[str, str]:
    return {"client": one.client, "provider": one.provider, "connection": one.name}
