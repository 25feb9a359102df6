"""Read a `.env` file: python-dotenv's grammar, without its interpolation and its environment."""

from __future__ import annotations

import io

from dotenv.parser import parse_stream

from tidegate.credentials.importing.variables import Reading


def read_environment(data: bytes, file: str, reading: Reading) -> None:
    """Take each `NAME=value`; note the lines that are none."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reading.note(file, data.count(b"\n", 0, error.start) + 1, "the file is not UTF-8 text")
        return
    for binding in parse_stream(io.StringIO(text)):
        written = binding.original.string
        blank_lines = written[: len(written) - len(written.lstrip())].count("\n")
        line = binding.original.line + blank_lines
        if binding.error:
            reading.note(file, line, "this is no `NAME=value`")
        elif binding.key is not None:
            reading.add((binding.key,), binding.value, file, line)
