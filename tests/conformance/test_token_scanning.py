"""A secret scanner that knows the documented pattern finds every token, and nothing that only looks like one."""

from __future__ import annotations

import re
from pathlib import Path

from tidegate.credentials.tokens import _new_token, check_format

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "access-tokens.md"
TOKENS = 2_000


def documented() -> re.Pattern[str]:
    (pattern,) = re.findall(r"\| for secret scanners \| `([^`]+)`", PAGE.read_text())
    return re.compile(pattern)


def test_every_token_is_found_wherever_it_stands():
    tokens = [_new_token() for _ in range(TOKENS)]
    text = "\n".join(f'export KEY="{token}"; # {token}, or Bearer {token}' for token in tokens)
    found = documented().findall(text)
    assert found == [token for token in tokens for _ in range(3)]
    assert all(map(check_format, found))
