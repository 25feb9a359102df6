"""Lease sealed credentials to the engine, and take back what is gone.

A lease has an end, so that an engine that has lost its control side cannot use a secret for ever.
It is renewed at half of its time: the store may be away for the other half without a failed call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from tidegate.domain.connection import Connection
from tidegate.domain.secret import Secret
from tidegate.engine.errors import EngineError
from tidegate.store import Store
from tidegate.vault import Vault, VaultRefused

LEASE: Final = timedelta(hours=1)
"""How long the engine may use a secret without hearing of it again."""


class LeaseTaker(Protocol):
    """What leases need of the engine."""

    def lease(
        self,
        connection: str,
        version: int,
        origins: Sequence[str],
        fields: Mapping[str, Secret],
        until: datetime,
    ) -> None:
        """Take a connection's secret, for these origins and until this moment."""

    def release(self, connection: str) -> None:
        """Wipe a connection's secret."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What one renewal did. `refused` says why a connection has no lease now."""

    leased: tuple[Connection, ...]
    released: tuple[str, ...]
    refused: tuple[tuple[Connection, str], ...]


@dataclass(frozen=True, slots=True)
class _Lease:
    version: int
    until: datetime


class Leases:
    """The leases of one engine. One thread renews them."""

    def __init__(self, store: Store, vault: Vault, engine: LeaseTaker) -> None:
        self._store = store
        self._vault = vault
        self._engine = engine
        self._held: dict[str, _Lease] = {}

    def renew(self, now: datetime) -> Renewal:
        """Lease what is new, changed or half over; release what is gone or does not open.

        To be called when the store's generation has changed, and every few minutes.

        Raises:
            StoreUnavailable: the leases that are held stay until they end.
        """
        connections = self._store.connections.all()
        leased: list[Connection] = []
        refused: list[tuple[Connection, str]] = []
        for connection in connections:
            if not self._is_due(connection, now):
                continue
            try:
                self._lease(connection, now + LEASE)
                leased.append(connection)
            except (VaultRefused, EngineError) as error:
                # One connection's trouble is not the others'.
                refused.append((connection, str(error)))
        usable = {connection.id for connection in connections}
        usable -= {connection.id for connection, _ in refused}
        released = [held for held in self._held if held not in usable]
        for connection_id in released:
            self._engine.release(connection_id)
            del self._held[connection_id]
        return Renewal(tuple(leased), tuple(released), tuple(refused))

    def _is_due(self, connection: Connection, now: datetime) -> bool:
        held = self._held.get(connection.id)
        return held is None or held.version != connection.version or held.until - now <= LEASE / 2

    def _lease(self, connection: Connection, until: datetime) -> None:
        fields = self._vault.open(connection)
        self._engine.lease(connection.id, connection.version, connection.origins, fields, until)
        self._held[connection.id] = _Lease(connection.version, until)
