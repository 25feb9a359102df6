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
    asks_for_passphrase: bool = False
    """Whether the root key is made from a passphrase that a person types, and there is no file."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Find the places.

        `TIDEGATE_HOME` moves the data, `TIDEGATE_ROOT_KEY_FILE` the root key, `TIDEGATE_STORE`
        names a database instead of a file in the data, and `TIDEGATE_ROOT_KEY_FROM=passphrase`
        has a person asked instead of a file read.

        Raises:
            RootRefused: the root key is to come from a place that there is not.
        """
        data = _folder(environment, "TIDEGATE_HOME", "XDG_DATA_HOME", ".local/share")
        config = _folder(environment, None, "XDG_CONFIG_HOME", ".config")
        named = environment.get("TIDEGATE_ROOT_KEY_FILE")
        return cls(
            data=data,
            root_key=Path(named).expanduser().absolute() if named else config / "root.key",
            store_url=environment.get("TIDEGATE_STORE") or f"sqlite:///{data / 'tidegate.db'}",
            asks_for_passphrase=_asks_for_passphrase(environment),
        )

    @property
    def spool(self) -> Path:
        """Where the engine keeps events until the store has them."""
        return self.data / "spool"

    def prepare(self) -> None:
        """Make the folders, for this user alone."""
        for folder in (self.data, self.spool):
            folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)


def _asks_for_passphrase(environment: Mapping[str, str]) -> bool:
    match environment.get("TIDEGATE_ROOT_KEY_FROM", "file"):
        case "file":
            return False
        case "passphrase":
            return True
        case _:
            raise RootRefused("`TIDEGATE_ROOT_KEY_FROM` is neither `file` nor `passphrase`.")


def _folder(environment: Mapping[str, str], own: str | None, base: str, default: str) -> Path:
    if own is not None and (named := environment.get(own)):
        return Path(named).expanduser().absolute()
    root = environment.get(base)
    # The XDG base directory specification: a relative path there is to be ignored.
    folder = Path(root) if root and Path(root).is_absolute() else Path.home() / default
    return folder / "tidegate"
