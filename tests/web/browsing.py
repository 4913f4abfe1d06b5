"""A real Chromium for the tests that need one, and how they look at it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.chromium import chromium
from benchmarks.setting import UnavailableError

WAIT = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all tests of a module."""
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(chromium())
        except UnavailableError as error:
            pytest.skip(str(error))
        from playwright.sync_api import expect

        expect.set_options(timeout=WAIT)  # a tab's own default is not for these
        yield made


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    """A fresh tab; scripts must raise nothing, and the page must ask nobody else."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(WAIT)
    tab = context.new_page()
    trouble: list[str] = []
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on(
        "console",
        lambda said: trouble.append(said.text) if "Content Security" in said.text else None,
    )
    tab.on(
        "request",
        lambda asked: (
            None
            if asked.url.startswith(("http://127.0.0.1:", "data:", "blob:"))
            else trouble.append(asked.url)
        ),
    )
    yield tab
    context.close()
    assert trouble == []


def expect(locator: Any) -> Any:
    from playwright.sync_api import expect

    return expect(locator)


def row(tab: Any, name: str) -> Any:
    return tab.locator(f'tr[data-location="{name}"]')
