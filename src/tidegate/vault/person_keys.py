"""Make, find and destroy the keys of single persons, by which tokens of their values are sealed.

A key is 32 random bytes with an id of 16, of one person of one client. Its seal is made by a key that is
derived of the client's protection root for this one row, so that a new key of the client leaves the rows
alone, and the roots' end is theirs. A row that was altered, or moved to another person, does not open.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Final

from tidegate.domain.secret import Secret
from tidegate.store import Store, StoredPersonKey
from tidegate.vault.envelope import Envelope, derive, new_key
from tidegate.vault.errors import VaultRefused
from tidegate.vault.protection import ProtectionRoots

_ID_BYTES: Final = 16
_PURPOSE: Final = "person key"

PersonKey = tuple[bytes, Secret]
"""A key's id, and the key."""


class PersonKeys:
    """The keys of persons of one store. Threads may share it."""

    def __init__(self, store: Store, roots: ProtectionRoots) -> None:
        self._store = store
        self._roots = roots

    def of(
        self, client: str, subjects: Collection[bytes], *, suppressed_too: bool
    ) -> dict[bytes, PersonKey]:
        """Return subjects' keys; who has none gets the first, unless suppressed and those are left out.

        Raises:
            VaultRefused: one of them was altered, or the client's roots were.
        """
        roots = dict(self._roots.of(client))
        stored = self._store.person_keys.of(client, subjects)
        absent = set(subjects) - {key.subject for key in stored}
        if absent:
            newest = max(roots)
            made = [_sealed(client, subject, newest, roots[newest]) for subject in sorted(absent)]
            self._store.person_keys.add(made, suppressed_too=suppressed_too)
            # Another process may have been first, and then its key is the one.
            stored += self._store.person_keys.of(client, absent)
        return {key.subject: (key.id, _opened(key, roots)) for key in stored}

    def with_ids(self, client: str, ids: Collection[bytes]) -> list[PersonKey]:
        """Return the keys of these ids, of those that are not destroyed.

        Raises:
            VaultRefused: one of them was altered, or the client's roots were.
        """
        roots = dict(self._roots.of(client))
        return [
            (key.id, _opened(key, roots)) for key in self._store.person_keys.with_ids(client, ids)
        ]

    def destroy(self, client: str, subject: bytes) -> bool:
        """Destroy a subject's key; False where there is none."""
        return self._store.person_keys.destroy(client, subject)


def _sealed(client: str, subject: bytes, root: int, secret: Secret) -> StoredPersonKey:
    id_ = os.urandom(_ID_BYTES)
    envelope = Envelope(derive(secret, _PURPOSE, client, subject, id_))
    sealed = envelope.seal(new_key(), _PURPOSE, client, subject, id_, root)
    return StoredPersonKey(client, subject, id_, root, sealed)


def _opened(key: StoredPersonKey, roots: Mapping[int, Secret]) -> Secret:
    try:
        envelope = Envelope(derive(roots[key.root], _PURPOSE, key.client, key.subject, key.id))
        return envelope.open(key.sealed, _PURPOSE, key.client, key.subject, key.id, key.root)
    except (KeyError, VaultRefused):
        raise VaultRefused(
            f"A key of a person of client `{key.client}` does not open: its row in the store was "
            "altered. Find out by whom, and restore a backup."
        ) from None
