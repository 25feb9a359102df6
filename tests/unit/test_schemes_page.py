"""The page of schemes has every scheme that can be declared, and names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from tidegate.catalog.schema import _AUTH_FORMS, AuthName, TokenGrantEntry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "schemes.md").read_text()
ROWS = re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)

GRANTS = get_args(TokenGrantEntry.model_fields["grant"].annotation)
CLIENT_AUTH = set(get_args(TokenGrantEntry.model_fields["client_auth"].annotation)) - {"none"}
ISSUING = {"oauth2", "login"}


@pytest.mark.parametrize("scheme", sorted({*_AUTH_FORMS, *get_args(AuthName)} - ISSUING))
def test_every_form_of_auth_is_on_it(scheme: str):
    assert any(f"`{scheme}`" in first for first, _ in ROWS)


@pytest.mark.parametrize("name", sorted({*GRANTS, *CLIENT_AUTH}))
def test_every_grant_and_way_to_show_the_client_is_on_it(name: str):
    assert any(f"`{name}`" in first for first, _ in ROWS)


def test_every_form_that_issues_tokens_has_its_part():
    assert all(f"(`{form}`)" in PAGE for form in ISSUING)


def test_every_row_names_tests_that_are_there():
    for first, shown in ROWS[1:]:
        if set(first) <= {"-", "|"} or shown in {"Shown by", "---"}:
            continue
        named = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|rs))`", shown)
        assert named, first
        for name in named:
            assert (ROOT / "tests" / name).exists() or (ROOT / name).exists(), name
