"""Keep for each client the roots of the keys by which its values are protected.

A root is random, has a number, and is sealed by the client's key: who shreds the client destroys
its roots with it, and every token that was made by them is noise from then on. The newest one
protects; older ones only let tokens be restored that were made by them. Each stands in the client's
manifest, so that one that was rolled back, removed or moved is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Final

from tidegate.domain.secret import Secret
from tidegate.store import (
    KekReplaced,
    Store,
    StoreConflict,
    StoredManifest,
    StoredProtectionRoot,
)
from tidegate.vault.envelope import frame, new_key
from tidegate.vault.errors import VaultRefused
from tidegate.vault.keys import Keys
from tidegate.vault.manifest import Entry, Manifest, Manifests, beside

_PURPOSE: Final = "protection root"
_TRIES: Final = 20


class ProtectionRoots:
    """The protection roots of one store. Threads may share it."""

    def __init__(self, store: Store, keys: Keys, manifests: Manifests) -> None:
        self._store = store
        self._keys = keys
        self._manifests = manifests

    def of(self, client: str) -> list[tuple[int, Secret]]:
        """Return a client's roots with their numbers, oldest first; the first is made when it is asked for.

        Raises:
            VaultRefused: one of them was altered, moved, rolled back or removed.
        """
        for tries_left in reversed(range(_TRIES)):
            stored = self._store.sealed.manifest(client)
            rows = self._store.protection_roots.of(client)
            recorded = self._recorded(client, stored, rows)
            if not rows and not recorded:
                self.add(client)
                continue
            if recorded == {_name(row.version): _entry(row) for row in rows}:
                return [(row.version, self._open(row)) for row in rows]
            # Unless somebody changed it between the two looks.
            if not tries_left or self._store.sealed.manifest(client) == stored:
                break
        raise VaultRefused(
            f"The protection roots of client `{client}` are not those kept last: a row in the store "
            "was altered, removed or rolled back. Find out by whom, and restore a backup; what was "
            "tokenised by them is not restored meanwhile."
        )

    def add(self, client: str) -> int:
        """Make a client's next root, which protects from now on; return its number."""
        for tries_left in reversed(range(_TRIES)):
            known = [row.version for row in self._store.protection_roots.of(client)]
            number = max(known, default=0) + 1
            row = self._sealed(client, number, new_key())

            def amend(
                before: StoredManifest | None, row: StoredProtectionRoot = row
            ) -> StoredManifest:
                return self._with(client, self._manifests.read_or_begin(client, before), row)

            try:
                self._store.protection_roots.add(row, amend)
            except (KekReplaced, StoreConflict):
                # Another process made the first one: what it made is as good.
                if not tries_left:
                    raise
                if not known and self._store.protection_roots.of(client):
                    return number
            else:
                return number
        return 0

    def reseal(self, client: str) -> None:
        """Seal a client's roots by its newest key."""
        newest, _ = self._keys.newest(client)
        for before in self._store.protection_roots.of(client):
            if before.kek_version == newest:
                continue
            after = self._sealed(client, before.version, self._open(before))

            def amend(
                stored: StoredManifest | None,
                before: StoredProtectionRoot = before,
                after: StoredProtectionRoot = after,
            ) -> StoredManifest:
                manifest = self._manifests.read(client, stored)
                if manifest.entries.get(_name(before.version)) != _entry(before):
                    raise VaultRefused(
                        f"A protection root of client `{client}` is not the one kept last, so its "
                        "key is not replaced: restore a backup, and run this again."
                    )
                return self._with(client, manifest, after)

            with contextlib.suppress(StoreConflict):  # Whoever replaces the key looks again.
                self._store.protection_roots.reseal(before, after, amend)

    def _recorded(
        self, client: str, stored: StoredManifest | None, rows: list[StoredProtectionRoot]
    ) -> dict[str, Entry]:
        """Say what the manifest has of them; nothing where none was kept, or the client was shredded."""
        try:
            manifest = None if stored is None else self._manifests.at(client, stored.epoch)
        except VaultRefused:
            if rows:
                raise
            manifest = None
        if manifest is None:
            return {}
        entries = manifest.entries
        return {name: entry for name, entry in entries.items() if name == _name(entry.version)}

    def _with(self, client: str, manifest: Manifest, row: StoredProtectionRoot) -> StoredManifest:
        return self._manifests.sign(client, manifest.having(_name(row.version), _entry(row)))

    def _sealed(self, client: str, number: int, root: Secret) -> StoredProtectionRoot:
        version, key = self._keys.newest(client)
        sealed = key.envelope.seal(root, _PURPOSE, client, number, version)
        return StoredProtectionRoot(client, number, version, sealed)

    def _open(self, row: StoredProtectionRoot) -> Secret:
        key = self._keys.kek(row.client, row.kek_version)
        try:
            return key.envelope.open(row.sealed, _PURPOSE, row.client, row.version, row.kek_version)
        except (VaultRefused, OverflowError):
            raise VaultRefused(
                f"Protection root {row.version} of client `{row.client}` does not open: its row in "
                "the store was altered. Find out by whom, and restore a backup."
            ) from None


def _name(number: int) -> str:
    return beside(_PURPOSE, number)


def _entry(row: StoredProtectionRoot) -> Entry:
    said = frame(_PURPOSE, row.version, row.kek_version, row.sealed)
    return Entry(row.version, hashlib.sha256(said).digest())
