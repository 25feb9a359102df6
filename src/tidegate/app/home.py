"""Where an installation keeps its state, and its root key apart from that."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tidegate.vault import RootRefused

_PRIVATE = 0o700


@dataclass(frozen=True, slots=True)
class Home:
    """The places of one installation.

    `data` and all below it is one backup. The root key is never in it: whoever takes the data must
    not find the key beside it.
    """

    data: Path
    root_key: Path
    store_url: str
    root_from: str = "file"
    """Where the root key comes from: `file`, `passphrase`, `env:…`, `keyring:…` or a key service."""
    anchor: Path | None = None
    """The file that remembers the vault's epoch, on another volume than the data."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Find the places.

        `TIDEGATE_HOME` moves the data, `TIDEGATE_ROOT_KEY_FILE` the root key, `TIDEGATE_STORE`
        names a database instead of a file in the data, `TIDEGATE_ROOT_KEY_FROM` has the root key
        come from elsewhere than a file, and `TIDEGATE_ANCHOR=file:/PATH` names the anchor.

        Raises:
            RootRefused: the root key, or the anchor, is to be in a place that there is not.
        """
        data = _folder(environment, "TIDEGATE_HOME", "XDG_DATA_HOME", ".local/share")
        config = _folder(environment, None, "XDG_CONFIG_HOME", ".config")
        named = environment.get("TIDEGATE_ROOT_KEY_FILE")
        return cls(
            data=data,
            root_key=Path(named).expanduser().absolute() if named else config / "root.key",
            store_url=environment.get("TIDEGATE_STORE") or f"sqlite:///{data / 'tidegate.db'}",
            root_from=_root_from(environment),
            anchor=_anchor(environment),
        )

    @property
    def store_file(self) -> Path | None:
        """The store's file; None where a database server keeps it."""
        kind, _, path = self.store_url.partition(":///")
        return Path(path) if kind == "sqlite" else None

    @property
    def spool(self) -> Path:
        """Where the engine keeps events until the store has them."""
        return self.data / "spool"

    @property
    def cache(self) -> Path:
        """Where answers are kept on disk, where that is wanted; it may be lost at any time."""
        return self.data / "cache"

    @property
    def control(self) -> Path:
        """The socket on which the running gateway is asked."""
        return self.data / "control.sock"

    def prepare(self) -> None:
        """Make the folders, for this user alone."""
        for folder in (self.data, self.spool):
            folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)


def _root_from(environment: Mapping[str, str]) -> str:
    source = environment.get("TIDEGATE_ROOT_KEY_FROM") or "file"
    if source in {"file", "passphrase", "keyring"}:
        return source
    kind, _, rest = source.partition(":")
    if kind not in {"env", "keyring", "openbao", "aws-kms"} or not rest:
        raise RootRefused(
            "`TIDEGATE_ROOT_KEY_FROM` is none of `file`, `passphrase`, `env:VARIABLE`, `keyring`, "
            "`keyring:NAME`, `openbao:MOUNT/KEY` and `aws-kms:KEY`."
        )
    return source


def _anchor(environment: Mapping[str, str]) -> Path | None:
    named = environment.get("TIDEGATE_ANCHOR")
    if not named:
        return None
    kind, _, path = named.partition(":")
    if kind != "file" or not Path(path).is_absolute():
        raise RootRefused("`TIDEGATE_ANCHOR` must be `file:/PATH`, with a path from the root.")
    return Path(path)


def _folder(environment: Mapping[str, str], own: str | None, base: str, default: str) -> Path:
    if own is not None and (named := environment.get(own)):
        return Path(named).expanduser().absolute()
    root = environment.get(base)
    # The XDG base directory specification: a relative path there is to be ignored.
    folder = Path(root) if root and Path(root).is_absolute() else Path.home() / default
    return folder / "tidegate"
