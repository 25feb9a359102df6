"""Show what is wrong in a declaration: the place, a sentence, the line with a caret, the hint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidegate.cli.terminal import BAD, NAME, QUIET, STRONG, counted, notice

if TYPE_CHECKING:
    from tidegate.catalog import ConfigError, ConfigErrors

_LINE_COLUMNS_MAX: Final = 160
_SHOWN_MAX: Final = 200


def show_mistakes(wrong: ConfigErrors) -> None:
    """Print every mistake, then how many there are."""
    for error in wrong.errors[:_SHOWN_MAX]:
        _show(error)
    files = len({error.file for error in wrong.errors})
    total = f"{counted(len(wrong.errors), 'error')} in {counted(files, 'file')}"
    cut = f"; the first {_SHOWN_MAX} are shown" if len(wrong.errors) > _SHOWN_MAX else ""
    notice((total + cut, STRONG))


def _show(error: ConfigError) -> None:
    from rich.cells import cell_len

    notice((f"{error.file}:{error.line}:{error.column}:", NAME), " ", (error.message, BAD))
    line = _line_of(error)
    margin = f"{error.line:>5} | "
    if line:
        notice((margin, QUIET), line)
        before = " " * cell_len(line[: error.column - 1])
        notice((" " * (len(margin) - 2) + "| ", QUIET), before, ("^", BAD))
    if error.hint:
        notice((" " * (len(margin) - 2) + "= ", QUIET), error.hint)


def _line_of(error: ConfigError) -> str:
    """Read the line again; nothing where it cannot be shown, or could hold a secret."""
    from tidegate.catalog.errors import shown

    try:
        lines = Path(error.file).read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return ""
    if not 0 < error.line <= len(lines):
        return ""
    line = lines[error.line - 1].replace("\t", " ")
    # A word that `shown` would hide in a message is hidden here too.
    safe = all(shown(word) == f"`{word}`" for word in line.split())
    return line if safe and len(line) <= _LINE_COLUMNS_MAX else ""
