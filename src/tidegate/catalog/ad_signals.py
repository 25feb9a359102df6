"""What each product is told of a person's decision about advertising: `ad_signals.yaml`, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, cast

from tidegate.catalog.shipped import read_shipped
from tidegate.domain.protection import Signal

_EACH: Final = "[*]"


@lru_cache(maxsize=1)
def ad_signals() -> Mapping[str, tuple[Signal, ...]]:
    """All products, by name."""
    written = cast("Mapping[str, Mapping[str, Any]]", read_shipped("ad_signals.yaml"))
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
