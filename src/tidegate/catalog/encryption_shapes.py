"""The shapes in which providers want what is encrypted to their keys: `encryption_shapes.yaml`, as data."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from tidegate.catalog.encrypting_form import ShapeEntry
from tidegate.catalog.shipped import read_shipped

_ABOUT = frozenset({"title", "source", "read"})


@lru_cache(maxsize=1)
def encryption_shapes() -> Mapping[str, ShapeEntry]:
    """All of them, by name."""
    written = cast("Mapping[str, Mapping[str, Any]]", read_shipped("encryption_shapes.yaml"))
    return {
        name: ShapeEntry.model_validate({k: v for k, v in said.items() if k not in _ABOUT})
        for name, said in written.items()
    }
