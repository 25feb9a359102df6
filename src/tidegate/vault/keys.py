"""Hold the root keys and the clients' keys that they wrap (KEKs), ready for use.

While the root key is being replaced there are two, and each seals the other in the store: who has
either has both, until the older one is forgotten. So a rotation that was cut off goes on with
whichever key is at hand, and a running gateway learns the new one without anybody's help.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from tidegate.domain.secret import Secret
from tidegate.store import Store, StoreConflict, StoredKek, StoredRoot
from tidegate.vault.envelope import Envelope, Wrap, derive, new_key
from tidegate.vault.errors import RootRefused, VaultRefused
from tidegate.vault.root import Root, open_handed

KEKS_CACHED_MAX: Final = 1024
"""How many clients' keys are kept ready; beyond that the least recently used is unwrapped anew."""

KEY_CHECK: Final = "key-check"
TOKEN_KEY: Final = "token-key"  # noqa: S105 - a name, not a key
_CHECKED_BEFORE: Final = b"this root key is the one"
_CHECKED: Final = b"this root key is the one, and clients have manifests"
_TRIES: Final = 5


class ClientKey:
    """A client's key: what wraps the keys of its credentials, and authenticates its manifest.

    `cache_key` seals its answers where several gateways share them.
    """

    __slots__ = ("cache_key", "envelope", "manifest_key")

    def __init__(self, client: str, version: int, key: Secret) -> None:
        self.envelope = Envelope(key)
        self.manifest_key = derive(key, "manifest", client, version)
        self.cache_key = derive(key, "shared answers", client, version)


class Keys:
    """The keys of one store.

    Raises:
        RootRefused: the root key is not the one that seals this store.
    """

    def __init__(self, store: Store, root: Root, reopen: Callable[[], Root] | None = None) -> None:
        self._store = store
        self._reopen = reopen
        self._cache = _Cache()
        self._lock = threading.Lock()
        self._roots: dict[int, Root] = {}
        self._number, self.has_manifests = self._recognise(root)
        self._roots[self._number] = root
        self.learn()
        self.token_key = self._open_token_key()

    def recorded(self) -> None:
        """Note that from now on a client without a manifest is one whose manifest was removed."""
        sealed = self._roots[self._number].wrap.seal(Secret(_CHECKED), KEY_CHECK)
        self._store.sealed.replace_check(self._number, sealed)
        self.has_manifests = True

    def root(self) -> tuple[int, Wrap]:
        """Return the newest root."""
        with self._lock:
            number = max(self._roots)
            return number, self._roots[number].wrap

    def learn(self) -> None:
        """Take up the root keys that this process does not know yet, and forget those that are gone."""
        stored = {root.number: root for root in self._store.sealed.roots()}
        with self._lock:
            for number in [known for known in self._roots if known not in stored]:
                if len(self._roots) > 1:
                    del self._roots[number]
            newest = stored[max(stored)]
            before = newest.number - 1
            if newest.number not in self._roots and before in self._roots:
                self._roots |= _handed(newest.number, newest.handover, self._roots[before])
            elif before in stored and before not in self._roots and newest.number in self._roots:
                self._roots |= _handed(before, newest.handback, self._roots[newest.number])
            if newest.number not in self._roots:
                self._read_again(newest)

    def follow(self) -> None:
        """Take up what another process changed."""
        self.learn()
        self._cache.keep({(client, version) for client, version, _ in self._store.sealed.keks()})

    def kek(self, client: str, version: int) -> ClientKey:
        """Return one of a client's keys.

        Raises:
            VaultRefused: there is none, or it does not open.
        """
        cached = self._cache.get((client, version))
        if cached is not None:
            return cached
        stored = self._store.sealed.kek(client, version)
        if stored is None:
            raise VaultRefused(f"Client `{client}` has no key of version {version}.")
        key = ClientKey(client, version, self.unwrap(stored))
        self._cache.put((client, version), key)
        return key

    def newest(self, client: str) -> tuple[int, ClientKey]:
        """Return a client's newest key; its first is made when it is asked for."""
        version = self._store.sealed.kek_version(client)
        if version is None:
            return self.add(client)
        return version, self.kek(client, version)

    def add(self, client: str) -> tuple[int, ClientKey]:
        """Make a client's next key, or find the one that another process has just made."""
        manifest = self._store.sealed.manifest(client)
        known = self._store.sealed.kek_version(client) or 0
        # A client that was shredded and comes back does not get the number of a destroyed key.
        version = max(known, manifest.kek_version if manifest else 0) + 1
        for last in range(_TRIES):
            number, wrap = self.root()
            wrapped = wrap.seal(new_key(), "kek", client, version)
            try:
                self._store.sealed.add_kek(StoredKek(client, version, wrapped, number))
                break
            except StoreConflict:
                if last == _TRIES - 1:
                    raise
                self.learn()
        return version, self.kek(client, version)

    def unwrap(self, kek: StoredKek) -> Secret:
        """Open a client's key with the root that wraps it."""
        if kek.root not in self._roots:
            self.learn()
        root = self._roots.get(kek.root)
        if root is None:
            raise VaultRefused(
                f"The key of client `{kek.client}` is wrapped by root key {kek.root}, which this "
                "process does not have: start it anew with the root key of now."
            )
        try:
            return root.wrap.open(kek.wrapped, "kek", kek.client, kek.version)
        except (VaultRefused, OverflowError):
            raise VaultRefused(
                f"The key of client `{kek.client}` does not open: its row in the store was "
                "altered. Restore a backup of the store."
            ) from None

    def next_root(self, root: Root) -> StoredRoot:
        """Make the record of the root that is to follow, with which each hands over the other."""
        number, present = self.root()
        handed = self._roots[number].handed
        return StoredRoot(
            number=number + 1,
            source=root.source,
            key_check=root.wrap.seal(Secret(_CHECKED), KEY_CHECK),
            token_key=root.wrap.seal(self.token_key, TOKEN_KEY),
            handover=present.seal(root.handed, "handover", number + 1),
            handback=root.wrap.seal(handed, "handback", number),
        )

    def _read_again(self, newest: StoredRoot) -> None:
        """The handover was missed; the next key may be where this one came from."""
        if self._reopen is None:
            return
        try:
            root = self._reopen()
            if number_of(root.wrap, (newest,)) is not None:
                self._roots[newest.number] = root
        except RootRefused:
            # What is in use goes on; whoever needs the key is told that it is not there.
            return

    def _recognise(self, root: Root) -> tuple[int, bool]:
        stored = self._store.sealed.roots()
        if not stored:
            first = StoredRoot(
                number=1,
                source=root.source,
                key_check=root.wrap.seal(Secret(_CHECKED), KEY_CHECK),
                token_key=root.wrap.seal(new_key(), TOKEN_KEY),
            )
            self._store.sealed.first_root(first)
            stored = self._store.sealed.roots()
        found = number_of(root.wrap, stored)
        if found is None:
            raise RootRefused(
                f"The root key from {root.source} is not the one that sealed this store; the key "
                f"of now was put in force from {stored[-1].source}."
            )
        return found

    def _open_token_key(self) -> Secret:
        stored = {root.number: root for root in self._store.sealed.roots()}
        number, wrap = self.root()
        try:
            return wrap.open(stored[number].token_key, TOKEN_KEY)
        except (VaultRefused, KeyError):
            raise VaultRefused(
                "The key of the access tokens does not open: its row in the store was altered. "
                "Restore a backup of the store."
            ) from None


def number_of(wrap: Wrap, roots: tuple[StoredRoot, ...]) -> tuple[int, bool] | None:
    """Say which root this is, and whether clients have manifests; None where it is none of them."""
    for stored in reversed(roots):
        try:
            checked = wrap.open(stored.key_check, KEY_CHECK).reveal()
        except VaultRefused:
            continue
        if checked in {_CHECKED, _CHECKED_BEFORE}:
            return stored.number, checked == _CHECKED
    return None


def _handed(number: int, sealed: bytes | None, by: Root) -> dict[int, Root]:
    """Open the root that another one hands over; none where it does not open."""
    if sealed is None:
        return {}
    for purpose in ("handover", "handback"):
        try:
            return {number: open_handed(by.wrap.open(sealed, purpose, number))}
        except VaultRefused:
            continue
    return {}


class _Cache:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: OrderedDict[tuple[str, int], ClientKey] = OrderedDict()

    def get(self, place: tuple[str, int]) -> ClientKey | None:
        with self._lock:
            if place in self._keys:
                self._keys.move_to_end(place)
            return self._keys.get(place)

    def put(self, place: tuple[str, int], key: ClientKey) -> None:
        with self._lock:
            self._keys[place] = key
            if len(self._keys) > KEKS_CACHED_MAX:
                self._keys.popitem(last=False)

    def keep(self, places: set[tuple[str, int]]) -> None:
        with self._lock:
            for place in [known for known in self._keys if known not in places]:
                del self._keys[place]
