"""The command line: shows what the rest of Tidegate decides, and decides nothing itself.

One file per group of commands. `commands` is the table of them; nothing else of Tidegate, and no
heavy library, is imported before a command runs, so that `tidegate --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done. 1: refused or invalid. 2: `plan` found changes. 130: interrupted.
    """
    from tidegate.cli.failures import exit_code_of

    return exit_code_of(arguments)
