"""Seal a connection's secret into the store, and open it again.

Runs below `credentials`, which decides what is sealed for which origins. Every seal is bound to the
whole identity of its connection, so whoever can write the database can destroy a secret but cannot
make it go anywhere else.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from tidegate.domain.connection import Connection
from tidegate.domain.secret import Secret
from tidegate.store import FirstToken, SealedCredential, Store
from tidegate.vault.envelope import Envelope, frame, new_key, unframe
from tidegate.vault.errors import RootRefused, VaultRefused
from tidegate.vault.root import Root

KEKS_CACHED_MAX: Final = 1024
"""How many clients' keys are kept ready; beyond that the least recently used is unwrapped anew."""

_KEY_CHECK: Final = "key-check"
_TOKEN_KEY: Final = "token-key"  # noqa: S105 - a name, not a key
_CHECKED: Final = Secret(b"this root key is the one")


class Vault:
    """The vault of one store. Threads may share it.

    Raises:
        RootRefused: the root key is not the one that this store was first used with.
    """

    def __init__(self, store: Store, root: Root) -> None:
        self._store = store
        self._root = Envelope(root.key)
        self._keks = _KekCache()
        self._check(root)
        self._token_key = self._open_token_key()

    @staticmethod
    def is_new(store: Store) -> bool:
        """Whether no vault has used the store yet: only then may a new root key be made for it."""
        return store.sealed.value(_KEY_CHECK) is None

    def token_key(self) -> Secret:
        """Return the key of access-token hashes, the same for the life of the store."""
        return self._token_key

    def link_key(self) -> Secret:
        """Return the key of the hashes by which questions for consent are found."""
        return Secret(hmac.digest(self._token_key.reveal(), b"tidegate consent links", "sha256"))

    def seal(
        self,
        connection: Connection,
        fields: Mapping[str, Secret],
        first: tuple[Mapping[str, Secret], datetime, datetime] | None = None,
    ) -> None:
        """Keep a connection's version with its secret, and destroy the secret of the one before.

        `first` is the token that was issued with it, if any: its fields, since when and until when.

        Raises:
            StoreConflict: the stored connection is not the version before this one.
        """
        credential = self.sealed(connection, fields)
        if first is None:
            self._store.sealed.put(connection, credential)
            return
        issued, issued_at, expires_at = first
        before = self._store.issued.get(connection.id)
        serial = 1 if before is None else before.serial + 1
        sealed = self.seal_issued(connection, serial, issued)
        token = FirstToken(serial, sealed, issued_at, expires_at)
        self._store.sealed.put(connection, credential, token)

    def sealed(self, connection: Connection, fields: Mapping[str, Secret]) -> SealedCredential:
        """Seal a secret for a connection's version, for a caller who keeps it with something else."""
        kek_version = self._kek_version(connection.client)
        bound = (*_identity(connection), kek_version)
        dek = new_key()
        return SealedCredential(
            kek_version=kek_version,
            wrapped_dek=self._kek(connection.client, kek_version).seal(dek, "dek", *bound),
            payload=Envelope(dek).seal(_pack(fields), "payload", *bound),
        )

    def seal_pending(
        self, draft: Connection, question: str, fields: Mapping[str, Secret]
    ) -> SealedCredential:
        """Seal what a question for consent needs until it is answered; `question` is its id."""
        kek_version = self._kek_version(draft.client)
        bound = (*_identity(draft), kek_version, question)
        dek = new_key()
        return SealedCredential(
            kek_version=kek_version,
            wrapped_dek=self._kek(draft.client, kek_version).seal(dek, "pending dek", *bound),
            payload=Envelope(dek).seal(_pack(fields), "pending payload", *bound),
        )

    def open_pending(
        self, draft: Connection, question: str, sealed: SealedCredential
    ) -> dict[str, Secret]:
        """Return what `seal_pending` sealed for the same question.

        Raises:
            VaultRefused: it was altered, or moved.
        """
        bound = (*_identity(draft), sealed.kek_version, question)
        try:
            kek = self._kek(draft.client, sealed.kek_version)
            dek = kek.open(sealed.wrapped_dek, "pending dek", *bound)
            return _unpack(Envelope(dek).open(sealed.payload, "pending payload", *bound))
        except (VaultRefused, OverflowError):
            raise VaultRefused(
                "A question for consent does not open: its row in the store was altered. Find out "
                "by whom, and make a new link."
            ) from None

    def open(self, connection: Connection) -> dict[str, Secret]:
        """Return a connection's secret fields.

        Raises:
            VaultRefused: there is none, or it is not what was sealed for exactly this connection.
        """
        credential = self._store.sealed.get(connection)
        if credential is None:
            raise VaultRefused(f"{_named(connection)} has no sealed credential; connect it again.")
        bound = (*_identity(connection), credential.kek_version)
        try:
            kek = self._kek(connection.client, credential.kek_version)
            dek = kek.open(credential.wrapped_dek, "dek", *bound)
            return _unpack(Envelope(dek).open(credential.payload, "payload", *bound))
        except (VaultRefused, OverflowError):
            raise VaultRefused(
                f"{_named(connection)} does not open: its row in the store was altered, or moved "
                "from another client, connection or origin. Find out by whom, and connect it anew."
            ) from None

    def seal_issued(
        self, connection: Connection, serial: int, fields: Mapping[str, Secret]
    ) -> SealedCredential:
        """Seal a token that a provider issued for a connection; `serial` is its number."""
        kek_version = self._store.sealed.kek_version(connection.client)
        if kek_version is None:
            raise VaultRefused(f"{_named(connection)} has no key; connect it again.")
        bound = (*_identity(connection), kek_version, serial)
        dek = new_key()
        return SealedCredential(
            kek_version=kek_version,
            wrapped_dek=self._kek(connection.client, kek_version).seal(dek, "issued dek", *bound),
            payload=Envelope(dek).seal(_pack(fields), "issued payload", *bound),
        )

    def open_issued(
        self, connection: Connection, serial: int, sealed: SealedCredential
    ) -> dict[str, Secret]:
        """Return what `seal_issued` sealed for the same connection and number.

        Raises:
            VaultRefused: it was altered, or moved.
        """
        bound = (*_identity(connection), sealed.kek_version, serial)
        try:
            kek = self._kek(connection.client, sealed.kek_version)
            dek = kek.open(sealed.wrapped_dek, "issued dek", *bound)
            return _unpack(Envelope(dek).open(sealed.payload, "issued payload", *bound))
        except (VaultRefused, OverflowError):
            raise VaultRefused(
                f"{_named(connection)} has an issued token that does not open: its row in the "
                "store was altered. Find out by whom, and connect it anew."
            ) from None

    def _check(self, root: Root) -> None:
        stored = self._store.sealed.value(_KEY_CHECK)
        if stored is None:
            mine = self._root.seal(_CHECKED, _KEY_CHECK)
            stored = self._store.sealed.value_once(_KEY_CHECK, mine)
        try:
            self._root.open(stored, _KEY_CHECK)
        except VaultRefused:
            raise RootRefused(
                f"The root key from {root.source} is not the one that sealed this store."
            ) from None

    def _open_token_key(self) -> Secret:
        stored = self._store.sealed.value(_TOKEN_KEY)
        if stored is None:
            mine = self._root.seal(new_key(), _TOKEN_KEY)
            stored = self._store.sealed.value_once(_TOKEN_KEY, mine)
        try:
            return self._root.open(stored, _TOKEN_KEY)
        except VaultRefused:
            raise VaultRefused(
                "The key of the access tokens does not open: its row in the store was altered. "
                "Restore a backup of the store."
            ) from None

    def _kek(self, client: str, version: int) -> Envelope:
        cached = self._keks.get((client, version))
        if cached is not None:
            return cached
        wrapped = self._store.sealed.kek(client, version)
        if wrapped is None:
            raise VaultRefused(f"Client `{client}` has no key of version {version}.")
        try:
            kek = Envelope(self._root.open(wrapped, "kek", client, version))
        except VaultRefused:
            raise VaultRefused(
                f"The key of client `{client}` does not open: its row in the store was altered. "
                "Restore a backup of the store."
            ) from None
        self._keks.put((client, version), kek)
        return kek

    def _kek_version(self, client: str) -> int:
        version = self._store.sealed.kek_version(client)
        return self._add_kek(client) if version is None else version

    def _add_kek(self, client: str) -> int:
        first = 1
        wrapped = self._root.seal(new_key(), "kek", client, first)
        self._store.sealed.add_kek(client, first, wrapped)
        return first


class _KekCache:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keks: OrderedDict[tuple[str, int], Envelope] = OrderedDict()

    def get(self, key: tuple[str, int]) -> Envelope | None:
        with self._lock:
            if key in self._keks:
                self._keks.move_to_end(key)
            return self._keks.get(key)

    def put(self, key: tuple[str, int], kek: Envelope) -> None:
        with self._lock:
            self._keks[key] = kek
            if len(self._keks) > KEKS_CACHED_MAX:
                self._keks.popitem(last=False)


def _identity(connection: Connection) -> tuple[str | int | bytes, ...]:
    """Say all by which the secret could be led astray if somebody changed it in the store."""
    return (
        connection.client,
        connection.provider,
        connection.name,
        connection.id,
        connection.version,
        connection.scheme,
        hashlib.sha256(frame(*connection.origins)).digest(),
        hashlib.sha256(frame(*connection.fields)).digest(),
    )


def _pack(fields: Mapping[str, Secret]) -> Secret:
    parts = [part for name in sorted(fields) for part in (name, fields[name].reveal())]
    return Secret(frame(*parts))


def _unpack(packed: Secret) -> dict[str, Secret]:
    parts = unframe(packed.reveal())
    return {
        name.decode(): Secret(value) for name, value in zip(parts[::2], parts[1::2], strict=True)
    }


def _named(connection: Connection) -> str:
    return (
        f"The credential of connection `{connection.name}` "
        f"of client `{connection.client}` at `{connection.provider}`"
    )
