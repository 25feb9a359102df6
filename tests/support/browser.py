"""A real browser: Debian's Chromium without a window, driven by playwright."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from support.servers import program

# Beside what playwright itself turns off: nothing is asked of the world on the browser's own behalf.
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run one; each person who uses it has a context of their own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program("chromium", package="chromium"),
            # Chromium refuses its sandbox to root.
            chromium_sandbox=os.geteuid() != 0,
            args=list(_QUIET),
        )
        try:
            yield browser
        finally:
            browser.close()
