"""A library that cannot be preloaded, in the environment of locations that do not import it.

Two workspaces, each of ten locations that import SQLAlchemy, and one that imports pyarrow, which
starts native threads. ``ours``: all of them in one environment that has both libraries. ``bare``: the
pyarrow location has an environment of its own. Both have been supervised before, so that what to
preload is known. The ten must start and reload as if pyarrow were not there.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import envs
from benchmarks.against_dagster import installed, saved_until_served
from benchmarks.results import Result
from benchmarks.setting import Alternating, Sample, Setting, all_ready

__all__ = ["measure"]

LOCATIONS = 10
AIM = 1.1
_EDITS = 20  # a round

_LOCATION = '''\
"""A location."""

import {library}
from runner_shim import Definitions, job


@job(description="edition 0")
def nightly():
    """Every night."""


defs = Definitions(jobs=[nightly])
'''


def measure(setting: Setting, rounds: int) -> list[Result]:
    """Ready and reload of the ten."""
    plain = installed(setting, ("sqlalchemy",))
    arrow = installed(setting, ("pyarrow",))
    both = installed(setting, ("pyarrow", "sqlalchemy"))
    names = [f"team_{number}" for number in range(LOCATIONS)]

    def one_of(name: str, mine: envs.Interpreter, other: envs.Interpreter) -> Callable[[], Sample]:
        modules = {one: _LOCATION.format(library="sqlalchemy") for one in names}
        modules["arrows"] = _LOCATION.format(library="pyarrow")
        workspace = setting.workspace(name, mine, modules, "auto", {"arrows": other})

        def taken() -> Sample:
            with setting.supervised(workspace, anew=False) as (client, _started):
                all_ready(client)
                status = client.status()
                began = status["supervisor"]["started"]
                ready = max(
                    one["since"] - began for one in status["locations"] if one["name"] in names
                )
                edits = []
                for number in range(_EDITS):
                    time.sleep(0.05)  # each finds everything idle
                    file = workspace.parent / "team_0.py"
                    edits.append(saved_until_served(client, file, "team_0", number))
                return ready, statistics.median(edits)

        return taken

    ours, bare = one_of("together", both, both), one_of("apart", plain, arrow)
    samples = Alternating(rounds).run(ours, bare)
    whats = (
        (
            "left-out",
            f"daemon's start → {LOCATIONS} locations ready, pyarrow beside their libraries",
        ),
        ("left-out, reload", "file saved → new snapshot served, pyarrow beside its libraries"),
    )
    return [
        Result(
            name,
            what,
            "the same, pyarrow in an environment of its own",
            "s",
            [one[view] for one in samples[0]],
            [one[view] for one in samples[1]],
            AIM,
        )
        for view, (name, what) in enumerate(whats)
    ]
