"""Get the root key: from a file apart from the data, a passphrase, or the environment.

The file is the default. Whoever reads the store's backup must not find the key in it, and nobody
else on the machine may read the key; where either could be, the vault does not start.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argon2.low_level import Type, hash_secret_raw

from tidegate.domain.secret import Secret
from tidegate.store import Store
from tidegate.vault.envelope import KEY_BYTES, new_key
from tidegate.vault.errors import RootRefused

ENVIRONMENT_VARIABLE: Final = "TIDEGATE_ROOT_KEY"
"""Where `RootEnvironment` looks unless told otherwise."""

PASSPHRASE_BYTES_MIN: Final = 12
"""Argon2id slows guessing down; it cannot save a passphrase that is among the first guesses."""

_HEX_KEY: Final = re.compile(rb"[0-9a-f]{%d}\n?" % (2 * KEY_BYTES))
_FILE_BYTES_MAX: Final = 2 * KEY_BYTES + 1
_SALT_NAME: Final = "argon2id-64MiB-t3-p4-salt"
_SALT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class RootFile:
    """A file with 64 hexadecimal digits, mode 0600."""

    path: Path


@dataclass(frozen=True, slots=True)
class RootPassphrase:
    """A passphrase that a person types."""

    passphrase: Secret


@dataclass(frozen=True, slots=True)
class RootEnvironment:
    """A variable with 64 hexadecimal digits."""

    variable: str = ENVIRONMENT_VARIABLE


@dataclass(frozen=True, slots=True)
class Root:
    """The root key. `weakness` says what is weak about where it came from, for the operator."""

    key: Secret
    source: str
    weakness: str | None = None


def open_root(source: RootFile | RootPassphrase | RootEnvironment, store: Store) -> Root:
    """Read or derive the root key.

    Raises:
        RootRefused: it is missing, malformed, readable by others, or kept beside the store's data.
    """
    match source:
        case RootFile(path):
            return Root(_read_file(path, store.directory), f"the file `{path}`")
        case RootPassphrase(passphrase):
            return Root(_derive(passphrase, store), "the passphrase")
        case RootEnvironment(variable):
            return Root(
                _read_variable(variable),
                f"the variable `{variable}`",
                weakness=f"the root key is in the environment (`{variable}`): every process of the "
                "same user can read it; prefer a file with mode 0600",
            )


def create_root_file(path: Path) -> None:
    """Make a new root key in a new file, on disk before this returns.

    Raises:
        RootRefused: the file exists; a root key is never overwritten.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise RootRefused(f"`{path}` exists already; a root key is never overwritten.") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(new_key().reveal().hex().encode() + b"\n")
        file.flush()
        os.fsync(descriptor)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_file(path: Path, data: Path | None) -> Secret:
    # 1. The name must not lead elsewhere: what is checked below is what is read.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise RootRefused(
            f"The root key `{path}` is missing. Bring it back from where you keep its copy: "
            "without it, nothing that is sealed in the store can be opened."
        ) from None
    except OSError as error:
        raise RootRefused(
            f"The root key `{path}` cannot be read ({error.strerror}); "
            "it must be a file of this user's own, and no link."
        ) from None
    try:
        # 2. Nobody else may read it, now or by another name.
        _require_private(path, os.fstat(descriptor))
        # 3. It must not travel with the data.
        _require_apart(path, data)
        return _parse(os.read(descriptor, _FILE_BYTES_MAX + 1), f"The root key `{path}`")
    finally:
        os.close(descriptor)


def _require_private(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise RootRefused(f"The root key `{path}` is not a file.")
    if found.st_mode & 0o077:
        raise RootRefused(
            f"Others may read the root key `{path}` (mode {stat.S_IMODE(found.st_mode):04o}); "
            f"run `chmod 600 {path}`, and replace the key if they should not have seen it."
        )
    if found.st_uid != os.geteuid():
        raise RootRefused(f"The root key `{path}` belongs to another user; `chown` it to this one.")
    if found.st_nlink != 1:
        raise RootRefused(
            f"The root key `{path}` has a second name (a hard link); remove that one."
        )
    if path.absolute().parent.stat().st_mode & 0o022:
        raise RootRefused(
            f"Others may replace the root key: run `chmod go-w {path.absolute().parent}`."
        )


def _require_apart(path: Path, data: Path | None) -> None:
    if data is not None and path.resolve().is_relative_to(data.resolve()):
        raise RootRefused(
            f"The root key `{path}` is kept beside the data it protects (`{data}`), where one "
            "backup or one thief takes both; move it to a folder of its own."
        )


def _read_variable(variable: str) -> Secret:
    value = os.environ.get(variable)
    if value is None:
        raise RootRefused(f"The variable `{variable}` is not set, so there is no root key.")
    return _parse(value.encode(errors="replace"), f"The variable `{variable}`")


def _parse(text: bytes, what: str) -> Secret:
    if not _HEX_KEY.fullmatch(text):
        raise RootRefused(f"{what} is not a root key: it must be {2 * KEY_BYTES} digits 0-9 a-f.")
    return Secret(bytes.fromhex(text.decode()))


def _derive(passphrase: Secret, store: Store) -> Secret:
    """Argon2id with RFC 9106's second recommended choice; the store keeps the salt."""
    if len(passphrase) < PASSPHRASE_BYTES_MIN:
        raise RootRefused(f"The passphrase is shorter than {PASSPHRASE_BYTES_MIN} characters.")
    salt = store.sealed.value(_SALT_NAME)
    if salt is None:
        salt = store.sealed.value_once(_SALT_NAME, os.urandom(_SALT_BYTES))
    return Secret(
        hash_secret_raw(
            passphrase.reveal(),
            salt,
            time_cost=3,
            memory_cost=64 * 1024,
            parallelism=4,
            hash_len=KEY_BYTES,
            type=Type.ID,
        )
    )
