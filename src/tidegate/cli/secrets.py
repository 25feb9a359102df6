"""Take a credential's fields from a person, standard input or files, into `Secret` at once."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from tidegate.cli.outcome import Refusal
from tidegate.cli.terminal import has_terminal, listed
from tidegate.domain.secret import Secret

SECRET_BYTES_MAX: Final = 64 * 1024


def read_credential(fields: Sequence[str], from_files: Sequence[str]) -> Mapping[str, Secret]:
    """Read the fields from files, and what these leave open from a person or standard input."""
    found: dict[str, Secret] = {}
    for word in from_files:
        field, equals, file = word.partition("=")
        if equals and field in fields:
            found[field] = Secret(_trimmed(_file(Path(file))))
        else:
            found |= _fields_in(_file(Path(word)), fields, f"`{word}`")
    missing = [field for field in fields if field not in found]
    if missing and has_terminal():
        found |= {field: _asked(field) for field in missing}
    elif missing and not from_files:
        found |= _fields_in(_standard_input(), fields, "standard input")
    return _complete(found, fields)


def _asked(field: str) -> Secret:
    return Secret(getpass.getpass(f"{field} (not shown): ", stream=sys.stderr))


def _standard_input() -> bytes:
    # It is None where whoever started us closed it.
    if sys.stdin is None or sys.stdin.isatty():
        raise Refusal(
            "there is no terminal to ask at",
            "give the secret on standard input or by `--from-file`",
        )
    return _bounded(sys.stdin.buffer.read(SECRET_BYTES_MAX + 1), "standard input")


def _file(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            return _bounded(opened.read(SECRET_BYTES_MAX + 1), f"`{path}`")
    except OSError as error:
        raise Refusal(f"cannot read `{path}`: {error.strerror}") from None


def _bounded(content: bytes, source: str) -> bytes:
    if len(content) > SECRET_BYTES_MAX:
        raise Refusal(f"{source} is larger than a credential can be ({SECRET_BYTES_MAX:,} bytes)")
    if not content.strip():
        raise Refusal(f"{source} holds no secret")
    return content


def _fields_in(content: bytes, fields: Sequence[str], source: str) -> dict[str, Secret]:
    """Read one field as it stands; several from JSON or from `field=value` lines."""
    if len(fields) == 1:
        return {fields[0]: Secret(_trimmed(content))}
    if content.lstrip().startswith(b"{"):
        return _json_fields(content, source)
    return _line_fields(content, source, fields)


def _json_fields(content: bytes, source: str) -> dict[str, Secret]:
    # The parser's own words would quote what it read.
    try:
        read: object = json.loads(content)
    except ValueError:
        raise Refusal(f"{source} starts like JSON and is not") from None
    if not isinstance(read, dict):
        raise Refusal(f"{source} is no JSON object of fields")
    values = cast("dict[str, object]", read)
    if not all(isinstance(value, str) for value in values.values()):
        raise Refusal(f"{source} has a field that is not a text")
    return {field: Secret(str(value)) for field, value in values.items()}


def _line_fields(content: bytes, source: str, fields: Sequence[str]) -> dict[str, Secret]:
    found: dict[str, Secret] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        field, equals, value = line.partition(b"=")
        if not equals:
            raise Refusal(
                f"line {number} of {source} is not `field=value`",
                f"the credential has the fields {listed(fields)}",
            )
        found[field.strip().decode("utf-8", "replace")] = Secret(value.strip())
    return found


def _trimmed(content: bytes) -> bytes:
    """Drop the line end that editors and `echo` add; everything else belongs to the secret."""
    return content.removesuffix(b"\n").removesuffix(b"\r")


def _complete(found: Mapping[str, Secret], fields: Sequence[str]) -> Mapping[str, Secret]:
    missing = [field for field in fields if field not in found]
    if missing:
        raise Refusal(
            f"the credential lacks {listed(missing)}", f"it has the fields {listed(fields)}"
        )
    strange = [field for field in found if field not in fields]
    if strange:
        # Not repeated: a secret with `=` in it would look like a field's name.
        raise Refusal(
            f"{len(strange)} of the fields given do not belong to this credential",
            f"it has the fields {listed(fields)}",
        )
    return {field: found[field] for field in fields}
