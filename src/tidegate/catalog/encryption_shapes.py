"""The shapes in which providers want what is encrypted to their keys: `encryption_shapes.yaml`, as data."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, cast

from tidegate.catalog.encrypting_form import ShapeEntry
from tidegate.catalog.errors import ConfigErrors
from tidegate.catalog.yaml_source import read_yaml

_FILE = files("tidegate.catalog") / "encryption_shapes.yaml"
_ABOUT = frozenset({"title", "source", "read"})


@lru_cache(maxsize=1)
def encryption_shapes() -> Mapping[str, ShapeEntry]:
    """All of them, by name."""
    source = read_yaml(_FILE.read_bytes(), _FILE.name)
    if source.errors:
        raise ConfigErrors(source.errors)
    written = cast("Mapping[str, Mapping[str, Any]]", source.root)
    return {
        name: ShapeEntry.model_validate({k: v for k, v in said.items() if k not in _ABOUT})
        for name, said in written.items()
    }
