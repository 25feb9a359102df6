"""What a source comes to: variables with their places, and notes on what was not read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from tidegate.catalog.errors import shown
from tidegate.catalog.yaml_source import Bounds, Source
from tidegate.domain.secret import Secret

SOURCE_BYTES_MAX: Final = 1024**2
VARIABLES_MAX: Final = 10_000
NOTES_MAX: Final = 20
BOUNDS: Final = Bounds(bytes_max=SOURCE_BYTES_MAX, values_max=50_000, depth_max=64)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\- ]{0,63}")
_QUOTED: Final = re.compile(r" ?\(?[`'\"].*[`'\"]\)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Variable:
    """A named value of a source; `absent` says why it has none.

    `names` are what it may be called: in a password manager's export, its label, and that after
    the title of its item.
    """

    names: tuple[str, ...]
    value: Secret | None
    file: str
    line: int
    absent: str = ""

    @property
    def shown_name(self) -> str:
        """Its name, unless that could be a value which slipped into a name's place."""
        name = self.names[0]
        readable = _NAME.fullmatch(name) is not None and shown(name) == f"`{name}`"
        return name if readable else "(name not shown)"

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Note:
    """Something of a source that was not read, and why."""

    file: str
    line: int
    message: str


@dataclass(slots=True)
class Reading:
    """What was read so far."""

    variables: list[Variable] = field(default_factory=list[Variable])
    notes: list[Note] = field(default_factory=list[Note])

    def add(
        self, names: tuple[str, ...], value: Any, file: str, line: int, *, absent: str = ""
    ) -> None:
        """Take a variable; `absent` says why a value is none, as is said of what is no text."""
        if len(self.variables) >= VARIABLES_MAX:
            self.note(file, 1, f"the source has more than {VARIABLES_MAX:,} variables")
            return
        if isinstance(value, str):
            # A lone surrogate, which JSON can spell, is in no credential.
            secret = None if absent else Secret(value.encode("utf-8", "replace"))
        else:
            secret = None
            absent = "without a value here" if value is None else "no text: write it in quotes"
        self.variables.append(Variable(names, secret, file, line, absent))

    def note(self, file: str, line: int, message: str) -> None:
        """Remember what was not read; the same thing is said once."""
        note = Note(file, line, message)
        if len(self.notes) < NOTES_MAX and note not in self.notes:
            self.notes.append(note)

    def note_errors(self, source: Source) -> None:
        """Remember what the YAML reader refused, without the words that it quotes."""
        for error in source.errors:
            self.note(error.file, error.line, _QUOTED.sub("", error.message))
