"""Remember every secret that the tests plant, and look for it in all that they leave behind.

Whatever becomes a `Secret` in a test process is planted, by `canary_scan`: credentials, access tokens,
keys. What reaches Tidegate by another way (a pipe, a header) a test plants itself. When the session ends,
the folders that tests wrote and the output that was captured are searched for each secret as it is, in
hexadecimal, base64 and percent-encoding.

Left out are the places that hold a secret because that is their purpose: key files (`*.key`), and input
files that a test names with `may_hold`. A folder that goes before the session ends is searched by
`search_before_it_goes`.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

from hypothesis import currently_in_test_context

BYTES_MIN = 10
"""Shorter ones, and those of few different bytes, stand in files by chance."""

DISTINCT_MIN = 6
KEY_FILES = "*.key"
REGISTRY = "TIDEGATE_TEST_CANARIES"
"""The environment variable that names the folder where the processes of a session meet."""

_planted: dict[bytes, str] = {}


@dataclass(frozen=True, slots=True)
class Hit:
    """A canary where it must not be. It never holds the canary itself."""

    file: Path
    form: str
    planted_by: str

    def __str__(self) -> str:
        return f"{self.file}: a secret of `{self.planted_by}`, {self.form}"


def plant(secret: bytes | str) -> None:
    """Have this value searched for when the session ends."""
    if currently_in_test_context():
        return  # What Hypothesis draws may be any word of the code, which stands in other files.
    value = secret.encode() if isinstance(secret, str) else secret
    if len(value) < BYTES_MIN or len(set(value)) < DISTINCT_MIN or value in _planted:
        return
    _planted[value] = os.environ.get("PYTEST_CURRENT_TEST", "a fixture").partition(" ")[0]
    _note("planted", {"value": value.hex(), "by": _planted[value]})


def public(value: bytes | str | None) -> None:
    """Search for this one no more: it says whose a credential is, or is there by chance."""
    if value is not None:
        _note("public", (value.encode() if isinstance(value, str) else value).hex())


def may_hold(file: Path) -> Path:
    """Leave this file out: a test writes a secret into it so that Tidegate reads it there."""
    _note("exempt", str(file.resolve()))
    return file


def search_before_it_goes(*places: Path) -> None:
    """Search folders and files now, because they are removed before the session ends."""
    for hit in search(places, _planted):
        _note("hits", [str(hit.file), hit.form, hit.planted_by])


def search(
    places: Sequence[Path], planted: dict[bytes, str], exempt: frozenset[str] = frozenset()
) -> list[Hit]:
    """Find every canary in the files below these places."""
    needles = {form: (name, by) for value, by in planted.items() for name, form in forms(value)}
    hits: list[Hit] = []
    for file in _files_with(list(needles), places):
        if str(file.resolve()) not in exempt:
            content = file.read_bytes()
            hits += [Hit(file, *needles[form]) for form in needles if form in content]
    return hits


def forms(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Say how a value may look in a file: by name of the encoding, on one line each."""
    # What is searched for stands on one line: of a value with several, the longest.
    yield "as it is", max(value.split(b"\n"), key=len)
    yield "in hexadecimal", value.hex().encode()
    yield "in hexadecimal", value.hex().upper().encode()
    for before in range(3):
        # Which letters a byte becomes depends on its place; those that share a byte with a
        # neighbour are cut off.
        encoded = base64.b64encode(bytes(before) + value).rstrip(b"=")
        whole = (before + len(value)) // 3 * 4
        core = encoded[(0, 2, 3)[before] : whole]
        yield "in base64", core
        yield "in base64", core.translate(bytes.maketrans(b"+/", b"-_"))
    for encoded in (quote(value, safe=""), quote_plus(value)):
        if encoded.encode() != value:
            yield "percent-encoded", encoded.encode()


def _files_with(needles: Sequence[bytes], places: Sequence[Path]) -> list[Path]:
    """Let grep look for all needles at once, which takes one pass over the files."""
    with tempfile.NamedTemporaryFile() as patterns:
        patterns.write(b"\n".join(needle for needle in needles if len(needle) >= BYTES_MIN))
        patterns.flush()
        if not patterns.tell():
            return []
        command = ["grep", "-rlaFZ", f"--exclude={KEY_FILES}", "-f", patterns.name, "--"]
        found = subprocess.run(
            [*command, *map(str, places)],
            stdout=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    if found.returncode > 1:
        raise RuntimeError("grep could not search for canaries")
    return [Path(os.fsdecode(name)) for name in found.stdout.split(b"\0") if name]


def _note(kind: str, entry: object) -> None:
    """Append to this process's own file, which the process that ends the session reads."""
    if registry := os.environ.get(REGISTRY):
        with (Path(registry) / f"{kind}-{os.getpid()}").open("a") as file:
            file.write(json.dumps(entry) + "\n")


def noted(kind: str) -> Iterator[object]:
    for file in sorted(Path(os.environ[REGISTRY]).glob(f"{kind}-*")):
        yield from map(json.loads, file.read_text().splitlines())
