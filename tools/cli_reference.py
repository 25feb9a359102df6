"""Write docs/reference/cli.md from the commands' own help: `python tools/cli_reference.py`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

from cyclopts import App

from tidegate.cli import main
from tidegate.cli.commands import build

PAGE = Path(__file__).parent.parent / "docs/reference/cli.md"
_INTRODUCTION = """\
# The command line

Written by `tools/cli_reference.py` from the commands' own help. Answers go to standard output,
everything else to standard error. Exit codes: 0 done, 1 refused or invalid, 2 `plan` found changes,
130 interrupted.
"""


def reference() -> str:
    """Put the page together."""
    sections = [_INTRODUCTION]
    for words in ((), *_commands(build(None), ())):
        name = " ".join(("tidegate", *words))
        sections.append(f"## `{name}`\n\n```text\n{_help(words)}\n```\n")
    return "\n".join(sections)


def _commands(app: App, before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Name each command and what is under it, in the order of the table."""
    for name in app:
        if not name.startswith("-"):
            words = (*before, name)
            yield words
            yield from _commands(app[name], words)


def _help(words: tuple[str, ...]) -> str:
    answer = io.StringIO()
    with redirect_stdout(answer):
        main([*words, "--help"])
    return answer.getvalue().strip()


if __name__ == "__main__":
    PAGE.write_text(reference(), "utf-8")
