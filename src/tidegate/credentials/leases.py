"""Lease sealed credentials to the engine, and take back what is gone.

A lease has an end, so that an engine that has lost its control side cannot use a secret for ever.
It is renewed at half of its time: the store may be away for the other half without a failed call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from tidegate.credentials.references import Held
from tidegate.credentials.refresh import is_usable
from tidegate.domain.attach import FOR_TLS
from tidegate.domain.connection import Connection
from tidegate.domain.oauth import ACCESS_TOKEN, DPOP_KEY
from tidegate.domain.secret import Secret
from tidegate.engine.errors import EngineError
from tidegate.store import IssuedToken, Store
from tidegate.vault import Vault, VaultOutdated, VaultRefused

_FOR_CALLS: Final = (*FOR_TLS, DPOP_KEY)
"""What of a credential goes out with the tokens that it obtains."""

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
        *,
        serial: int = 0,
    ) -> None:
        """Take a connection's secret, for these origins and until this moment."""

    def release(self, connection: str, *, ended: bool = False) -> None:
        """Wipe a connection's secret; `ended`: there is no other before somebody consents anew."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """What one renewal did. `refused` says why a connection has no lease now."""

    leased: tuple[Connection, ...]
    released: tuple[str, ...]
    refused: tuple[tuple[Connection, str], ...]


@dataclass(frozen=True, slots=True)
class _Lease:
    version: int
    entered: int
    serial: int
    until: datetime
    source: int = 0


class Leases:
    """The leases of one engine. One thread renews them.

    `referred` gives what a connection refers to, where its credential is kept elsewhere.
    """

    def __init__(
        self,
        store: Store,
        vault: Vault,
        engine: LeaseTaker,
        referred: Callable[[Connection], Held | None] = lambda _: None,
    ) -> None:
        self._store = store
        self._vault = vault
        self._engine = engine
        self._referred = referred
        self._held: dict[str, _Lease] = {}
        self._ended = set[str]()

    def renew(self, now: datetime) -> Renewal:
        """Lease what is new, changed or half over; release what is gone or does not open.

        To be called when the store's generation has changed, and every few minutes.

        Raises:
            StoreUnavailable: the leases that are held stay until they end.
        """
        connections = self._store.connections.all()
        issued = self._store.issued.all()
        leased: list[Connection] = []
        refused: list[tuple[Connection, str]] = []
        waiting, ended = set[str](), set[str]()
        for connection in connections:
            token = issued.get(connection.id)
            if connection.issues_tokens and not (
                token is not None and is_usable(token, connection, now)
            ):
                # It has a lease as soon as a token is issued. After a rotation the token that is
                # leased was issued for the secret before, and is good until it expires.
                if not self._may_stay(connection, now):
                    waiting.add(connection.id)
                if token is not None and token.ended and token.version == connection.version:
                    ended.add(connection.id)
                continue
            referred = self._referred(connection) if connection.is_reference else None
            if connection.is_reference and (referred is None or referred.until <= now):
                # Not read yet, gone, or too long ago.
                waiting.add(connection.id)
                continue
            if not self._is_due(connection, token, referred, now):
                continue
            try:
                self._lease(connection, token, referred, now + LEASE)
                leased.append(connection)
            except VaultOutdated:
                # Replaced since the look above; the next look finds the new one.
                continue
            except (VaultRefused, EngineError) as error:
                # One connection's trouble is not the others'.
                refused.append((connection, str(error)))
        usable = {connection.id for connection in connections}
        usable -= {connection.id for connection, _ in refused} | waiting
        released = [held for held in self._held if held not in usable]
        for connection_id in {*released, *(ended - self._ended)}:
            self._engine.release(connection_id, ended=connection_id in ended)
            self._held.pop(connection_id, None)
        self._ended = ended
        return Renewal(tuple(leased), tuple(released), tuple(refused))

    def _may_stay(self, connection: Connection, now: datetime) -> bool:
        held = self._held.get(connection.id)
        return (
            held is not None
            and held.entered == connection.lease_version
            and held.version != connection.version
            and held.until > now
        )

    def _is_due(
        self,
        connection: Connection,
        token: IssuedToken | None,
        referred: Held | None,
        now: datetime,
    ) -> bool:
        held = self._held.get(connection.id)
        if held is None:
            return True
        wanted = (connection.version, connection.lease_version, _serial(token), _source(referred))
        if (held.version, held.entered, held.serial, held.source) != wanted:
            return True
        # An issued token is leased to its very end, which no renewal moves.
        ends = token.expires_at if token is not None else referred.until if referred else None
        return held.until - now <= LEASE / 2 and held.until != ends

    def _lease(
        self,
        connection: Connection,
        token: IssuedToken | None,
        referred: Held | None,
        until: datetime,
    ) -> None:
        if referred is None:
            fields = self._vault.open(connection)
        else:
            fields, until = dict(referred.fields), min(until, referred.until)
        if token is not None and token.sealed is not None and token.expires_at is not None:
            issued = self._vault.open_issued(connection, token.serial, token.sealed)
            # What the next token is asked for with never goes to the engine.
            kept = (*_FOR_CALLS, *connection.beside)
            fields = {name: fields[name] for name in kept if name in fields}
            fields[ACCESS_TOKEN] = issued[ACCESS_TOKEN]
            until = min(until, token.expires_at)
        serial, entered = _serial(token), connection.lease_version
        self._engine.lease(connection.id, entered, connection.origins, fields, until, serial=serial)
        self._held[connection.id] = _Lease(
            connection.version, entered, serial, until, _source(referred)
        )


def _source(referred: Held | None) -> int:
    return 0 if referred is None else referred.version


def _serial(token: IssuedToken | None) -> int:
    return 0 if token is None else token.serial
