"""Write a backup that holds the store and the root key, for the eyes of at least two people.

It is one file, encrypted by age to X25519 recipients: any one of them can open it, and nobody else.
Within it are a line of JSON, which holds the root key, and a SQLite copy of the store. The root key
is never on disk in clear: it is put in front while the file is encrypted, and taken off while it is
decrypted.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from tidegate.domain.secret import Secret
from tidegate.vault.errors import VaultError
from tidegate.vault.root import Root, open_handed

RECIPIENTS_MIN: Final = 2
"""One person who leaves, or loses a key, must not take the backup along."""

_MAGIC: Final = b"tidegate backup 1\n"
_HEAD_BYTES_MAX: Final = 64 * 1024
_RECIPIENT: Final = re.compile(r"age1[02-9ac-hj-np-z]{58}")
_SECRET: Final = "AGE-SECRET-KEY-"  # noqa: S105 - how one begins


class BackupRefused(VaultError):  # noqa: N818 - its name says what it is
    """The backup cannot be written or read as asked."""


def write_backup(snapshot: Path, root: Root, to: Path, recipients: Sequence[str]) -> None:
    """Encrypt a copy of the store, with the root key, to a new file.

    Raises:
        BackupRefused: too few recipients, or not such; or the file exists.
    """
    pyrage = _age()

    keys = _recipients(recipients)
    head = _MAGIC + json.dumps({"root": root.handed.reveal().hex()}).encode() + b"\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(to, flags, 0o600)
    except FileExistsError:
        raise BackupRefused(f"`{to}` exists already; a backup is never overwritten.") from None
    except OSError as error:
        raise BackupRefused(f"`{to}` cannot be written: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "wb") as out, snapshot.open("rb") as rows:
            pyrage.encrypt_io(_Joined(head, rows), out, keys)
            out.flush()
            os.fsync(descriptor)
    except BaseException:
        to.unlink(missing_ok=True)
        raise


def read_backup(backup: Path, identity: Path, snapshot: Path) -> Root:
    """Decrypt a backup: its copy of the store goes to a new file, its root key is returned.

    Raises:
        BackupRefused: the identity is not among the recipients, or this is no backup.
    """
    pyrage = _age()

    keys = _identities(identity)
    descriptor = os.open(snapshot, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as rows:
        parted = _Parted(rows)
        try:
            with backup.open("rb") as sealed:
                pyrage.decrypt_io(sealed, parted, keys)
        except pyrage.DecryptError:
            raise BackupRefused(
                f"`{backup}` does not open with the identities in `{identity}`, or was altered."
            ) from None
        except OSError as error:
            raise BackupRefused(f"`{backup}` cannot be read: {error.strerror}.") from None
    return open_handed(_handed(parted.head, backup))


def _age() -> Any:
    # Late, because few commands need it; and it declares no types.
    return importlib.import_module("pyrage")


def _handed(head: bytes, backup: Path) -> Secret:
    try:
        found = cast("dict[str, object]", json.loads(head.removeprefix(_MAGIC)))
        return Secret(bytes.fromhex(str(found["root"])))
    except (ValueError, KeyError, TypeError):
        raise BackupRefused(f"`{backup}` is no backup of this version of Tidegate.") from None


def _recipients(words: Sequence[str]) -> list[Any]:
    pyrage = _age()

    if any(word.upper().startswith(_SECRET) for word in words):
        raise BackupRefused(
            "That is a secret identity, not a recipient, and it is in your shell's history now: "
            "make a new one with `age-keygen`."
        )
    for word in words:
        if not _RECIPIENT.fullmatch(word):
            raise BackupRefused("A recipient is `age1…`, as `age-keygen` shows it.")
    if len(set(words)) < RECIPIENTS_MIN:
        raise BackupRefused(
            f"A backup needs {RECIPIENTS_MIN} recipients or more, so that no single lost key loses "
            "it: give `--recipient` again."
        )
    try:
        return [pyrage.x25519.Recipient.from_str(word) for word in sorted(set(words))]
    except pyrage.RecipientError:
        raise BackupRefused("A recipient is misspelt: its checksum is wrong.") from None


def _identities(file: Path) -> list[Any]:
    pyrage = _age()

    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "r") as opened:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise BackupRefused(f"Others may read `{file}`; run `chmod 600 {file}`.")
            lines = [line.strip() for line in opened.read(_HEAD_BYTES_MAX).splitlines()]
        found = [line for line in lines if line and not line.startswith("#")]
        keys = [pyrage.x25519.Identity.from_str(line) for line in found]
    except OSError as error:
        raise BackupRefused(f"`{file}` cannot be read: {error.strerror}.") from None
    except (ValueError, pyrage.IdentityError):
        keys = []
    if not keys:
        raise BackupRefused(f"`{file}` holds no age identity (`AGE-SECRET-KEY-1…`).")
    return keys


class _Joined:
    """Reads a head, then a file."""

    def __init__(self, head: bytes, rest: io.BufferedReader) -> None:
        self._head = io.BytesIO(head)
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        return self._head.read(size) or self._rest.read(size)


class _Parted:
    """Takes the head, two lines, and writes the rest to a file."""

    def __init__(self, rest: io.BufferedWriter) -> None:
        self.head = b""
        self._whole = False
        self._rest = rest

    def write(self, data: bytes) -> int:
        data = bytes(data)
        if self._whole:
            self._rest.write(data)
            return len(data)
        self.head += data
        at = self.head.find(b"\n", len(_MAGIC))
        if at >= 0:
            self._whole = True
            self._rest.write(self.head[at + 1 :])
            self.head = self.head[: at + 1]
        elif len(self.head) > _HEAD_BYTES_MAX:
            raise BackupRefused("The backup's first lines are too long.")
        return len(data)

    def flush(self) -> None:
        self._rest.flush()
