"""Lay out `--help`: what it is, how to call it, then aligned lines without boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

_INDENT = 2
_LABEL_COLUMNS_MAX = 34
# Defaults that say nothing.
_NO_DEFAULTS = {None, "", '""', "()", "False"}


class HelpFormatter:
    """A cyclopts help formatter; its methods and their arguments are that protocol's."""

    show_metavar = True

    def render_usage(self, console: Console, options: ConsoleOptions, usage: object) -> None:
        """Print the usage line."""
        words = str(usage).strip()
        if words:
            console.print(f"Usage: {words}\n", style="bold", markup=False)

    def render_description(
        self, console: Console, options: ConsoleOptions, description: object
    ) -> None:
        """Print what the command does."""
        words = _plain(console, description)
        if words:
            console.print(f"{words}\n", markup=False)

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print one group of commands or parameters."""
        from rich.table import Table
        from rich.text import Text

        if not panel.entries:
            return
        console.print(str(panel.title), style="bold", markup=False)
        lines = Table.grid(padding=(0, 2, 0, 0))
        lines.add_column(style="cyan", max_width=_LABEL_COLUMNS_MAX)
        lines.add_column(overflow="fold")
        for entry in panel.entries:
            label = ", ".join(_labels(entry))
            lines.add_row(" " * _INDENT + label, Text(_description(console, entry)))
        with console.capture() as captured:
            console.print(lines)
        for line in captured.get().splitlines():
            console.out(line.rstrip(), highlight=False)
        console.print()


def _labels(entry: HelpEntry) -> tuple[str, ...]:
    if entry.positional_label:
        return (entry.positional_label,)
    return entry.display_labels_with_metavar


def _description(console: Console, entry: HelpEntry) -> str:
    words = [_plain(console, entry.description)]
    if entry.choices:
        words.append(f"({', '.join(entry.choices)})")
    if entry.default not in _NO_DEFAULTS:
        words.append(f"[default: {entry.default}]")
    return " ".join(word for word in words if word)


def _plain(console: Console, description: object) -> str:
    if description is None:
        return ""
    if isinstance(description, str):
        return description.strip()
    with console.capture() as captured:
        console.print(description, no_wrap=True, soft_wrap=True, markup=False)
    return captured.get().strip()
