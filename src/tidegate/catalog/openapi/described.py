"""Where a document says more of an operation than that there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidegate.catalog.openapi.document import Document
from tidegate.catalog.yaml_source import Path


@dataclass(frozen=True, slots=True)
class Description:
    """One operation in the document: its whole path, and what it and all of its path's say."""

    template: str
    item: Mapping[str, Any]
    operation: Mapping[str, Any]
    path: Path
    """Where the item stands."""
    key: str
    """Under which the operation stands in it."""


@dataclass(frozen=True, slots=True)
class Described:
    """A document, and what it describes by method and shape of path."""

    document: Document
    operations: dict[tuple[str, str], Description] = field(
        default_factory=dict[tuple[str, str], Description]
    )
