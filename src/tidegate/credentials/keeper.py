"""Keep the tokens of all connections fresh, on a thread of its own, before a call needs them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

import structlog

from tidegate.credentials.refresh import Refresher, is_due
from tidegate.domain.connection import Connection
from tidegate.domain.declaration import Declaration, Provider
from tidegate.snapshot import is_bound
from tidegate.store import Store, StoreError
from tidegate.vault import VaultError

LOOK_EVERY_S: Final = 1.0
_NOTICE_S: Final = 0.1
"""How long a stop may go unnoticed."""

AT_ONCE: Final = 8
"""How many token endpoints are asked at a time."""

_log = structlog.stdlib.get_logger("tidegate.credentials")


class Keeper:
    """Looks every second which tokens are due, and says when one is new: also another node's.

    A token that a provider did not take is due at once.
    """

    def __init__(
        self,
        store: Store,
        refresher: Refresher,
        declaration: Callable[[], Declaration],
        refused_tokens: Callable[[float], Sequence[tuple[str, int]]],
    ) -> None:
        self._store = store
        self._refresher = refresher
        self._declaration = declaration
        self._refused_tokens = refused_tokens
        self._known: dict[str, tuple[int, int, bool]] = {}
        self._told: dict[str, str | None] = {}
        self._changed = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidegate-tokens", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; requests that are under way are waited for, because their answers are needed."""
        self._ending.set()
        self._thread.join()

    def take_changed(self) -> bool:
        """Say whether a token is new since this was asked last."""
        changed = self._changed.is_set()
        self._changed.clear()
        return changed

    def _run(self) -> None:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="tidegate-token") as pool:
            refused: dict[str, int] = {}
            while not self._ending.is_set():
                try:
                    self._look(pool, refused)
                except StoreError:
                    # The gateway tells of it; what is leased stays until it expires.
                    pass
                except Exception as error:  # noqa: BLE001 - the next look may succeed
                    _log.error("tokens_not_looked_at", kind=type(error).__name__, exc_info=error)
                refused = self._wait()

    def _wait(self) -> dict[str, int]:
        """Wait for the next look; gives what was refused meanwhile."""
        until = time.monotonic() + LOOK_EVERY_S
        while not self._ending.is_set() and time.monotonic() < until:
            if refused := self._refused_tokens(_NOTICE_S):
                return dict(refused)
        return {}

    def _look(self, pool: ThreadPoolExecutor, refused: Mapping[str, int]) -> None:
        now = datetime.now(UTC)
        issued = self._store.issued.all()
        due: list[tuple[Connection, Provider, int | None]] = []
        for connection, provider in self._issuing():
            token = issued.get(connection.id)
            serial = refused.get(connection.id)
            is_current = token is not None and token.version == connection.version
            idle_s = provider.idle_s
            if token is None or not is_current or is_due(token, now, serial, idle_s):
                due.append((connection, provider, serial))
        for _ in pool.map(self._renew, due):
            if self._ending.is_set():
                break
        known = {
            id_: (token.version, token.serial, token.ended)
            for id_, token in self._store.issued.all().items()
        }
        if known != self._known:
            self._known = known
            self._changed.set()

    def _issuing(self) -> Iterator[tuple[Connection, Provider]]:
        providers = {provider.name: provider for provider in self._declaration().providers}
        for connection in self._store.connections.all():
            provider = providers.get(connection.provider)
            if provider and provider.issues and is_bound(provider, connection):
                yield connection, provider

    def _renew(self, due: tuple[Connection, Provider, int | None]) -> None:
        connection, provider, refused = due
        named = {
            "client": connection.client,
            "provider": connection.provider,
            "connection": connection.name,
        }
        try:
            renewed = self._refresher.renew(connection, provider, refused=refused, wait_s=0.0)
        except (StoreError, VaultError) as error:
            _log.error("token_not_renewed", **named, reason=str(error))
            return
        if not renewed.asked:
            return
        if renewed.trouble is None:
            _log.info("token_renewed", **named, because="refused" if refused else "due")
        elif renewed.token is not None and renewed.token.ended:
            _log.error(
                "needs_reconsent",
                **named,
                reason=renewed.trouble,
                hint="no call goes out with it until `tidegate connect` has it entered or consented to anew",
            )
        else:
            _log.warning("token_not_renewed", **named, reason=renewed.trouble)
