"""A register in a store of its own, and the operators who work on it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.agreeing import KEY, Book

from tidegate.privacy import Acts
from tidegate.store import Store


@pytest.fixture
def book(tmp_path: Path):
    with Store.open(f"sqlite:///{tmp_path}/data/tidegate.db") as store:
        yield Book(store, Acts(store, lambda: KEY), datetime(2026, 3, 1, 12, tzinfo=UTC))
