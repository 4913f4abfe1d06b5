"""Schedules that are due at once: from the minute to the order on the disk, and to the first line of user code.

50 schedules of each minute in ten locations, half of them with a function of the team's, and room for all of
their runs. The order is on the disk when its tick has ended. What is told is the slowest but one in a hundred
of each minute.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.results import Result
from benchmarks.setting import Setting, UnavailableError, all_ready
from supervisor import Client

__all__ = ["measure"]

_LOCATIONS, _EACH = 10, 5
_ORDER_AIM, _LINE_AIM = 0.25, 1.0  # seconds
_DEADLINE = 180.0
_MODULE = '''\
"""Schedules of each minute."""

import time

from runner_shim import Definitions, ScheduleDefinition, job, op, schedule


@op
def work(context):
    with open("first " + context.tags["name"], "w") as file:
        file.write(repr(time.time()))


@job
def nightly():
    work()


def plain(name):
    return ScheduleDefinition(
        name, "* * * * *", job=nightly, tags={"name": name}, default_status="running", overlap="allow"
    )


def made(name):
    def config(context):
        return {}

    return ScheduleDefinition(
        name, "* * * * *", job=nightly, run_config=config, tags={"name": name},
        default_status="running", overlap="allow",
    )


defs = Definitions(jobs=[nightly], schedules=[(plain, made)[n % 2]("NAME-%d" % n) for n in range(EACH)])
'''


def measure(setting: Setting, rounds: int) -> list[Result]:
    """As many minutes as ``rounds``, three at most; the first is not counted."""
    modules = {
        f"team{number}": _MODULE.replace("NAME", f"team{number}").replace("EACH", str(_EACH))
        for number in range(_LOCATIONS)
    }
    workspace = setting.workspace("ticks", setting.interpreter(), modules, "auto")
    with workspace.open("a") as file:
        file.write("runs:\n  max_concurrent: 100\n")
    orders, lines = [], []
    with setting.supervised(workspace) as (client, _started):
        all_ready(client)
        minute = time.time() // 60 * 60
        for number in range(min(rounds, 3) + 1):
            minute += 60
            found = _minute(client, workspace.parent, minute)
            if number:
                orders.append(_slowest([one for one, _ in found]))
                lines.append(_slowest([one for _, one in found]))
    count = _LOCATIONS * _EACH
    return [
        Result(
            "ticks, order", f"{count} schedules due at once: due → order on the disk, p99", "", "s",
            orders, [], _ORDER_AIM, "alone",
        ),
        Result(
            "ticks, line", f"{count} schedules due at once: due → first line of user code, p99", "",
            "s", lines, [], _LINE_AIM, "alone",
        ),
    ]  # fmt: skip


def _slowest(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]


def _minute(client: Client, folder: Path, minute: float) -> list[tuple[float, float]]:
    """Seconds from ``minute`` to the order and to the first line, of each schedule."""
    deadline = time.monotonic() + _DEADLINE
    time.sleep(max(minute + 3 - time.time(), 0))
    found: list[tuple[float, float]] = []
    for number in range(_LOCATIONS):
        while True:
            ticks: list[Any] = client.ticks(f"team{number}", limit=2 * _EACH)
            ended = {one["name"]: one["ended"] for one in ticks if one["time"] == minute}
            if len(ended) == _EACH and all(ended.values()):
                break
            if time.monotonic() > deadline:
                raise UnavailableError(f"not all schedules of team{number} were fired")
            time.sleep(0.5)
        for name, moment in ended.items():
            found.append((moment - minute, float((folder / f"first {name}").read_text()) - minute))
    return found
