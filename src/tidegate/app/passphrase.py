"""Ask a person for the passphrase that the root key is made from."""

from __future__ import annotations

import getpass
import os
from typing import Final

from tidegate.domain.secret import Secret
from tidegate.vault import RootRefused

_TERMINAL: Final = "/dev/tty"


def ask_for_passphrase(*, new: bool) -> Secret:
    """Ask at the terminal, and nowhere else; a new passphrase is asked for twice.

    Standard input is not read: it may hold a credential on its way to `tidegate connect`.

    Raises:
        RootRefused: there is no terminal, nothing was typed, or not the same twice.
    """
    _require_terminal()
    typed = _asked("Passphrase of the root key (not shown): ")
    if new and not typed.matches(_asked("The same again, as it is new: ")):
        raise RootRefused("The passphrase was not the same twice, so nothing was done.")
    return typed


def _require_terminal() -> None:
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        raise RootRefused(
            "The root key comes from a passphrase (`TIDEGATE_ROOT_KEY_FROM`), and there is no "
            "terminal to ask at: run it at one, or keep the root key in a file."
        ) from None


def _asked(question: str) -> Secret:
    try:
        return Secret(getpass.getpass(question))
    except EOFError:
        raise RootRefused("No passphrase was typed, so nothing was done.") from None
