"""Notice when a declaration is edited: its files, what they include, and the documents they name.

The files' times and sizes are compared a few times a second. That costs less than a watch on their
folders would, and also sees what replaces a folder behind a link, as container platforms do it.
"""

from __future__ import annotations

from pathlib import Path

from tidegate.catalog.files import FILE_NAME, DeclaredFile, read_files

_Signature = tuple[tuple[Path, int, int, int] | None, ...]


class FilesWatch:
    """Compares files with how they were."""

    def __init__(self, places: tuple[Path, ...]) -> None:
        self._places = places
        self._seen = _signature(places)
        self._unsettled: _Signature | None = None

    def changed(self) -> bool:
        """Say whether something was edited since the last time this said so.

        True once two looks in a row find the same new state, so that a file that is being written
        is left alone until it is whole.
        """
        found = _signature(self._places)
        if found == self._seen:
            self._unsettled = None
            return False
        if found != self._unsettled:
            self._unsettled = found
            return False
        self._seen = found
        self._unsettled = None
        return True


class Watch(FilesWatch):
    """Compares what a declaration is read from with how it was."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(_places(path))

    def changed(self) -> bool:
        """Say whether something was edited since the last time this said so."""
        if not super().changed():
            return False
        # What is included may have changed with it. A file that is wrong may hide what it includes,
        # so what is known stays watched.
        self._places = tuple(sorted({*self._places, *_places(self._path)}))
        self._seen = _signature(self._places)
        return True


def _places(path: Path) -> tuple[Path, ...]:
    files, _ = read_files(path)
    first = path / FILE_NAME if path.is_dir() else path
    places = {first}
    for file in files:
        places.add(Path(file.source.file))
        places.update(_named_in(file))
    return tuple(sorted(places))


def _named_in(file: DeclaredFile) -> set[Path]:
    named: set[Path] = set()
    for pattern in file.entries.include:
        if any(character in pattern for character in "*?["):
            # The folders' own times tell when a file that fits comes or goes.
            named.update(found.parent for found in file.folder.glob(pattern))
    for provider in file.entries.providers.values():
        if provider.openapi is not None and "://" not in provider.openapi:
            named.add(file.folder / provider.openapi)
        if provider.tls.ca is not None:
            named.add(file.folder / provider.tls.ca)
    return named


def _signature(places: tuple[Path, ...]) -> _Signature:
    return tuple(_state(place) for place in places)


def _state(place: Path) -> tuple[Path, int, int, int] | None:
    try:
        found = place.stat()
    except OSError:
        return None
    return place, found.st_ino, found.st_mtime_ns, found.st_size
