"""Ask the document of a declared provider what its operations' requests may have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from tidegate.catalog.documents import Documents, Fetch
from tidegate.catalog.files import read_files
from tidegate.catalog.openapi import read_operations
from tidegate.catalog.openapi.places import DeclaredPlace, places_of
from tidegate.catalog.patterns import shape
from tidegate.domain.declaration import Provider


def declared_places(
    path: Path, provider: Provider, numbers: Collection[int], fetch: Fetch | None = None
) -> Mapping[int, tuple[DeclaredPlace, ...]]:
    """The places of some operations, by number; an operation that the document does not describe has none.

    `path` is what declares the provider, and is known to load.

    Raises:
        ConfigErrors: the document is wrong where it describes one of them.
        OSError: it cannot be read, with the reason.
    """
    for file in read_files(path)[0]:
        entry = file.entries.providers.get(provider.name)
        if entry is None or not entry.openapi:
            continue
        document, url = Documents(fetch).read(entry.openapi, file.folder)
        api = read_operations(
            document,
            origins=provider.origins,
            base_path=entry.base_path,
            variables=entry.variables,
            url=url,
        )
        described = api.described.operations
        calls = {
            number: (one.method, shape(one.path))
            for number, one in enumerate(provider.operations)
            if number in numbers
        }
        return {
            number: places_of(document, described[call])
            for number, call in calls.items()
            if call in described
        }
    return {}
