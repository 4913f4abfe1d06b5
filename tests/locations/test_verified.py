"""What was found out by verifying, kept for the next supervisor."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.locations.verified import GivenUp, Verified


@pytest.mark.slow
def test_the_memory_is_bounded_and_survives_what_cannot_be_written(tmp_path):
    async def use() -> tuple[int, int]:
        known = Verified(tmp_path / "verified.json")
        await known.open()
        try:
            for number in range(6000):
                known.agree(str(number), 1.0)
            for number in range(1200):
                known.give_up(str(number), GivenUp("s", "because", 1.0))
            known.give_up("for now", GivenUp("s", "because", 1.0, kept=False))
            known.forgive("1199")
            assert known.agreed("5999") == 1.0
            assert known.agreed("0") is None
            assert known.given_up("for now")
        finally:
            known.close()
        later = Verified(tmp_path / "verified.json")
        await later.open()
        later.close()
        assert later.given_up("for now") is None
        assert later.given_up("1199") is None
        keys = [str(number) for number in range(6000)]
        agreed = [one for one in keys if later.agreed(one) is not None]
        return len(agreed), len([one for one in keys if later.given_up(one) is not None])

    agreed, given_up = asyncio.run(use())
    assert (agreed, given_up) == (5000, 998)
    # A disk that takes nothing: it is known in memory.
    gone = Verified(tmp_path / "nowhere" / "verified.json")

    async def use_gone() -> None:
        await gone.open()
        gone.agree("a", 1.0)
        gone.close()

    asyncio.run(use_gone())
    assert gone.agreed("a") == 1.0
