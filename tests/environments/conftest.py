"""What the tests of ``envs`` share."""

from __future__ import annotations

from pathlib import Path

import pytest
from envs_support import private_environ


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Variables of a user with an empty home."""
    return private_environ(tmp_path / "home")
