"""Read a plaintext source into variables, whatever its form.

JSON is what begins with `{` or `[`; YAML, by the file's name, is a compose file; all else is read
as `.env`. Never raises for what a source holds: what cannot be read is noted with its line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tidegate.catalog.documents import read_bounded
from tidegate.credentials.importing.compose import read_compose
from tidegate.credentials.importing.environment import read_environment
from tidegate.credentials.importing.exports import read_export
from tidegate.credentials.importing.variables import (
    SOURCE_BYTES_MAX,
    Note,
    Reading,
    Variable,
)

__all__ = [
    "STANDARD_INPUT",
    "Note",
    "Reading",
    "SourceRefused",
    "Variable",
    "read_data",
    "read_source",
]

STANDARD_INPUT: Final = "-"
_YAML_SUFFIXES: Final = frozenset({".yaml", ".yml"})
_BEFORE_TEXT: Final = b"\xef\xbb\xbf \t\r\n"


class SourceRefused(Exception):  # noqa: N818 - its name says what it is
    """The source cannot be read at all; the message says why."""


def read_source(path: Path) -> Reading:
    """Read a file, and those that it names as `env_file`.

    Raises:
        SourceRefused: it is not there, no regular file, or too large.
    """
    try:
        data = read_bounded(path, SOURCE_BYTES_MAX)
    except OSError as error:
        raise SourceRefused(f"the source cannot be read: {error.strerror}") from None
    return read_data(data, str(path), path.parent)


def read_data(data: bytes, file: str, folder: Path | None) -> Reading:
    """Read what a source holds; without a `folder`, no other file is followed."""
    if len(data) > SOURCE_BYTES_MAX:
        raise SourceRefused(f"the source has more than {SOURCE_BYTES_MAX:,} bytes")
    reading = Reading()
    if data.lstrip(_BEFORE_TEXT).startswith((b"{", b"[")):
        read_export(data, file, reading)
    elif Path(file).suffix.lower() in _YAML_SUFFIXES:
        read_compose(data, file, folder, reading)
    else:
        read_environment(data, file, reading)
    return reading
