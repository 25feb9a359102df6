"""The keys by which clients' subjects are indexed, so that nobody but the gateway can tell who is meant.

A key is derived of the store's token key and of a salt of the client's own: who has the database alone
lacks the one, who has the root key alone the other. It does not change when the client's or the root key
is replaced, since an index that was written must be found for as long as it is kept. When a client is
shredded its salt is destroyed, and what the ledger says of subjects says it of nobody from then on.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from typing import Final

from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.store.subjects import StoredSalt
from tidegate.vault.envelope import derive, frame
from tidegate.vault.errors import VaultRefused

_SALT_BYTES: Final = 32


def subject_keys(store: Store, token_key: Secret, clients: Iterable[str]) -> dict[str, Secret]:
    """Return these clients' keys; who has none gets the first.

    Raises:
        VaultRefused: a salt was altered, or taken away while the ledger still goes by it.
    """
    wanted = list(clients)
    known = store.subjects.salts()
    for salt in known.values():
        _require_ours(token_key, salt)
    absent = [client for client in wanted if _next_number(known.get(client))]
    for client in absent:
        if client not in known and store.ledger.knows_subjects_of(client):
            raise VaultRefused(
                f"The salt by which subjects of client `{client}` are known is gone from the store, "
                "and the ledger still goes by it. Restore a backup of the store."
            )
    made = [_make(token_key, client, _next_number(known.get(client))) for client in absent]
    store.subjects.add_salts(made)
    if made:
        known = store.subjects.salts()
    return {client: _key(token_key, known[client]) for client in wanted}


def destroy_subject_key(store: Store, token_key: Secret, client: str) -> None:
    """Destroy a client's key; nothing where it has none."""
    salt = store.subjects.salts().get(client)
    if salt is not None and salt.salt is not None:
        mac = _mac(token_key, client, salt.number, None)
        store.subjects.destroy_salt(StoredSalt(client, salt.number, None, mac))


def _next_number(salt: StoredSalt | None) -> int:
    """The number of the salt to be made; 0 where there is one."""
    if salt is None:
        return 1
    return 0 if salt.salt is not None else salt.number + 1


def _make(token_key: Secret, client: str, number: int) -> StoredSalt:
    salt = os.urandom(_SALT_BYTES)
    return StoredSalt(client, number, salt, _mac(token_key, client, number, salt))


def _key(token_key: Secret, stored: StoredSalt) -> Secret:
    if stored.salt is None:
        raise VaultRefused(f"Client `{stored.client}` was shredded just now; try again.")
    return derive(token_key, "subjects", stored.client, stored.number, stored.salt)


def _require_ours(token_key: Secret, stored: StoredSalt) -> None:
    mac = _mac(token_key, stored.client, stored.number, stored.salt)
    if not hmac.compare_digest(mac, stored.mac):
        raise VaultRefused(
            f"The salt by which subjects of client `{stored.client}` are known was altered in the "
            "store. Restore a backup of the store."
        )


def _mac(token_key: Secret, client: str, number: int, salt: bytes | None) -> bytes:
    key = derive(token_key, "salts of subjects").reveal()
    said = frame(client, number, b"destroyed" if salt is None else b"in use", salt or b"")
    return hmac.digest(key, said, "sha256")
