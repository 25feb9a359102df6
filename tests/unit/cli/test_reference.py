"""The page that lists the commands is what the commands say."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_reference_page_is_current():
    tool = runpy.run_path(str(ROOT / "tools/cli_reference.py"))
    written = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    assert tool["reference"]() == written, "run `python tools/cli_reference.py`"
