"""Seal a connection's secret into the store, and open it again.

Runs below `credentials`, which decides what is sealed for which origins. Every seal is bound to the
whole identity of its connection, so whoever can write the database can destroy a secret but cannot
make it go anywhere else.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from tidegate.domain.connection import Connection
from tidegate.domain.secret import Secret
from tidegate.store import (
    Amend,
    FirstToken,
    KekReplaced,
    SealedCredential,
    Store,
    StoredManifest,
)
from tidegate.vault.anchor import AnchorFile
from tidegate.vault.envelope import Envelope, derive, frame, new_key, unframe
from tidegate.vault.errors import VaultLocked, VaultOutdated, VaultRefused
from tidegate.vault.keys import ClientKey, Keys
from tidegate.vault.manifest import (
    Entry,
    Manifest,
    Manifests,
    beside,
    credential_digest,
    entry_of,
    issued_digest,
)
from tidegate.vault.person_keys import PersonKeys
from tidegate.vault.protection import ProtectionRoots
from tidegate.vault.root import Root
from tidegate.vault.rotation import Rotated, rewrap, rotate_client
from tidegate.vault.subject_keys import destroy_subject_key, subject_keys

_ANCHORED: Final = "anchored"
_TRIES: Final = 20
"""How often something is looked at or sealed again because somebody changes it at the same time."""


class Vault:
    """The vault of one store. Threads may share it.

    `anchor` is a file that remembers the store's epoch. `look_at_locked` opens the vault also where
    the anchor says that the store was replaced, so that an operator can look and acknowledge;
    nothing is opened or sealed then. `reopen` reads the root key anew, where nobody must be asked.

    Raises:
        RootRefused: the root key is not the one that seals this store.
        VaultLocked: the store was replaced by an older copy, says its anchor.
    """

    def __init__(
        self,
        store: Store,
        root: Root,
        anchor: Path | None = None,
        *,
        look_at_locked: bool = False,
        reopen: Callable[[], Root] | None = None,
    ) -> None:
        self._store = store
        self.keys = Keys(store, root, reopen)
        self.manifests = Manifests(store, self.keys)
        self.protection_roots = ProtectionRoots(store, self.keys, self.manifests)
        self._person_keys = PersonKeys(store, self.protection_roots)
        self._anchor_path = anchor
        self._anchor = self._find_anchor()
        self.locked: VaultLocked | None = self._compare()
        if self.locked is not None:
            if not look_at_locked:
                raise self.locked
            return
        store.sealed.anchor(self._anchor)
        if not self.keys.has_manifests:
            self._begin_manifests()

    @staticmethod
    def is_new(store: Store) -> bool:
        """Whether no vault has used the store yet: only then may a new root key be made for it."""
        return not store.sealed.roots()

    def token_key(self) -> Secret:
        """Return the key of access-token hashes, the same for the life of the store."""
        return self.keys.token_key

    def follow(self) -> None:
        """Take up what other processes changed: root keys, clients' keys, the anchor.

        Raises:
            VaultLocked: the store was replaced while this process ran; nothing more is opened.
        """
        self.keys.follow()
        if self.locked is None:
            self.locked = self._compare()
        self._require_unlocked()

    def acknowledge(self) -> None:
        """Take the store as it is for the right one, and carry on from there.

        Without an anchor named, a store that had one has none from now on.
        """
        sealed = self._store.sealed
        if self._anchor_path is None:
            sealed.drop_value(_ANCHORED)
            sealed.anchor(None)
        else:
            self._anchor = self._anchor_file(self._anchor_path)
            self._anchor.accept(self._store)
            sealed.value_once(_ANCHORED, b"1")
            sealed.anchor(self._anchor)
            sealed.advance()
        self.locked = None
        if not self.keys.has_manifests:
            self._begin_manifests()

    def link_key(self) -> Secret:
        """Return the key of the hashes by which questions for consent are found."""
        return Secret(
            hmac.digest(self.keys.token_key.reveal(), b"tidegate consent links", "sha256")
        )

    def acts_key(self) -> Secret:
        """Return the key that authenticates operators' acts, the same for the life of the store.

        Raises:
            VaultLocked: the store may not be the one that it should be.
        """
        self._require_unlocked()
        return derive(self.keys.token_key, "operators' acts")

    def cache_keys(self, clients: Iterable[str]) -> dict[str | None, Secret]:
        """Return the keys that seal clients' answers where gateways share them.

        They are made of the clients' own keys: who has none, or was shredded, is left out, and whose key is
        replaced has another from then on. None's is for what all clients may be given.

        Raises:
            VaultError: one of them does not open.
        """
        self._require_unlocked()
        newest = {client: version for client, version, _ in self._store.sealed.keks()}
        keys: dict[str | None, Secret] = {
            client: self.keys.kek(client, newest[client]).cache_key
            for client in clients
            if client in newest
        }
        return keys | {None: derive(self.keys.token_key, "shared answers")}

    def subject_keys(self, clients: Iterable[str]) -> dict[str, Secret]:
        """Return the keys by which clients' subjects are known in the ledger; each its own.

        Raises:
            VaultError: one of them is not what was made.
        """
        self._require_unlocked()
        return subject_keys(self._store, self.keys.token_key, clients)

    def protection(self, client: str) -> list[tuple[int, Secret]]:
        """Return the roots of the keys that protect a client's values, oldest first.

        Raises:
            VaultError: they do not open, or are not those kept last.
        """
        self._require_unlocked()
        return self.protection_roots.of(client)

    @property
    def person_keys(self) -> PersonKeys:
        """The keys of single persons.

        Raises:
            VaultLocked: the vault is locked.
        """
        self._require_unlocked()
        return self._person_keys

    def rotate_protection(self, client: str) -> int:
        """Make a client's next protection root; those before only restore. Return its number.

        Raises:
            VaultError: those that it has are not to be trusted.
        """
        self.protection(client)
        return self.protection_roots.add(client)

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
        self._require_unlocked()
        for tries_left in reversed(range(_TRIES)):
            sealed = self.sealed(connection, fields)
            token = None if first is None else self._first_token(connection, *first)
            entry = Entry(
                connection.version,
                credential_digest(connection.version, sealed),
                b""
                if token is None
                else issued_digest(connection.version, token.serial, token.sealed),
            )

            def amend(before: StoredManifest | None, entry: Entry = entry) -> StoredManifest:
                manifest = self.manifests.read_or_begin(connection.client, before)
                anew = manifest.without(connection.id).having(connection.id, entry)
                return self.manifests.sign(connection.client, anew)

            try:
                return self._store.sealed.put(connection, sealed, amend, token)
            except KekReplaced:
                if not tries_left:
                    raise
        return None

    def seal_pending(
        self, draft: Connection, question: str, fields: Mapping[str, Secret]
    ) -> SealedCredential:
        """Seal what a question for consent needs until it is answered; `question` is its id."""
        self._require_unlocked()
        version, key = self.keys.newest(draft.client)
        return _seal(version, key, fields, "pending ", (*_identity(draft), version, question))

    def open_pending(
        self, draft: Connection, question: str, sealed: SealedCredential
    ) -> dict[str, Secret]:
        """Return what `seal_pending` sealed for the same question.

        Raises:
            VaultRefused: it was altered, or moved.
        """
        self._require_unlocked()
        try:
            bound = (*_identity(draft), sealed.kek_version, question)
            return self._unseal(draft, sealed, "pending ", bound)
        except (VaultRefused, OverflowError):
            raise VaultRefused(
                "A question for consent does not open: its row in the store was altered. Find out "
                "by whom, and make a new link."
            ) from None

    def open(self, connection: Connection) -> dict[str, Secret]:
        """Return a connection's secret fields.

        Raises:
            VaultRefused: there is none, or it is not what was sealed for exactly this connection.
            VaultOutdated: another version has taken its place.
        """
        return self._open(connection, beside=False)

    def open_beside(self, connection: Connection) -> dict[str, Secret]:
        """Return the fields of a version that a rotation keeps beside the connection's own.

        Raises:
            VaultRefused: as of `open`.
        """
        return self._open(connection, beside=True)

    def _open(self, connection: Connection, *, beside: bool) -> dict[str, Secret]:
        self._require_unlocked()
        for _ in range(_TRIES):
            sealed, epoch = self._store.sealed.get(connection)
            if sealed is None:
                raise VaultRefused(
                    f"{_named(connection)} has no sealed credential; connect it again."
                )
            manifest = self.manifests.at(connection.client, epoch)
            if manifest is None and epoch is not None:
                continue  # Somebody changed it between the two looks.
            self._require_recorded(connection, manifest, sealed, beside=beside)
            return self.unseal(connection, sealed)
        raise VaultOutdated(f"{_named(connection)} changes all the time; try again.")

    def forget(self, connection: Connection) -> bool:
        """Delete a connection with all that is sealed for it; False when there is none."""
        self._require_unlocked()

        def amend(before: StoredManifest | None) -> StoredManifest:
            manifest = self.manifests.read_or_begin(connection.client, before)
            return self.manifests.sign(connection.client, manifest.without(connection.id))

        return self._store.sealed.remove(connection, amend)

    def keep_issued(
        self,
        connection: Connection,
        fence: int,
        serial: int,
        fields: Mapping[str, Secret],
        *,
        issued_at: datetime,
        expires_at: datetime,
    ) -> bool:
        """Seal and keep a token that a provider issued; `serial` is its number.

        False when the turn to ask for it, `fence`, is somebody else's by now.
        """
        self._require_unlocked()
        for tries_left in reversed(range(_TRIES)):
            sealed = self.sealed_issued(connection, serial, fields)

            def amend(
                before: StoredManifest | None, sealed: SealedCredential = sealed
            ) -> StoredManifest:
                manifest = self.manifests.read(connection.client, before)
                entry = manifest.entries.get(connection.id)
                if entry is None or entry.version != connection.version:
                    raise VaultOutdated(f"{_named(connection)} was replaced just now.")
                digest = issued_digest(connection.version, serial, sealed)
                changed = manifest.having(connection.id, replace(entry, issued=digest))
                return self.manifests.sign(connection.client, changed)

            try:
                return self._store.issued.keep(
                    connection, fence, sealed, amend, issued_at=issued_at, expires_at=expires_at
                )
            except VaultOutdated:
                return False  # Connected anew meanwhile: what was issued is for the one before.
            except KekReplaced:
                if not tries_left:
                    raise
        return False

    def open_issued(
        self, connection: Connection, serial: int, sealed: SealedCredential
    ) -> dict[str, Secret]:
        """Return what `keep_issued` sealed for the same connection and number.

        Raises:
            VaultRefused: it was altered, moved or rolled back.
            VaultOutdated: another token has taken its place.
        """
        self._require_unlocked()
        for _ in range(_TRIES):
            stored = self._store.sealed.manifest(connection.client)
            manifest = self.manifests.read(connection.client, stored)
            entry = manifest.entries.get(connection.id)
            if entry is not None and self._is_entry(entry, connection, serial, sealed):
                return self.unseal_issued(connection, serial, sealed)
            token = self._store.issued.get(connection.id)
            if token is None or token.sealed is None:
                break
            if (token.version, token.serial) != (connection.version, serial):
                raise VaultOutdated(f"{_named(connection)} has another token by now; look again.")
            if token.sealed == sealed:
                # Unchanged in the store, so it is not the manifest's: unless that has just moved.
                if self._store.sealed.manifest(connection.client) == stored:
                    break
                continue
            sealed = token.sealed  # The client's key was replaced, and this sealed anew.
        raise VaultRefused(
            f"{_named(connection)} has an issued token that is not the one kept last: its row in "
            "the store was altered or rolled back. Find out by whom, and connect it anew."
        )

    def rotate_client(self, client: str) -> Rotated:
        """Give a client a new key, and seal all that it has anew; goes on with one cut off."""
        self._require_unlocked()
        return rotate_client(self, self._store, client)

    def shred(self, client: str) -> int:
        """Destroy a client's keys and all that they seal; return how many connections it had."""
        self._require_unlocked()
        destroy_subject_key(self._store, self.keys.token_key, client)
        gone = self._store.sealed.shred(
            client, lambda before: self.manifests.tombstone(client, before)
        )
        self.keys.follow()
        return gone

    def begin_root(self, root: Root, values: Mapping[str, bytes]) -> None:
        """Put the next root key beside the present one; both are good until `finish_root`.

        Raises:
            StoreConflict: one is being replaced already.
        """
        self._require_unlocked()
        self._store.sealed.begin_root(self.keys.next_root(root), values)
        self.keys.learn()

    def rewrap(self) -> int:
        """Wrap every client's key by the newest root key; return how many it were."""
        self._require_unlocked()
        self.keys.learn()
        return rewrap(self.keys, self._store)

    def finish_root(self) -> bool:
        """Forget the root keys before the newest; False while one still wraps something."""
        self._require_unlocked()
        done = self._store.sealed.finish_root(self.keys.root()[0])
        self.keys.learn()
        return done

    # For a rotation, which keeps two versions for a while: how to amend the manifest with its step.

    def beside(self, connection: Connection, sealed: SealedCredential) -> Amend:
        """Record a version beside the connection's own."""
        digest = credential_digest(connection.version, sealed)
        name = beside(connection.id, connection.version)
        entry = Entry(connection.version, digest)
        return self._amending(connection.client, lambda manifest: manifest.having(name, entry))

    def flipped(self, connection: Connection) -> Amend:
        """Record that a version beside is the connection's own now."""
        return self._amending(connection.client, lambda manifest: _flipped(manifest, connection))

    def replaced(self, connection: Connection, sealed: SealedCredential) -> Amend:
        """Record a version that is the connection's own at once."""
        digest = credential_digest(connection.version, sealed)
        name = beside(connection.id, connection.version)
        entry = Entry(connection.version, digest)
        return self._amending(
            connection.client,
            lambda manifest: _flipped(manifest.having(name, entry), connection),
        )

    def destroyed(self, client: str, connection: str, version: int) -> Amend:
        """Record that a version beside is gone."""
        return self._amending(
            client, lambda manifest: manifest.without_version(connection, version)
        )

    def _amending(self, client: str, change: Callable[[Manifest], Manifest]) -> Amend:
        self._require_unlocked()

        def amend(before: StoredManifest | None) -> StoredManifest:
            return self.manifests.sign(client, change(self.manifests.read(client, before)))

        return amend

    # For the modules of the vault.

    def sealed(self, connection: Connection, fields: Mapping[str, Secret]) -> SealedCredential:
        """Seal a credential under the client's newest key, without keeping it."""
        version, key = self.keys.newest(connection.client)
        bound = (*_identity(connection), version)
        return _seal(version, key, fields, "", bound)

    def sealed_issued(
        self, connection: Connection, serial: int, fields: Mapping[str, Secret]
    ) -> SealedCredential:
        """Seal an issued token under the client's newest key, without keeping it."""
        version, key = self.keys.newest(connection.client)
        bound = (*_identity(connection), version, serial)
        return _seal(version, key, fields, "issued ", bound)

    def unseal(self, connection: Connection, sealed: SealedCredential) -> dict[str, Secret]:
        """Open a credential, whether it is the newest or not."""
        try:
            bound = (*_identity(connection), sealed.kek_version)
            return self._unseal(connection, sealed, "", bound)
        except (VaultRefused, OverflowError):
            raise VaultRefused(
                f"{_named(connection)} does not open: its row in the store was altered, or moved "
                "from another client, connection or origin. Find out by whom, and connect it anew."
            ) from None

    def unseal_issued(
        self, connection: Connection, serial: int, sealed: SealedCredential
    ) -> dict[str, Secret]:
        """Open an issued token, whether it is the newest or not."""
        try:
            bound = (*_identity(connection), sealed.kek_version, serial)
            return self._unseal(connection, sealed, "issued ", bound)
        except (VaultRefused, OverflowError):
            raise VaultRefused(
                f"{_named(connection)} has an issued token that does not open: its row in the "
                "store was altered. Find out by whom, and connect it anew."
            ) from None

    def _first_token(
        self,
        connection: Connection,
        fields: Mapping[str, Secret],
        issued_at: datetime,
        expires_at: datetime,
    ) -> FirstToken:
        before = self._store.issued.get(connection.id)
        serial = 1 if before is None else before.serial + 1
        sealed = self.sealed_issued(connection, serial, fields)
        return FirstToken(serial, sealed, issued_at, expires_at)

    def _unseal(
        self,
        connection: Connection,
        sealed: SealedCredential,
        kind: str,
        bound: tuple[str | int | bytes, ...],
    ) -> dict[str, Secret]:
        key = self.keys.kek(connection.client, sealed.kek_version)
        dek = key.envelope.open(sealed.wrapped_dek, f"{kind}dek", *bound)
        return _unpack(Envelope(dek).open(sealed.payload, f"{kind}payload", *bound))

    def _require_recorded(
        self,
        connection: Connection,
        manifest: Manifest | None,
        sealed: SealedCredential,
        *,
        beside: bool,
    ) -> None:
        """Refuse what opens, but is not what was kept last."""
        version = connection.version
        entry = None if manifest is None else manifest.of_version(connection.id, version)
        if manifest is not None and entry is not None and not beside:
            self._require_own(connection, manifest)
        try:
            digest = credential_digest(connection.version, sealed)
        except OverflowError:
            digest = b""
        if manifest is None:
            raise VaultRefused(
                f"{_named(connection)} is not opened: the manifest of its client is missing. Find "
                "out who writes the database, and connect it anew."
            )
        if entry is None or entry.credential != digest:
            raise VaultRefused(
                f"{_named(connection)} is not the one kept last: its row in the store was altered "
                "or rolled back. Find out by whom, and connect it anew."
            )

    def _require_own(self, connection: Connection, manifest: Manifest) -> None:
        """Refuse a version that stands beside the connection's own: it is not in force, or not yet."""
        own = manifest.entries.get(connection.id)
        if own is not None and own.version == connection.version:
            return
        stored = self._store.connections.get(connection.id)
        if stored is None or stored.version != connection.version:
            raise VaultOutdated(f"{_named(connection)} was replaced just now; look again.")
        raise VaultRefused(
            f"{_named(connection)} is not the one in force: the connection's row in the store was "
            "altered or rolled back during a rotation. Find out by whom, and connect it anew."
        )

    def _is_entry(
        self, entry: Entry, connection: Connection, serial: int, sealed: SealedCredential
    ) -> bool:
        try:
            digest = issued_digest(connection.version, serial, sealed)
        except OverflowError:
            return False
        return entry.version == connection.version and entry.issued == digest

    def _begin_manifests(self) -> None:
        """Record what is sealed in a store that was made before there were manifests."""
        for client in sorted({client for client, _, _ in self._store.sealed.keks()}):
            entries = {row.connection.id: entry_of(row) for row in self._store.sealed.rows(client)}

            def amend(
                before: StoredManifest | None,
                client: str = client,
                entries: dict[str, Entry] = entries,
            ) -> StoredManifest:
                epoch = before.epoch if before else 0
                return self.manifests.sign(client, Manifest(epoch, entries))

            self._store.sealed.sign_manifest(client, amend)
        self.keys.recorded()

    def _find_anchor(self) -> AnchorFile | None:
        return None if self._anchor_path is None else self._anchor_file(self._anchor_path)

    def _anchor_file(self, path: Path) -> AnchorFile:
        return AnchorFile(path, self._store.directory, self.keys.token_key)

    def _compare(self) -> VaultLocked | None:
        """Compare the store with its anchor."""
        anchored = self._store.sealed.value(_ANCHORED) is not None
        if self._anchor is None:
            if not anchored:
                return None
            return VaultLocked(
                "The vault is locked: this store has an anchor, and `TIDEGATE_ANCHOR` does not "
                "name it. Set it; where the anchor is given up, `tidegate vault acknowledge`."
            )
        try:
            self._anchor.check(self._store)
        except VaultLocked as locked:
            return locked
        if not anchored:
            self._store.sealed.value_once(_ANCHORED, b"1")
        return None

    def _require_unlocked(self) -> None:
        if self.locked is not None:
            raise VaultLocked(str(self.locked))


def _seal(
    version: int,
    key: ClientKey,
    fields: Mapping[str, Secret],
    kind: str,
    bound: tuple[str | int | bytes, ...],
) -> SealedCredential:
    dek = new_key()
    return SealedCredential(
        kek_version=version,
        wrapped_dek=key.envelope.seal(dek, f"{kind}dek", *bound),
        payload=Envelope(dek).seal(_pack(fields), f"{kind}payload", *bound),
    )


def _flipped(manifest: Manifest, connection: Connection) -> Manifest:
    flipped = manifest.flipped(connection.id, connection.version)
    if flipped is None:
        raise VaultRefused(
            f"{_named(connection)} has no version {connection.version} that the manifest knows of. "
            "Find out who writes the database, and connect it anew."
        )
    return flipped


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
