"""Find the declaration and the state that a command works on."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.cli.outcome import Refusal
from tidegate.cli.terminal import GOOD, WEAK, notice

if TYPE_CHECKING:
    from tidegate.app import Services
    from tidegate.domain.declaration import Declaration
    from tidegate.store import Revision

DECLARATION = Path("tidegate.yaml")


def declaration_file(path: Path) -> Path:
    """Name the file that is meant: a folder means the `tidegate.yaml` in it."""
    file = path / DECLARATION if path.is_dir() else path
    if not file.exists():
        raise Refusal(
            f"there is no `{file}`",
            "name the file or its folder, or start one: `tidegate presets` lists what is built in",
        )
    return file


def read_declaration(path: Path) -> Declaration:
    """Read what is declared. Raises ConfigErrors."""
    from tidegate.app import load_declaration

    return load_declaration(declaration_file(path))


def declared_or_in_force(path: Path) -> Declaration | None:
    """Read the declaration at `path`; where none is given and none is here, what is in force."""
    if path != DECLARATION or path.exists():
        return read_declaration(path)
    with open_state() as state:
        current = state.store.revisions.current()
    return None if current is None else current.declaration


def what_is_declared(path: Path) -> Declaration:
    """Read what `declared_or_in_force` does, where the command needs it.

    Raises:
        Refusal: there is nothing.
    """
    declaration = declared_or_in_force(path)
    if declaration is None:
        raise Refusal("nothing is declared here or in force", "name the file: `tidegate.yaml`")
    return declaration


def open_state() -> Services:
    """Open this installation's state for one command: a context manager."""
    from tidegate.app import Home, services

    return services(Home.from_environment())


def state_if_any() -> Services | None:
    """Open this installation's state where there is one, and make none."""
    from tidegate.app import Home, services
    from tidegate.store import StoreError

    home = Home.from_environment()
    if home.store_file is not None and not home.store_file.exists():
        return None
    try:
        return services(home)
    except StoreError:
        return None


def ready_vault(state: Services) -> None:
    """Make the root key where there is none and nothing is sealed, and say where it came from."""
    made = state.make_root_key()
    if made is not None:
        notice(("new ", GOOD), f"root key in {made.path}: keep a copy of it in a safe place, apart")
    if state.root.weakness:
        notice(("weak ", WEAK), state.root.weakness)


def revision_in_force(state: Services) -> Revision:
    """Name what runs, or would run."""
    current = state.store.revisions.current()
    if current is None:
        raise Refusal(
            "nothing is applied yet",
            "`tidegate apply` stores the declaration as the first revision; `tidegate up` does too",
        )
    return current


def author() -> str:
    """Name whoever runs the command, for the list of revisions."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a user that has no name.
        return f"user {os.getuid()}"
