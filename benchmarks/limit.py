"""Against what cannot be had for less: one import of the library, one process a module.

``dagster-limit``: twenty Dagster locations all ready, against one process that imports Dagster once
and forks a child for each module, as many at a time as there are cores, each of which imports its
module and ends. ``reload-limit``: an edit of a trivial native location until its new snapshot is
served, against starting an interpreter that imports the module.
"""

from __future__ import annotations

import statistics
import subprocess
import time

import envs
from benchmarks.against_dagster import (
    dagster_interpreter,
    dagster_names,
    dagster_workspace,
    ours_loaded,
    saved_until_served,
)
from benchmarks.results import Machine, Result
from benchmarks.setting import Alternating, Sample, Setting, UnavailableError, all_ready

__all__ = ["measure"]

LOCATIONS = 20
READY_AIM = 1.5
RELOAD_AIM = 3.0
P50_AIM, P99_AIM = 0.060, 0.200  # seconds
_EDITS = 30  # a round
_PAUSE = 0.1  # seconds between two edits: each finds everything idle

TRIVIAL = '''\
"""A trivial location."""

from runner_shim import Definitions, job


@job(description="edition 0")
def nightly():
    """Every night."""


defs = Definitions(jobs=[nightly])
'''

# Imports the library once, then each module in a forked child, some at a time.
_BARE_FORKS = """\
import os, sys
import dagster
parallel, running = int(sys.argv[1]), 0
sys.path.insert(0, os.getcwd())
def reap():
    if os.wait()[1] != 0:
        sys.exit(1)
for name in sys.argv[2:]:
    if running == parallel:
        reap()
        running -= 1
    if os.fork() == 0:
        __import__(name)
        os._exit(0)
    running += 1
for _ in range(running):
    reap()
"""


def measure(setting: Setting, rounds: int) -> list[Result]:
    """Both limits."""
    return [*_ready(setting, rounds), *_reloads(setting, max(3, rounds // 2))]


def _ready(setting: Setting, rounds: int) -> list[Result]:
    interpreter, version = dagster_interpreter(setting)
    workspace = dagster_workspace(setting, "limit", interpreter, LOCATIONS)
    cores = Machine.here().cores
    command = [str(interpreter.executable), "-c", _BARE_FORKS, str(cores)]

    def ours() -> Sample:
        with ours_loaded(setting, workspace) as (client, seconds):
            document = client.status()
            last = max(one["since"] for one in document["locations"])
            return seconds, last - document["supervisor"]["started"]

    def bare() -> Sample:
        started = time.perf_counter()
        subprocess.run(
            command + dagster_names(LOCATIONS),
            env=envs.activate(interpreter, setting.environ),
            cwd=workspace.parent,
            check=True,
        )
        return (time.perf_counter() - started,)

    samples, bares = Alternating(rounds).run(ours, bare)
    against = (
        f"one `import dagster` ({version}, Python {interpreter.version_text}), then {LOCATIONS} "
        f"forks that each import a module, {cores} at once"
    )
    least = [one for (one,) in bares]
    return [
        Result(
            "dagster-limit",
            f"`supervise` typed → {LOCATIONS} Dagster locations ready, first start ever",
            against,
            "s",
            [one[0] for one in samples],
            least,
            READY_AIM,
        ),
        Result(
            "dagster-limit, inside",
            "the same, from the daemon's first line: without its own imports",
            against,
            "s",
            [one[1] for one in samples],
            least,
        ),
    ]


def _reloads(setting: Setting, rounds: int) -> list[Result]:
    interpreter = setting.interpreter()
    workspace = setting.workspace("reload", interpreter, {"trivial": TRIVIAL}, "auto")
    bare = setting.bare(interpreter, workspace.parent)
    file = workspace.parent / "trivial.py"
    every: list[float] = []
    with setting.supervised(workspace) as (client, _started):
        all_ready(client)

        def ours() -> Sample:
            taken = []
            for number in range(_EDITS):
                time.sleep(_PAUSE)
                taken.append(saved_until_served(client, file, "trivial", number))
            every.extend(taken)
            return (statistics.median(taken),)

        def theirs() -> Sample:
            taken = []
            for _ in range(_EDITS):
                time.sleep(_PAUSE)
                started = time.perf_counter()
                if bare.start("import trivial").wait() != 0:
                    raise UnavailableError("a bare process failed")
                taken.append(time.perf_counter() - started)
            return (statistics.median(taken),)

        medians, bares = Alternating(rounds).run(ours, theirs)
    every = every[_EDITS:]  # without the first round, as everywhere
    against = '`python -c "import MODULE"`, started and ended'
    least = [one for (one,) in bares]
    what = "trivial native location: file saved → new snapshot served"
    return [
        Result("reload-limit", what, against, "s", [m for (m,) in medians], least, RELOAD_AIM),
        Result(
            "reload-limit, p50",
            f"{what}, median of {len(every)}",
            "",
            "s",
            [statistics.median(every)],
            [],
            P50_AIM,
            "alone",
        ),
        Result(
            "reload-limit, p99",
            f"{what}, 99th percentile of {len(every)}",
            "",
            "s",
            [statistics.quantiles(every, n=100, method="inclusive")[98]],
            [],
            P99_AIM,
            "alone",
        ),
    ]
