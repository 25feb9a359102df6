"""A gateway before one provider that a test brings."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from support.passage import Before, put_before

from tidegate.sandbox import Authority


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def before(tmp_path: Path, authority: Authority) -> Before:
    """Put a gateway before an origin: `with before(origin) as passage`."""
    return partial(put_before, tmp_path, authority)
