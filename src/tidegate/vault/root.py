"""Get the root key: from a file apart from the data, a passphrase, the environment, or a service.

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
from tidegate.store import Store, StoredRoot
from tidegate.vault.durable import sync_folder
from tidegate.vault.envelope import KEY_BYTES, Envelope, Wrap, frame, new_key, unframe
from tidegate.vault.errors import RootRefused, VaultRefused

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
class RootKeyring:
    """An entry of the operating system's keyring, unlocked with the person's session."""

    name: str = "root"


@dataclass(frozen=True, slots=True)
class RootService:
    """A key service that never gives the key away: `openbao:MOUNT/KEY` or `aws-kms:KEY`."""

    address: str


RootSource = RootFile | RootPassphrase | RootEnvironment | RootKeyring | RootService


@dataclass(frozen=True, slots=True)
class Root:
    """The root key, or the service that keeps it.

    `weakness` says what is weak about where it came from, for the operator.
    """

    key: Secret | None
    source: str
    weakness: str | None = None
    service: Wrap | None = None
    address: str = ""

    @property
    def wrap(self) -> Wrap:
        """What seals and opens the clients' keys."""
        if self.key is not None:
            return Envelope(self.key)
        if self.service is None:
            raise RootRefused("There is no root key.")
        return self.service

    @property
    def handed(self) -> Secret:
        """What another process needs to have this root too, to be kept sealed."""
        if self.key is not None:
            return Secret(frame("key", self.key.reveal()))
        return Secret(frame("service", self.address))


def open_root(source: RootSource, store: Store) -> Root:
    """Read or derive the root key.

    Raises:
        RootRefused: it is missing, malformed, readable by others, or kept beside the store's data.
    """
    match source:
        case RootFile(path):
            return _open_file(path, store)
        case RootPassphrase(passphrase):
            return _open_passphrase(passphrase, store)
        case RootEnvironment(variable):
            return Root(
                _read_variable(variable),
                f"the variable `{variable}`",
                weakness=f"the root key is in the environment (`{variable}`): every process of the "
                "same user can read it; prefer a file with mode 0600",
            )
        case RootKeyring(name):
            from tidegate.vault.keyring_root import read_keyring

            return Root(_parse(read_keyring(name), f"Keyring entry `{name}`"), _keyring_name(name))
        case RootService(address):
            return open_service(address)


def open_service(address: str) -> Root:
    """Reach a key service.

    Raises:
        RootRefused: there is no such service, its library is not installed, or it refuses.
    """
    kind, _, key = address.partition(":")
    if kind == "openbao" and key:
        from tidegate.vault.openbao import OpenBaoTransit

        transit = OpenBaoTransit.reach(key)
        return Root(None, f"OpenBao's transit key `{key}`", service=transit, address=address)
    if kind == "aws-kms" and key:
        from tidegate.vault.aws_kms import AwsKms

        return Root(None, f"the AWS KMS key `{key}`", service=AwsKms.reach(key), address=address)
    raise RootRefused(f"`{address}` is no key service: `openbao:MOUNT/KEY` or `aws-kms:KEY`.")


def open_handed(handed: Secret) -> Root:
    """Take what `Root.handed` gave another process."""
    kind, value = unframe(handed.reveal())
    if kind == b"key":
        return Root(Secret(value), "the key that was handed over")
    return open_service(value.decode())


def new_root_beside(path: Path, store: Store) -> Root:
    """Make the key that is to follow the one in a file, beside it; it moves up when it is in force."""
    following = next_file(path)
    if following.exists() and following.stat().st_size == 0:
        # Whoever made it was killed before it held a key, so nothing is sealed by one.
        following.unlink()
    if not following.exists():
        create_root_file(following)
    return Root(_read_file(following, store.directory), f"the file `{path}`")


def next_file(path: Path) -> Path:
    """Where the key is that is to follow the one in a file."""
    return path.with_name(f"{path.name}.next")


def promote_next_file(path: Path, number: int) -> Path | None:
    """Put the key that was made beside a file in its place; say where the older one is kept.

    Killed in between, it leaves no file but the next one, which `open_root` finds too.
    """
    following, retired = next_file(path), path.with_name(f"{path.name}.{number - 1}")
    if not following.exists():
        return None
    if path.exists():
        path.replace(retired)
    following.replace(path)
    sync_folder(path.parent)
    return retired if retired.exists() else None


def new_passphrase(passphrase: Secret, number: int) -> tuple[Root, dict[str, bytes]]:
    """Derive a root key from a new passphrase; the salt is to be kept in the store with it."""
    salt = os.urandom(_SALT_BYTES)
    return Root(_derive(passphrase, salt), "the passphrase"), {_salt_name(number): salt}


def write_root_file(path: Path, key: Secret) -> None:
    """Write a root key that was recovered to a new file.

    Raises:
        RootRefused: the file exists; a root key is never overwritten.
    """
    _create(path, key)


def create_root_file(path: Path) -> None:
    """Make a new root key in a new file, on disk before this returns.

    Raises:
        RootRefused: the file exists; a root key is never overwritten.
    """
    _create(path, new_key())


def _create(path: Path, key: Secret) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise RootRefused(f"`{path}` exists already; a root key is never overwritten.") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.reveal().hex().encode() + b"\n")
        file.flush()
        os.fsync(descriptor)
    sync_folder(path.parent)


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


def _open_file(path: Path, store: Store) -> Root:
    # A rotation that was cut off may have left the key in force beside the file, or in its place.
    following = next_file(path)
    places = [path, following] if path.exists() or not following.exists() else [following]
    roots = store.sealed.roots()
    first: Root | None = None
    for place in places:
        if first is not None and not place.exists():
            break
        root = Root(_read_file(place, store.directory), f"the file `{place}`")
        first = first or root
        if any(_opens(root, stored) for stored in roots):
            return root
    if first is None:
        raise RootRefused(f"The root key `{path}` is missing.")
    return first


def _open_passphrase(passphrase: Secret, store: Store) -> Root:
    roots = store.sealed.roots()
    if not roots:
        salt = store.sealed.value(_salt_name(1))
        if salt is None:
            _require_long(passphrase)
            salt = store.sealed.value_once(_salt_name(1), os.urandom(_SALT_BYTES))
        return Root(_derive(passphrase, salt), "the passphrase")
    last: Root | None = None
    for stored in reversed(roots):
        salt = store.sealed.value(_salt_name(stored.number))
        if salt is None:
            continue
        last = Root(_derive(passphrase, salt), "the passphrase")
        if _opens(last, stored):
            return last
    if last is None:
        raise RootRefused(
            f"This store's root key comes from {roots[-1].source}, not from a passphrase; see "
            "`TIDEGATE_ROOT_KEY_FROM`."
        )
    return last


def _opens(root: Root, stored: StoredRoot) -> bool:
    try:
        root.wrap.open(stored.key_check, "key-check")
    except VaultRefused:
        return False
    return True


def _salt_name(number: int) -> str:
    return _SALT_NAME if number == 1 else f"{_SALT_NAME}-{number}"


def _keyring_name(name: str) -> str:
    return f"the keyring's entry `{name}`"


def _require_long(passphrase: Secret) -> None:
    if len(passphrase) < PASSPHRASE_BYTES_MIN:
        raise RootRefused(f"The passphrase is shorter than {PASSPHRASE_BYTES_MIN} characters.")


def _derive(passphrase: Secret, salt: bytes) -> Secret:
    """Argon2id with RFC 9106's second recommended choice; the store keeps the salt."""
    _require_long(passphrase)
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
