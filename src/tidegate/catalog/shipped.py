"""Read what the catalog ships as data beside its code."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from tidegate.catalog.errors import ConfigErrors
from tidegate.catalog.yaml_source import read_yaml


def read_shipped(name: str) -> Any:
    """What a YAML file of the catalog says.

    Raises:
        ConfigErrors: it is not well-formed.
    """
    file = files("tidegate.catalog") / name
    source = read_yaml(file.read_bytes(), file.name)
    if source.errors:
        raise ConfigErrors(source.errors)
    return source.root
