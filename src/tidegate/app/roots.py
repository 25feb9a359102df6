"""Find the root key where an installation says that it is, and make the one that is to follow it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from tidegate.app.home import Home
from tidegate.app.passphrase import ask_for_passphrase
from tidegate.store import Store
from tidegate.vault import (
    Root,
    RootEnvironment,
    RootFile,
    RootKeyring,
    RootPassphrase,
    RootRefused,
    RootService,
    RootSource,
    create_root_file,
    open_root,
)
from tidegate.vault.keyring_root import create_keyring_entry, has_keyring_entry
from tidegate.vault.root import ENVIRONMENT_VARIABLE, new_passphrase, new_root_beside

_KEYRING_NAME = "root"


@dataclass(frozen=True, slots=True)
class NextRoot:
    """A root that is to follow, what the store is to keep for it, and how to name it from then on."""

    root: Root
    settings: str
    values: dict[str, bytes] = field(default_factory=dict[str, bytes])


def root_source(home: Home, store: Store) -> RootSource:
    """Say where the root key is. Asks a person where it is made from a passphrase."""
    if home.root_from == "file":
        if ENVIRONMENT_VARIABLE in os.environ:
            return RootEnvironment()
        return RootFile(home.root_key)
    if home.root_from == "passphrase":
        return RootPassphrase(ask_for_passphrase(new=not store.sealed.roots()))
    kind, _, rest = home.root_from.partition(":")
    match kind:
        case "env":
            return RootEnvironment(rest)
        case "keyring":
            name = rest or _KEYRING_NAME
            if not store.sealed.roots() and not has_keyring_entry(name):
                create_keyring_entry(name)
            return RootKeyring(name)
        case _:
            return RootService(home.root_from)


def next_root(home: Home, store: Store, to: str) -> NextRoot:
    """Make or find the root that is to follow; `to` is like `TIDEGATE_ROOT_KEY_FROM`, or `file:/PATH`.

    Raises:
        RootRefused: there is no such place, or it holds no root key.
    """
    kind, _, rest = to.partition(":")
    match kind:
        case "file" if not rest:
            return NextRoot(new_root_beside(home.root_key, store), "")
        case "file":
            path = Path(rest).expanduser().absolute()
            if not path.exists():
                create_root_file(path)
            return NextRoot(open_root(RootFile(path), store), f"TIDEGATE_ROOT_KEY_FILE={path}")
        case "passphrase" if not rest:
            number = store.sealed.roots()[-1].number + 1
            root, values = new_passphrase(ask_for_passphrase(new=True), number)
            return NextRoot(root, "TIDEGATE_ROOT_KEY_FROM=passphrase", values)
        case "env" if rest:
            named = open_root(RootEnvironment(rest), store)
        case "keyring":
            name = rest or _KEYRING_NAME
            if not has_keyring_entry(name):
                create_keyring_entry(name)
            named = open_root(RootKeyring(name), store)
        case "openbao" | "aws-kms" if rest:
            named = open_root(RootService(to), store)
        case _:
            raise RootRefused(
                f"`{to}` is no place for a root key: it is one of `file`, `file:/PATH`, "
                "`passphrase`, `env:VARIABLE`, `keyring`, `keyring:NAME`, `openbao:MOUNT/KEY` and "
                "`aws-kms:KEY`."
            )
    return NextRoot(named, f"TIDEGATE_ROOT_KEY_FROM={to}")
