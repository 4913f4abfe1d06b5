"""The system's Chromium, driven by playwright (extra ``web-dev``).

For benchmarks, for the tests of pages, and for the pictures of docs/. Starts the browser and ends it; opens
no page.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

from benchmarks.setting import UnavailableError

__all__ = ["chromium"]

# It asks no other machine for anything, and runs as root and without a screen.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """The browser, as playwright has it. Raises ``UnavailableError`` where it or its driver is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UnavailableError("playwright is not installed: pip install -e '.[web-dev]'") from None
    path = shutil.which("chromium")
    if path is None:
        raise UnavailableError("there is no chromium on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()
