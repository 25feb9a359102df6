"""The built-in declarations of well-known providers: one YAML a provider, in `presets/`.

A preset has the form of a provider in `tidegate.yaml`, so that what is built in could have been
written by anyone, and can be copied and changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import cast

from tidegate.catalog.errors import ConfigErrors
from tidegate.catalog.schema import ProviderEntry
from tidegate.catalog.yaml_source import read_yaml
from tidegate.domain.declaration import Provider

_FOLDER = files("tidegate.catalog") / "presets"
_SOURCES = files("tidegate.catalog") / "preset_sources.yaml"
_SUFFIX = ".yaml"


@dataclass(frozen=True, slots=True)
class Preset:
    """A built-in provider, as it is when nothing is declared beside it. `source`: where its facts are from."""

    name: str
    title: str
    provider: Provider
    source: str


@lru_cache(maxsize=1)
def preset_names() -> tuple[str, ...]:
    """The names of all presets, sorted."""
    found = (file.name for file in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)))


@lru_cache(maxsize=256)
def preset_entry(name: str) -> ProviderEntry:
    """One preset as it is written; the name is one of `preset_names`."""
    file = _FOLDER / f"{name}{_SUFFIX}"
    source = read_yaml(file.read_bytes(), file.name)
    if source.errors:
        raise ConfigErrors(source.errors)
    return ProviderEntry.model_validate(source.root)


@lru_cache(maxsize=1)
def preset_sources() -> Mapping[str, str]:
    """Where the facts of each preset were read, by its name."""
    source = read_yaml(_SOURCES.read_bytes(), _SOURCES.name)
    if source.errors:
        raise ConfigErrors(source.errors)
    return cast("Mapping[str, str]", source.root)


@lru_cache(maxsize=1)
def presets() -> Mapping[str, Preset]:
    """All presets, by name."""
    from tidegate.catalog.provider import of_preset

    return {
        name: Preset(
            name, preset_entry(name).title, of_preset(name), preset_sources().get(name, "")
        )
        for name in preset_names()
    }
