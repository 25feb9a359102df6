"""How each product wants values made alike before they are hashed: `hash_profiles.yaml`, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from tidegate.catalog.shipped import read_shipped

KEYED: Final = "keyed"
"""The product whose hashes are made with the client's own key."""


@dataclass(frozen=True, slots=True)
class HashProfile:
    """One product's rules. `in_clear`: what it wants as it is. `is_read`: at its maker's own page."""

    product: str
    title: str
    source: str
    is_read: bool
    kinds: Mapping[str, tuple[str, ...]]
    in_clear: frozenset[str]


@lru_cache(maxsize=1)
def hash_profiles() -> Mapping[str, HashProfile]:
    """All products, by name."""
    written = cast("Mapping[str, Mapping[str, Any]]", read_shipped("hash_profiles.yaml"))
    return {
        product: HashProfile(
            product=product,
            title=said["title"],
            source=said["source"],
            is_read=said.get("read") != "secondary",
            kinds={kind: tuple(steps) for kind, steps in said["kinds"].items()},
            in_clear=frozenset(said.get("in_clear", ())),
        )
        for product, said in written.items()
    }


def words() -> list[str]:
    """All that `hash` can be of: `PRODUCT.KIND`."""
    return [f"{one.product}.{kind}" for one in hash_profiles().values() for kind in one.kinds]
