"""Turn whatever ends a command into an exit code and words for the person who ran it.

Nothing ends in a traceback. A refusal says what is wrong and what to do; a failure nobody foresaw
says its kind alone, and its detail only with TIDEGATE_DEBUG=1: its message may quote what must not
be shown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError, UnusedCliTokensError

from tidegate.cli.commands import build
from tidegate.cli.outcome import DONE, INTERRUPTED, REFUSED, Refusal
from tidegate.cli.terminal import BAD, QUIET, notice

# Named, not imported: a failure is no time to load what did not fail.
_FOR_OPERATORS = (
    "tidegate.app.asking",
    "tidegate.credentials.errors",
    "tidegate.credentials.importing.sources",
    "tidegate.engine.errors",
    "tidegate.privacy.errors",
    "tidegate.store.errors",
    "tidegate.vault.errors",
)


def exit_code_of(arguments: Sequence[str] | None) -> int:
    """Run the command that `arguments` (or the process's own) name."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except BrokenPipeError:
        # The reader of our output has gone (`tidegate calls | head`): there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _run(words: list[str]) -> int:
    try:
        code = build(running=words[0] if words else None)(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except CycloptsError as error:
        _tell(_misuse(error), f"`{_help_for(error)}` shows what it takes")
    except Refusal as refusal:
        _tell(str(refusal), refusal.hint)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the one place where every failure ends
        _explain(error)
    else:
        return code if isinstance(code, int) else DONE
    return REFUSED


def _tell(message: str, hint: str = "") -> None:
    notice(("error: ", BAD), message)
    if hint:
        notice((f"hint:  {hint}", QUIET))


def _misuse(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        # Not repeated: it may be a secret that was typed where none is taken.
        return "there are more words on the command line than the command takes"
    return str(error).strip()


def _help_for(error: CycloptsError) -> str:
    return " ".join(("tidegate", *(error.command_chain or ()), "--help"))


def _explain(error: Exception) -> None:
    from tidegate.catalog import ConfigErrors
    from tidegate.cli.mistakes import show_mistakes

    if isinstance(error, ConfigErrors):
        show_mistakes(error)
    elif _is_for_operators(error):
        _tell(str(error), getattr(error, "hint", ""))
    else:
        _unforeseen(error)


def _is_for_operators(error: Exception) -> bool:
    """Whether the message was written for whoever runs the command."""
    return any(kind.__module__ in _FOR_OPERATORS for kind in type(error).__mro__)


def _unforeseen(error: Exception) -> None:
    if os.environ.get("TIDEGATE_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    else:
        _tell(
            f"something failed inside Tidegate ({type(error).__name__})",
            "run it again with TIDEGATE_DEBUG=1 for the detail",
        )
