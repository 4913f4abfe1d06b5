"""One supervisor and one page for all tests that change nothing about them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .browsing import browser, opened
from .site import Site, site

__all__ = ["browser", "opened", "quiet"]


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with several locations, for tests that only look."""
    with site(tmp_path_factory.mktemp("web")) as made:
        yield made
