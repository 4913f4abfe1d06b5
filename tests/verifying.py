"""What the tests of verification share: code that knows how it was loaded, and the verifier's pace."""

from __future__ import annotations

from typing import Any

import pytest
from supervised import Supervised, job

from supervisor.locations.verifier import Verifier
from supervisor.processes.spare_time import Pace

__all__ = ["COUNTED", "WHERE", "conditions", "pace", "state_of"]

# Sets ``forked``. A lie that no check of a forkserver can know of.
WHERE = """\
import os
with open("/proc/%d/cmdline" % os.getppid()) as file:
    forked = "boot.py" in file.read()
"""
COUNTED = "open('%s.loads', 'a').write('x')\n" + job("one")


def pace(monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    """Verifiers that are made from now on have this pace."""
    given = {"patience": 0.0, "every": 0.01, "calm": lambda: True, **more}
    monkeypatch.setattr(Verifier, "pace", Pace(**given))


async def state_of(running: Supervised, name: str) -> str:
    """The state of its verification once it is not pending any more."""
    one = running[name]
    await running.until(
        lambda: one.state == "ready" and one.verification.state != "pending", "verified or not"
    )
    return one.verification.state


def conditions(running: Supervised, name: str) -> dict[str, str]:
    return {one.key: one.message for one in running[name].conditions}
