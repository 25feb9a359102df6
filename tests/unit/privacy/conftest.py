"""A register in a store of its own, on each of the two engines, and the operators who work on it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.agreeing import KEY, Book

from tidegate.privacy import Acts
from tidegate.store import Store


@pytest.fixture
def book(acts_store: Store) -> Book:
    return Book(acts_store, Acts(acts_store, lambda: KEY), datetime(2026, 3, 1, 12, tzinfo=UTC))
