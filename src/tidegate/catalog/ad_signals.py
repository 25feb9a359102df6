"""What each product is told of a person's decision about advertising: `ad_signals.yaml`, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, cast

from tidegate.catalog.errors import ConfigErrors
from tidegate.catalog.yaml_source import read_yaml
from tidegate.domain.protection import Signal

_FILE = files("tidegate.catalog") / "ad_signals.yaml"
_EACH: Final = "[*]"


@lru_cache(maxsize=1)
def ad_signals() -> Mapping[str, tuple[Signal, ...]]:
    """All products, by name."""
    source = read_yaml(_FILE.read_bytes(), _FILE.name)
    if source.errors:
        raise ConfigErrors(source.errors)
    written = cast("Mapping[str, Mapping[str, Any]]", source.root)
    return {product: tuple(_signals(said)) for product, said in written.items()}


def _signals(said: Mapping[str, Any]) -> Iterator[Signal]:
    for key in ("set", "correct"):
        for one in said.get(key, ()):
            for at in one["at"]:
                steps = tuple(_steps(at))
                yield Signal(steps, one.get("granted"), one.get("denied"), always=key == "set")


def _steps(at: str) -> Iterator[str | None]:
    for part in at.split("."):
        yield part.removesuffix(_EACH)
        if part.endswith(_EACH):
            yield None
