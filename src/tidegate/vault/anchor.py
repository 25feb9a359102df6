"""Remember the vault's epoch outside of the database, so that an older copy of all of it is noticed.

The anchor is a small file on another volume than the data. Every change of what is sealed moves it,
while the change commits:

    1. the change has the next epoch, and all manifests are authenticated with it
    2. the anchor says "this epoch, or the next"
    3. the change commits
    4. the anchor says "the next"

A process killed in between leaves an anchor that allows both. A database that is at neither was
replaced, and the vault stays locked until an operator acknowledges that.
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import json
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.vault.durable import sync_folder
from tidegate.vault.envelope import derive, frame
from tidegate.vault.errors import RootRefused, VaultLocked

_BYTES_MAX: Final = 1024
_UNSET: Final = "is not there, although the store has been in use"


@dataclass(frozen=True, slots=True)
class _Mark:
    epoch: int
    next: int


class AnchorFile:
    """An anchor in a file. Threads and processes may share it."""

    def __init__(self, path: Path, data: Path | None, token_key: Secret) -> None:
        # The access tokens' key is the one that stays the same for the life of a store.
        self._key = derive(token_key, "anchor").reveal()
        self._path = path
        _require_apart(path, data)

    def mac(self, epoch: int, digest: bytes) -> bytes:
        """Authenticate an epoch together with all manifests at that moment."""
        return hmac.digest(self._key, frame("epoch", epoch, digest), "sha256")

    @contextlib.contextmanager
    def moving(self, before: int, after: int) -> Generator[None]:
        """Hold the anchor while a change commits.

        Raises:
            VaultLocked: it is not at the epoch that the change follows.
        """
        with self._held():
            mark = self._read()
            if mark is None or before not in {mark.epoch, mark.next}:
                raise VaultLocked(self._mismatch(before, mark))
            self._write(_Mark(before, after))
            yield
            self._write(_Mark(after, after))

    def check(self, store: Store) -> None:
        """Compare the database with the anchor; a new store gets its anchor here.

        Raises:
            VaultLocked: the database is not at the anchor's epoch, or is not what it was then.
        """
        with self._held():
            epoch, mac, digest = store.sealed.epoch()
            mark = self._read()
            if mark is None and epoch == 0:
                self._write(_Mark(0, 0))
                return
            if mark is None or epoch not in {mark.epoch, mark.next}:
                raise VaultLocked(self._mismatch(epoch, mark))
            if epoch > 0 and not hmac.compare_digest(mac, self.mac(epoch, digest)):
                raise VaultLocked(
                    f"The vault is locked: the store is at epoch {epoch} like its anchor, but what "
                    f"clients have sealed is not what it was then.{_WHAT_TO_DO}"
                )
            if mark.epoch != mark.next:
                self._write(_Mark(epoch, epoch))

    def accept(self, store: Store) -> None:
        """Take the database as it is for the right one."""
        with self._held():
            epoch, _, _ = store.sealed.epoch()
            self._write(_Mark(epoch, epoch))

    def _mismatch(self, epoch: int, mark: _Mark | None) -> str:
        if mark is None:
            return (
                f"The vault is locked: its anchor `{self._path}` {_UNSET}. Bring the volume back "
                f"that it is on; where it is a new anchor, run `tidegate vault acknowledge`."
            )
        older = "an older copy of itself" if epoch < mark.epoch else "one that others have changed"
        return (
            f"The vault is locked: the store is at epoch {epoch}, its anchor `{self._path}` at "
            f"{mark.next}; the database was replaced by {older}.{_WHAT_TO_DO}"
        )

    @contextlib.contextmanager
    def _held(self) -> Generator[None]:
        lock = self._path.with_name(self._path.name + ".lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(lock, flags, 0o600)
        except OSError as error:
            raise VaultLocked(
                f"The vault is locked: its anchor `{self._path}` cannot be written "
                f"({error.strerror}); bring the volume back that it is on."
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> _Mark | None:
        try:
            text = self._path.read_bytes()[:_BYTES_MAX]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise VaultLocked(
                f"The vault is locked: its anchor `{self._path}` cannot be read ({error.strerror})."
            ) from None
        try:
            found = cast("dict[str, object]", json.loads(text))
            mark = _Mark(int(str(found["epoch"])), int(str(found["next"])))
            mac = bytes.fromhex(str(found["mac"]))
            if hmac.compare_digest(mac, self._mark_mac(mark)):
                return mark
        except (ValueError, KeyError, TypeError, OverflowError):
            pass
        raise VaultLocked(
            f"The vault is locked: its anchor `{self._path}` was altered, or is another store's."
            f"{_WHAT_TO_DO}"
        )

    def _write(self, mark: _Mark) -> None:
        said = {"epoch": mark.epoch, "next": mark.next, "mac": self._mark_mac(mark).hex()}
        beside = self._path.with_name(self._path.name + ".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(beside, flags, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(said).encode() + b"\n")
                file.flush()
                os.fsync(descriptor)
            beside.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise VaultLocked(
                f"The vault is locked: its anchor `{self._path}` cannot be written "
                f"({error.strerror}); bring the volume back that it is on."
            ) from None

    def _mark_mac(self, mark: _Mark) -> bytes:
        return hmac.digest(self._key, frame("anchor", mark.epoch, mark.next), "sha256")


_WHAT_TO_DO: Final = (
    " Find out who did that. Where it was you, run `tidegate vault acknowledge`; refresh tokens "
    "from an older copy may be used up."
)


def _require_apart(path: Path, data: Path | None) -> None:
    if data is not None and path.resolve().is_relative_to(data.resolve()):
        raise RootRefused(
            f"The anchor `{path}` is kept beside the data (`{data}`) and would be rolled back with "
            "it; move it to another volume."
        )
