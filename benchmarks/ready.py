"""How long until all locations are ready, against the bare imports.

Twenty small native locations in one environment. Bare is ``python -c "import zmq, msgpack, MODULE"``
for the same modules, in the same interpreter with the same overlay on PYTHONPATH, as many at once
as there are cores: what starting twenty processes must cost. Three views of ours, because the
supervisor's own start is paid once however many locations there are.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from benchmarks.results import Machine, Result
from benchmarks.setting import BARE_IMPORTS, Alternating, Setting, all_ready, run_all

__all__ = ["SMALL", "measure"]

AIM = 1.5
LOCATIONS = 20

SMALL = '''\
"""A small location."""

from runner_shim import Definitions, ScheduleDefinition, asset, job, op


@op
def load():
    """Load."""


@op
def publish(rows):
    """Publish."""


@job(tags={"team": "risk"})
def nightly():
    """Every night."""
    publish(load())


@asset(group_name="reports")
def exposure():
    """Exposure."""


defs = Definitions(
    jobs=[nightly],
    schedules=[ScheduleDefinition(cron_schedule="0 5 * * *", job=nightly)],
    assets=[exposure],
)
'''


def measure(setting: Setting, rounds: int) -> list[Result]:
    """From the command, from the first order, and from an order to a supervisor that runs."""
    interpreter = setting.interpreter()
    names = [f"location_{number:02}" for number in range(LOCATIONS)]
    modules = dict.fromkeys(names, SMALL)
    workspaces = {
        method: setting.workspace(f"ready-{method}", interpreter, modules, method)
        for method in ("spawn", "auto")
    }
    bare = setting.bare(interpreter, workspaces["spawn"].parent)
    codes = [f"{BARE_IMPORTS}, {name}" for name in names]
    parallel = Machine.here().cores
    against = (
        f'`python -c "{BARE_IMPORTS}, MODULE"` {LOCATIONS} times, {parallel} at once, '
        f"Python {interpreter.version_text}"
    )
    samples = Alternating(rounds).run(
        lambda: (run_all(bare, codes, parallel),),
        *(partial(_start, setting, workspace) for workspace in workspaces.values()),
    )
    views = (
        ("ready", f"`supervise` typed \u2192 {LOCATIONS} locations ready", AIM),
        ("ready, inside", "the same, from the daemon's first line: without its own imports", None),
        ("ready, running", f"order to start {LOCATIONS} stopped locations \u2192 ready", None),
    )
    return [
        Result(
            f"{name}, {method}",
            what,
            against,
            "s",
            [sample[view] for sample in ours],
            [sample[0] for sample in samples[0]],
            aim,
        )
        for method, ours in zip(workspaces, samples[1:], strict=True)
        for view, (name, what, aim) in enumerate(views)
    ]


def _start(setting: Setting, workspace: Path) -> tuple[float, float, float]:
    """Start everything, twice: the seconds from the command, from the daemon, and from the order."""
    with setting.supervised(workspace) as (client, started):
        all_ready(client)
        command = time.perf_counter() - started
        document = client.status()
        last = max(location["since"] for location in document["locations"])
        first_order = last - document["supervisor"]["started"]
        client.stop()
        client.wait(timeout=60)
        begun = time.perf_counter()
        client.start()
        all_ready(client)
        return command, first_order, time.perf_counter() - begun
