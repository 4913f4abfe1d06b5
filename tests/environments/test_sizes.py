"""Sizes in words."""

from __future__ import annotations

import pytest

from envs.sizes import size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (2**20, "1 MiB"),
        (512 * 2**20, "512 MiB"),
        (500_000_000, "476.8 MiB"),
        (3 * 2**29, "1.5 GiB"),
        (5 * 2**50, "5120 TiB"),
    ],
)
def test_sizes_as_people_write_them(count: int, text: str) -> None:
    assert size(count) == text
