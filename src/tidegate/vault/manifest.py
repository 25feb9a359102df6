"""Remember what is sealed for each client, so that an older row put back does not pass for the newest.

A seal says where a row belongs, not that it is the last one. The manifest says that: for every
connection its version and a digest of what is sealed, authenticated as a whole (HMAC-SHA-256, RFC
2104) by a key that the client's KEK yields, and written in the transaction of every change.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from tidegate.store import SealedCredential, SealedRow, Store, StoredManifest
from tidegate.vault.envelope import frame, unframe
from tidegate.vault.errors import VaultRefused
from tidegate.vault.keys import Keys

_BESIDE: Final = "@"


def beside(connection: str, version: int) -> str:
    """Name the entry of a version that is not the connection's own: during a rotation there is one."""
    return f"{connection}{_BESIDE}{version}"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is sealed for one connection. `issued` is empty where no token was issued."""

    version: int
    credential: bytes
    issued: bytes = b""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is sealed for one client, at one epoch."""

    epoch: int = 0
    entries: Mapping[str, Entry] = field(default_factory=dict[str, Entry])

    def having(self, connection: str, entry: Entry) -> Manifest:
        """Return it with this entry."""
        return replace(self, entries={**self.entries, connection: entry})

    def without(self, connection: str) -> Manifest:
        """Return it without a connection, and without any version of it."""
        rest = {
            name: entry
            for name, entry in self.entries.items()
            if name != connection and not name.startswith(f"{connection}{_BESIDE}")
        }
        return replace(self, entries=rest)

    def of_version(self, connection: str, version: int) -> Entry | None:
        """Return what is sealed for one version: the connection's own, or one beside it."""
        entry = self.entries.get(connection)
        if entry is None or entry.version != version:
            entry = self.entries.get(beside(connection, version))
        return entry if entry is not None and entry.version == version else None

    def flipped(self, connection: str, version: int) -> Manifest | None:
        """Return it with the version beside made the connection's own; None where there is none."""
        before, after = self.entries.get(connection), self.of_version(connection, version)
        if before is None or after is None:
            return None
        rest = dict(self.entries)
        rest.pop(beside(connection, version), None)
        return replace(
            self, entries={**rest, beside(connection, before.version): before, connection: after}
        )

    def without_version(self, connection: str, version: int) -> Manifest:
        """Return it without a version beside the connection's own."""
        rest = dict(self.entries)
        rest.pop(beside(connection, version), None)
        return replace(self, entries=rest)


class Manifests:
    """The manifests of one store. Threads may share them."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._lock = threading.Lock()
        self._known: dict[str, Manifest] = {}

    def at(self, client: str, epoch: int | None) -> Manifest | None:
        """Return a client's manifest; None where it is not the one of this epoch any more.

        Raises:
            VaultRefused: it is missing, altered, or older than one that this process has seen.
        """
        with self._lock:
            known = self._known.get(client)
        if known is not None and known.epoch == epoch:
            return known
        manifest = self.read(client, self._store.sealed.manifest(client))
        with self._lock:
            known = self._known.get(client)
            if known is None or known.epoch < manifest.epoch:
                self._known[client] = manifest
        return manifest if manifest.epoch == epoch else None

    def read(self, client: str, stored: StoredManifest | None) -> Manifest:
        """Check a stored manifest and take it apart."""
        if stored is None:
            raise VaultRefused(f"The manifest of client `{client}` is missing.{_WHAT_TO_DO}")
        with self._lock:
            known = self._known.get(client)
        if known is not None and stored.epoch < known.epoch:
            raise VaultRefused(
                f"The manifest of client `{client}` is older than it was: the store was rolled "
                f"back.{_WHAT_TO_DO}"
            )
        try:
            mac = self._mac(client, stored)
        except (VaultRefused, OverflowError):
            mac = b""
        if not mac or not hmac.compare_digest(mac, stored.mac):
            raise VaultRefused(f"The manifest of client `{client}` was altered.{_WHAT_TO_DO}")
        return Manifest(stored.epoch, _decoded(stored.entries))

    def read_or_begin(self, client: str, stored: StoredManifest | None) -> Manifest:
        """Read a manifest; where it is not to be trusted, begin one in which nothing is.

        What was in the one before stays refused until it is entered anew.
        """
        try:
            return self.read(client, stored)
        except VaultRefused:
            with self._lock:
                known = self._known.get(client)
            seen = max(stored.epoch if stored else 0, known.epoch if known else 0)
            return Manifest(seen if 0 <= seen < _EPOCH_MAX else 0)

    def sign(self, client: str, manifest: Manifest) -> StoredManifest:
        """Make the next epoch's manifest, under the client's newest key."""
        version, _ = self._keys.newest(client)
        unsigned = StoredManifest(manifest.epoch + 1, version, _encoded(manifest.entries), b"")
        return replace(unsigned, mac=self._mac(client, unsigned))

    def tombstone(self, client: str, stored: StoredManifest | None) -> StoredManifest:
        """Make what is left of a client whose keys are destroyed: its epoch, and nothing to open."""
        last = self._store.sealed.kek_version(client) or 0
        begun = self.read_or_begin(client, stored)
        version = max(last, stored.kek_version if stored else 0)
        return StoredManifest(begun.epoch + 1, version, b"", b"")

    def _mac(self, client: str, stored: StoredManifest) -> bytes:
        key = self._keys.kek(client, stored.kek_version).manifest_key.reveal()
        said = frame(client, stored.epoch, stored.kek_version, stored.entries)
        return hmac.digest(key, said, "sha256")


def name_of(row: SealedRow) -> str:
    """Say under which name the manifest has a row."""
    connection = row.connection
    return beside(connection.id, connection.version) if row.beside else connection.id


def entry_of(row: SealedRow) -> Entry:
    """Say what the manifest says of a row."""
    version = row.connection.version
    issued = row.issued if row.version == version else None
    return Entry(
        version,
        b"" if row.credential is None else credential_digest(version, row.credential),
        b"" if issued is None else issued_digest(version, row.serial, issued),
    )


def credential_digest(version: int, sealed: SealedCredential) -> bytes:
    """Digest a sealed credential."""
    return _digest("credential", version, 0, sealed)


def issued_digest(version: int, serial: int, sealed: SealedCredential) -> bytes:
    """Digest a sealed token."""
    return _digest("issued", version, serial, sealed)


_EPOCH_MAX: Final = 2**62
_WHAT_TO_DO: Final = (
    " Nothing of this client is opened: find out who writes the database, and connect it anew or "
    "restore a backup."
)


def _digest(kind: str, version: int, serial: int, sealed: SealedCredential) -> bytes:
    parts = (kind, version, serial, sealed.kek_version, sealed.wrapped_dek, sealed.payload)
    return hashlib.sha256(frame(*parts)).digest()


def _encoded(entries: Mapping[str, Entry]) -> bytes:
    return frame(
        *(
            frame(name, entries[name].version, entries[name].credential, entries[name].issued)
            for name in sorted(entries)
        )
    )


def _decoded(entries: bytes) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for part in unframe(entries):
        name, version, credential, issued = unframe(part)
        found[name.decode()] = Entry(struct.unpack(">Q", version)[0], credential, issued)
    return found
