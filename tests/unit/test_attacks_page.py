"""The page of attacks names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "attacks.md"


def test_every_test_that_the_page_names_is_there():
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|rs))`", PAGE.read_text())
    assert len(named) > 20
    missing = [
        name for name in named if not ((ROOT / "tests" / name).exists() or (ROOT / name).exists())
    ]
    assert missing == []
