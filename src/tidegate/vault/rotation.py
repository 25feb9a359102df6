"""Replace keys while everything goes on: a client's key, or the root key above all clients'.

A key that is being replaced stays until nothing refers to it. Each batch is one transaction, and
what is left to do is read from the store, so that a rotation killed anywhere goes on where it was.

A client's new key gets everything sealed anew, also under new data keys: whoever held the old key
could have unwrapped the old data keys (NIST SP 800-57 part 1, §5.3.4 and §5.3.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tidegate.domain.secret import Secret
from tidegate.store import SealedRow, Store, StoredKek, StoredManifest
from tidegate.vault.errors import VaultOutdated, VaultRefused
from tidegate.vault.keys import Keys
from tidegate.vault.manifest import Entry, Manifests, entry_of, name_of

if TYPE_CHECKING:
    from tidegate.vault.vault import Vault

BATCH: Final = 500
_IDLE_PASSES_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation did: the client's key version now, and how many connections it sealed anew."""

    version: int
    connections: int


def rotate_client(vault: Vault, store: Store, client: str) -> Rotated:
    """Give a client a new key and seal all that it has anew.

    Raises:
        VaultRefused: the client has no key, or something of it does not open.
    """
    versions = [version for name, version, _ in store.sealed.keks() if name == client]
    if not versions:
        raise VaultRefused(f"Client `{client}` has nothing sealed, and so no key to replace.")
    # Two: a rotation was cut off, and goes on with the key that it made.
    target = max(versions) if len(versions) > 1 else vault.keys.add(client)[0]
    sealed = 0
    idle = 0
    while not store.sealed.drop_keks(client, below=target):
        rows = store.sealed.rows(client, not_under=target, limit=BATCH)
        done = _reseal(vault, store, client, rows)
        _reseal_questions(vault, store, client, target)
        vault.protection_roots.reseal(client)
        sealed += done
        # Rows that others change meanwhile are read again; what stays the same was altered.
        idle = 0 if done else idle + 1
        if rows and idle > _IDLE_PASSES_MAX:
            named = rows[0].connection
            raise VaultRefused(
                f"The credential of connection `{named.name}` of client `{client}` at "
                f"`{named.provider}` is not the one kept last, so the key is not replaced: connect "
                "it anew or disconnect it, and run this again."
            )
    vault.keys.follow()
    return Rotated(target, sealed)


def rewrap(keys: Keys, store: Store) -> int:
    """Wrap every client's key by the newest root; return how many it were."""
    wrapped = 0
    while True:
        number, wrap = keys.root()
        batch = store.sealed.keks_not_under(number, BATCH)
        if not batch:
            return wrapped
        changed: list[tuple[StoredKek, StoredKek]] = []
        for kek in batch:
            sealed = wrap.seal(keys.unwrap(kek), "kek", kek.client, kek.version)
            changed.append((kek, replace(kek, wrapped=sealed, root=number)))
        store.sealed.rewrap(changed)
        wrapped += len(batch)


def _reseal(vault: Vault, store: Store, client: str, rows: Sequence[SealedRow]) -> int:
    manifest = vault.manifests.read(client, store.sealed.manifest(client))
    changed = [
        (row, _sealed_anew(vault, row))
        for row in rows
        if _is_recorded(manifest.entries.get(name_of(row)), row)
    ]

    def amend(stored: StoredManifest | None) -> StoredManifest:
        return _amended(vault.manifests, client, stored, changed)

    try:
        store.sealed.reseal(client, changed, amend)
    except VaultOutdated:
        return 0
    return len(changed)


def _reseal_questions(vault: Vault, store: Store, client: str, target: int) -> None:
    """Carry open questions for consent over; one that does not open ends here."""
    for question in store.consents.under_older(client, target):
        if question.sealed is None:
            continue
        try:
            fields = vault.open_pending(question.draft, question.id, question.sealed)
        except VaultRefused:
            store.consents.end(question.id, "altered", now=datetime.now(UTC))
            continue
        sealed = vault.seal_pending(question.draft, question.id, fields)
        store.consents.reseal(question.id, question.sealed, sealed)


def _amended(
    manifests: Manifests,
    client: str,
    stored: StoredManifest | None,
    changed: Sequence[tuple[SealedRow, SealedRow]],
) -> StoredManifest:
    manifest = manifests.read(client, stored)
    entries: dict[str, Entry] = dict(manifest.entries)
    for before, after in changed:
        name = name_of(before)
        if not _is_recorded(entries.get(name), before):
            # Its half in the store was left alone too where it differs; sign nothing half.
            raise VaultOutdated(f"Client `{client}` was changed at the same time.")
        entries[name] = entry_of(after)
    return manifests.sign(client, replace(manifest, entries=entries))


def _is_recorded(entry: Entry | None, row: SealedRow) -> bool:
    found = entry_of(row)
    if entry is None or not row.beside:
        return entry == found
    # What was issued for a version beside stands in another row, if it still does.
    return (entry.version, entry.credential) == (found.version, found.credential)


def _sealed_anew(vault: Vault, row: SealedRow) -> SealedRow:
    connection = row.connection
    credential, issued = row.credential, row.issued
    if credential is not None:
        fields = vault.unseal(connection, credential)
        credential = vault.sealed(connection, fields)
    if issued is not None and row.version == connection.version:
        held: dict[str, Secret] = vault.unseal_issued(connection, row.serial, issued)
        issued = vault.sealed_issued(connection, row.serial, held)
    else:
        issued = None  # Issued for a version that is gone.
    return replace(row, credential=credential, issued=issued)
