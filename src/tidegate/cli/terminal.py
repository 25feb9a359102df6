"""Talk to whoever runs the command: a person at a terminal, or a script with none.

What a command answers goes to standard output, everything else to standard error. Text that came
from outside (a path somebody called, a name in a file) goes through `visible`, so that it cannot
steer the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

GOOD, WEAK, BAD, NAME, QUIET, STRONG = "green", "yellow", "red", "cyan", "bright_black", "bold"

# Where there is no terminal there is no width: a line is then as long as what is in it.
_UNBOUNDED_COLUMNS = 10_000
_HELP_COLUMNS = 100
# C0, DEL and C1 but for the tab, and what reorders or hides text (Unicode TR 36).
_UNSEEN = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))} | {
    code: f"\\u{code:04x}" for code in (*range(0x200B, 0x2010), *range(0x2028, 0x202F), 0xFEFF)
}


@cache
def output() -> Console:
    """Standard output."""
    return _console(stderr=False)


@cache
def notices() -> Console:
    """Standard error: progress, warnings and refusals."""
    return _console(stderr=True)


def help_output() -> Console:
    """Standard output for `--help`: no wider than a person reads."""
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(console.width, _HELP_COLUMNS) if console.is_terminal else _HELP_COLUMNS
    return console


def visible(text: str) -> str:
    """Make control and invisible characters readable."""
    return text.translate(_UNSEEN)


def say(*parts: str | tuple[str, str]) -> None:
    """Print one line of the answer; a part may be `(text, style)`."""
    output().print(styled(*parts), soft_wrap=True)


def say_below(*parts: str | tuple[str, str], indent: int) -> None:
    """Print what belongs to the line before, set in from the left and wrapped where there is a width."""
    from rich.padding import Padding

    _print(Padding(styled(*parts), (0, 0, 0, indent), expand=False))


def notice(*parts: str | tuple[str, str]) -> None:
    """Print one line beside the answer."""
    notices().print(styled(*parts), soft_wrap=True)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Join parts into one line, each made visible."""
    from rich.text import Text

    line = Text()
    for part in parts:
        words, style = (part, "") if isinstance(part, str) else part
        line.append(visible(words), style)
    return line


def table(
    columns: Sequence[str | tuple[str, str]],
    rows: Iterable[Sequence[str | tuple[str, str]]],
) -> None:
    """Print aligned columns, without boxes. A column is its heading, or `(heading, justify)`."""
    from rich.table import Table

    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=QUIET)
    for column in columns:
        heading, justify = (column, "left") if isinstance(column, str) else column
        grid.add_column(heading, justify="right" if justify == "right" else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(styled(cell) for cell in row))
    if grid.row_count:
        _print(grid)
    else:
        notice(("none", QUIET))


def facts(rows: Iterable[tuple[tuple[str, str], str | tuple[str, str]]]) -> None:
    """Print a few facts beside the answer, each after what it is a fact about."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 0, 0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for about, fact in rows:
        grid.add_row(styled(about), styled(fact))
    notices().print(grid)


def json_out(value: object, *, indent: int | None = 2) -> None:
    """Print JSON to standard output."""
    print(json.dumps(value, indent=indent, ensure_ascii=False, default=_as_json), flush=True)


def moment(at: datetime | None) -> str:
    """Show a time in the reader's own zone, to the second; `-` is for never."""
    return "-" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def counted(number: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: Sequence[str]) -> str:
    """`a`, `b` and `c`, in backticks."""
    *first, last = [f"`{name}`" for name in names]
    return f"{', '.join(first)} and {last}" if first else last


def has_terminal() -> bool:
    """Whether somebody can be asked."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    class PlainConsole(Console):
        """Leaves it to the command's end what a reader who has gone means."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = PlainConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNBOUNDED_COLUMNS
    return console


def _print(renderable: RenderableType) -> None:
    console = output()
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as captured:
        console.print(renderable)
    for line in captured.get().splitlines():
        print(line.rstrip())


def _as_json(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    raise TypeError(f"a {type(value).__name__} has no JSON form")
