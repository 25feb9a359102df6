"""Find and read the declaration's files: the first one and those that it includes.

Included files lie below the first file's folder, links followed, so that a declaration that someone
else wrote cannot read the rest of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tidegate.catalog.errors import START, ConfigError, did_you_mean, shown
from tidegate.catalog.schema import File
from tidegate.catalog.validate import Checked, check_form
from tidegate.catalog.yaml_source import CONFIG_BOUNDS, Source, read_yaml

FILE_NAME = "tidegate.yaml"
FILES_MAX = 1_000
_BELOW = "an included file lies below the first file's folder"


@dataclass(frozen=True, slots=True)
class DeclaredFile:
    """One file, read and checked. `label` begins its grants' default names; empty: the first."""

    source: Source
    folder: Path
    label: str
    checked: Checked

    @property
    def entries(self) -> File:
        """Its sound entries."""
        return self.checked.entries


def read_files(path: Path) -> tuple[list[DeclaredFile], list[ConfigError]]:
    """Read the first file (or the one in a folder) and what it includes, in order of inclusion."""
    first = path / FILE_NAME if path.is_dir() else path
    reader = _Reader(first)
    return list(reader.read(first, ())), reader.errors


class _Reader:
    def __init__(self, first: Path) -> None:
        self.top = first.parent
        self.errors: list[ConfigError] = []
        self._seen: set[Path] = set()

    def read(self, file: Path, chain: tuple[Path, ...]) -> Iterator[DeclaredFile]:
        """Read one file and, after it, those that it includes."""
        self._seen.add(file.resolve())
        try:
            data = _read_bounded(file)
        except OSError as error:
            message = f"the file cannot be read: {error.strerror or type(error).__name__}"
            self.errors.append(ConfigError(str(file), *START, message))
            return
        source = read_yaml(data, str(file))
        checked = check_form(source, is_first=not chain)
        self.errors += checked.errors
        label = f"{file.relative_to(self.top)}:" if chain else ""
        declared = DeclaredFile(source, file.parent, label, checked)
        for section in ("gateway", "organisation") if chain else ():
            if section in checked.entries.model_fields_set:
                message = f"`{section}` stands in the first file only"
                self.errors.append(source.error((section,), message, key=True))
        yield declared
        for number, pattern in enumerate(checked.entries.include):
            for found in self._included(declared, number, pattern, (*chain, file.resolve())):
                yield from self.read(found, (*chain, file.resolve()))

    def _included(
        self, by: DeclaredFile, number: int, pattern: str, chain: tuple[Path, ...]
    ) -> list[Path]:
        try:
            return self._find(by.folder, pattern, chain)
        except _NotIncludedError as refused:
            self.errors.append(by.source.error(("include", number), refused.message, refused.hint))
        except (OSError, ValueError):
            message = f"{shown(pattern)} is not a path that can be looked for"
            self.errors.append(by.source.error(("include", number), message))
        return []

    def _find(self, folder: Path, pattern: str, chain: tuple[Path, ...]) -> list[Path]:
        _check_pattern(pattern)
        is_glob = any(c in pattern for c in "*?[")
        matches = sorted(folder.glob(pattern)) if is_glob else [folder / pattern]
        found = [file for file in matches if file.is_file()]
        if not found:
            siblings = [str(p.relative_to(folder)) for p in sorted(folder.glob("*.y*ml"))]
            hint = did_you_mean(pattern, siblings, otherwise=" ").strip()
            raise _NotIncludedError(f"no file is called {shown(pattern)}", hint)
        if any(not file.resolve().is_relative_to(self.top.resolve()) for file in found):
            raise _NotIncludedError(_BELOW)
        if len(self._seen) + len(found) > FILES_MAX:
            raise _NotIncludedError(f"a declaration has at most {FILES_MAX:,} files")
        if is_glob:
            return [file for file in found if file.resolve() not in self._seen]
        if found[0].resolve() in chain:
            raise _NotIncludedError("this file includes itself, perhaps through others")
        if found[0].resolve() in self._seen:
            raise _NotIncludedError(f"{shown(pattern)} is included a second time")
        return found


class _NotIncludedError(Exception):
    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def _read_bounded(file: Path) -> bytes:
    """Read a regular file, and no more of it than shows that it is too large."""
    if file.exists() and not file.is_file():
        raise OSError(0, "it is not a regular file")
    with file.open("rb") as stream:
        return stream.read(CONFIG_BOUNDS.bytes_max + 1)


def _check_pattern(pattern: str) -> None:
    if pattern.startswith("/") or "\\" in pattern or not pattern.strip():
        raise _NotIncludedError("an included file is named by a path relative to this file")
    if ".." in PurePosixPath(pattern).parts:
        raise _NotIncludedError(_BELOW)
    if "**" in pattern:
        raise _NotIncludedError("`**` is not read here; name each folder")
