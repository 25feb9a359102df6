"""Lease credentials that are kept at OpenBao (or Vault), KV version 2, and only referred to here.

What is sealed for such a connection is where its credential is, `openbao:MOUNT/PATH#FIELD`, bound to
its client and origins like any secret: who edits the store cannot have another secret sent. The
credential itself is read by a thread of its own, kept in memory, and leased with an end.

    read      every quarter of a minute; a new version is leased as soon as it is seen
    away      the service is not reached, or does not let us read: what is leased serves to its end
    gone      it says that the secret is deleted: the lease is taken back at once
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import structlog

from tidegate.catalog.errors import listed
from tidegate.credentials.errors import CredentialRefused
from tidegate.credentials.fields import require_fitting, wanted_fields
from tidegate.domain.connection import REFERENCE, Connection
from tidegate.domain.declaration import Declaration, Provider
from tidegate.domain.secret import Secret
from tidegate.snapshot import is_bound
from tidegate.store import Store, StoreError
from tidegate.vault import RootRefused, Vault, VaultError
from tidegate.vault.openbao import openbao_client
from tidegate.vault.optional import library

SERVES_FOR: Final = timedelta(hours=1)
"""How long a credential serves after it was read last."""

READ_EVERY: Final = timedelta(seconds=15)
LOOK_EVERY_S: Final = 1.0
AT_ONCE: Final = 8

_REFERENCE: Final = re.compile(
    r"openbao:(?P<mount>[A-Za-z0-9._-]{1,128})/(?P<path>[A-Za-z0-9._/-]{1,512})"
    r"(?:#(?P<field>[A-Za-z0-9._-]{1,128}))?"
)
_log = structlog.stdlib.get_logger("tidegate.credentials")


class ReferenceAway(CredentialRefused):
    """The service was not reached or does not let us read; what was read before may serve on."""


class ReferenceGone(CredentialRefused):
    """The service says that there is no such secret."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a credential is kept. `field` empty: every field of it is one of the secret's."""

    mount: str
    path: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A secret as it was read. `version` is the service's own count."""

    version: int
    values: Mapping[str, Secret]


@dataclass(frozen=True, slots=True)
class Held:
    """A credential that a connection refers to, and until when it may be leased."""

    connection_version: int
    version: int
    fields: Mapping[str, Secret]
    until: datetime


Read = Callable[[Reference], Found]


def parse_reference(text: str) -> Reference:
    """Read `openbao:MOUNT/PATH` or `openbao:MOUNT/PATH#FIELD`.

    Raises:
        CredentialRefused: it is neither.
    """
    found = _REFERENCE.fullmatch(text)
    parts = [] if found is None else found["path"].split("/")
    if found is None or any(part in {"", ".", ".."} for part in parts):
        # Not repeated: a secret in the wrong place looks like one.
        raise CredentialRefused(
            "A reference is `openbao:MOUNT/PATH#FIELD`, or `openbao:MOUNT/PATH` where the secret "
            "there has all fields by their names."
        )
    return Reference(found["mount"], found["path"], found["field"] or "")


def read_openbao(reference: Reference) -> Found:
    """Read a secret's newest version at the service that `BAO_ADDR` and `BAO_TOKEN` name.

    Raises:
        ReferenceGone: there is none, or its newest version is deleted.
        ReferenceAway: the service cannot be asked, or does not let us read.
    """
    where = f"`{reference.mount}/{reference.path}`"
    try:
        kv = openbao_client().secrets.kv.v2
        errors: Any = library("hvac.exceptions", "openbao")
    except RootRefused as refused:
        raise ReferenceAway(str(refused)) from None
    try:
        answer = kv.read_secret_version(
            path=reference.path, mount_point=reference.mount, raise_on_deleted_version=True
        )
        data = cast("Mapping[str, object]", answer["data"]["data"])
        version = int(answer["data"]["metadata"]["version"])
    except errors.InvalidPath:
        raise ReferenceGone(
            f"OpenBao has no secret {where}: it was deleted, or the mount is no KV version 2."
        ) from None
    except errors.Forbidden:
        raise ReferenceAway(
            f"OpenBao does not let this token read {where}: its policy needs `read` on "
            f"`{reference.mount}/data/{reference.path}`, or the token has expired."
        ) from None
    except (errors.VaultError, OSError, KeyError, TypeError, ValueError) as error:
        raise ReferenceAway(f"OpenBao does not answer ({type(error).__name__}).") from None
    values = {name: Secret(value) for name, value in data.items() if isinstance(value, str)}
    return Found(version, values)


def fields_of(provider: Provider, reference: Reference, found: Found) -> dict[str, Secret]:
    """Take a credential's fields out of the secret, and judge them as if somebody entered them.

    Raises:
        CredentialRefused: one is missing, is no text, or cannot stand where it belongs.
    """
    wanted = wanted_fields(provider)
    if reference.field and len(wanted) != 1:
        raise CredentialRefused(
            f"Provider `{provider.name}` needs the fields {listed(wanted)}: refer to the whole "
            "secret, without `#FIELD`."
        )
    names = {reference.field: wanted[0]} if reference.field else {name: name for name in wanted}
    missing = [name for name in names if name not in found.values]
    if missing:
        raise CredentialRefused(
            f"The secret `{reference.mount}/{reference.path}` has no text {listed(missing)}."
        )
    fields = {field: found.values[name] for name, field in names.items()}
    require_fitting(provider, fields)
    return fields


class References:
    """What connections refer to, as it was read last. One thread reads; others may ask."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        declaration: Callable[[], Declaration],
        read: Read = read_openbao,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._vault = vault
        self._declaration = declaration
        self._read = read
        self._clock = clock
        self._held: dict[str, Held] = {}
        self._read_at: dict[tuple[str, int], datetime] = {}
        self._told: dict[str, str] = {}
        self._changed = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tidegate-references", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ending.set()
        self._thread.join()

    def take_changed(self) -> bool:
        """Say whether something that is held has changed since this was asked last."""
        changed = self._changed.is_set()
        self._changed.clear()
        return changed

    def held(self, connection: Connection) -> Held | None:
        """Return what a connection refers to; None where it was never read, or is gone."""
        found = self._held.get(connection.id)
        fits = found is not None and found.connection_version == connection.version
        return found if fits else None

    def look(self) -> None:
        """Read what is new, and what was read a while ago."""
        now = self._clock()
        providers = {provider.name: provider for provider in self._declaration().providers}
        referring: list[tuple[Connection, Provider]] = []
        for one in self._store.connections.all():
            provider = providers.get(one.provider)
            if one.is_reference and provider is not None and is_bound(provider, one):
                referring.append((one, provider))
        known = {(one.id, one.version) for one, _ in referring}
        self._read_at = {key: at for key, at in self._read_at.items() if key in known}
        ids = {one.id for one, _ in referring}
        self._held = {id_: held for id_, held in self._held.items() if id_ in ids}
        due = [
            (one, provider)
            for one, provider in referring
            if now - self._read_at.get((one.id, one.version), _LONG_AGO) >= READ_EVERY
        ]
        if not due:
            return
        for one, _ in due:
            self._read_at[one.id, one.version] = now
        with ThreadPoolExecutor(min(AT_ONCE, len(due)), "tidegate-reference") as pool:
            for _ in pool.map(self._take, due):
                pass

    def _take(self, due: tuple[Connection, Provider]) -> None:
        connection, provider = due
        now = self._read_at[connection.id, connection.version]
        try:
            text = self._vault.open(connection)[REFERENCE].reveal().decode()
            reference = parse_reference(text)
            found = self._read(reference)
            fields = fields_of(provider, reference, found)
        except ReferenceGone as gone:
            if self._held.pop(connection.id, None) is not None:
                self._changed.set()
            self._tell(connection, str(gone), "no call goes out with it until it is there again")
            return
        except (CredentialRefused, VaultError) as refused:
            self._tell(connection, str(refused), "what was read before serves to its end")
            return
        before = self.held(connection)
        self._held[connection.id] = Held(
            connection.version, found.version, fields, now + SERVES_FOR
        )
        if before is None or before.version != found.version:
            self._changed.set()
            _log.info("reference_read", **_named(connection), version=found.version)
        self._told.pop(connection.id, None)

    def _tell(self, connection: Connection, reason: str, hint: str) -> None:
        if self._told.get(connection.id) != reason:
            self._told[connection.id] = reason
            _log.error("reference_not_read", **_named(connection), reason=reason, hint=hint)

    def _run(self) -> None:
        while not self._ending.wait(LOOK_EVERY_S):
            try:
                self.look()
            except StoreError:
                # The gateway tells of it; what is leased stays until it ends.
                continue
            except Exception as error:  # noqa: BLE001 - the next look may succeed
                _log.error("references_not_looked_at", kind=type(error).__name__, exc_info=error)


_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


def _named(connection: Connection) -> dict[str, str]:
    return {
        "client": connection.client,
        "provider": connection.provider,
        "connection": connection.name,
    }
