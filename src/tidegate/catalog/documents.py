"""Bring the files and documents that providers name, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tidegate.catalog.openapi import Described, Document, read_document
from tidegate.catalog.openapi.document import JSON_BYTES_MAX

Fetch = Callable[[str], bytes]
"""Reads a URL: the bytes of its document, or an OSError that says why not."""


class Documents:
    """Reads the documents that providers name, each once."""

    def __init__(self, fetch: Fetch | None) -> None:
        self._fetch = fetch
        self._read: dict[str, Document] = {}
        self.described: dict[str, Described] = {}
        """What the documents say of operations, by the providers that name them."""

    def read(self, name: str, folder: Path) -> tuple[Document, str | None]:
        """Read a document; a URL comes back beside it, for servers that are relative to it.

        Raises:
            ConfigErrors: the document is wrong.
            OSError: it cannot be read, with the reason.
        """
        url = name if "://" in name else None
        where = url or str(folder / name)
        if where not in self._read:
            data = self._fetched(url) if url else read_bounded(folder / name, JSON_BYTES_MAX)
            self._read[where] = read_document(data, where)
        return self._read[where], url

    def _fetched(self, url: str) -> bytes:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
            raise OSError(0, "a document is a file or an `https://` URL")
        if self._fetch is None:
            raise OSError(0, "no document is fetched here; save it as a file")
        return self._fetch(url)


def read_bounded(file: Path, bytes_max: int) -> bytes:
    """Read a regular file of at most so many bytes; an OSError says why not."""
    if file.exists() and not file.is_file():
        raise OSError(0, "it is not a regular file")
    if file.stat().st_size > bytes_max:
        raise OSError(0, f"it has more than {bytes_max:,} bytes")
    return file.read_bytes()


def documents_beside(file: Path) -> list[str]:
    """The names of what could be a document in a file's folder."""
    if not file.parent.is_dir():
        return []
    suffixes = {".json", ".yaml", ".yml"}
    return sorted(one.name for one in file.parent.iterdir() if one.suffix in suffixes)
