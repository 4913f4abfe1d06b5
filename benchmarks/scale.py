"""A thousand native locations on one machine, and what the supervisor itself takes for them.

All ready against the same thousand modules in bare processes; then, all idle: the supervisor's own
processor time, its own memory for each location, and its own time for a status of all of them.
"""

from __future__ import annotations

import time

import psutil

from benchmarks.limit import TRIVIAL
from benchmarks.results import Machine, Result, Unit
from benchmarks.setting import BARE_IMPORTS, Setting, all_ready, run_all
from supervisor import Client

__all__ = ["measure"]

LOCATIONS = 1000
READY_AIM, READY_SECONDS = 1.5, 30.0  # whichever allows more
IDLE_AIM = 1.0  # per cent of one core
MEMORY_AIM = 40.0  # KiB a location
STATUS_AIM = 0.1  # seconds of the supervisor's processor time
_FEW = 10
_SETTLE, _IDLE = 5.0, 20.0  # seconds
_STATUSES = 20


def measure(setting: Setting, rounds: int) -> list[Result]:
    """One round, whatever ``rounds`` says: it takes a minute."""
    del rounds
    interpreter = setting.interpreter()
    names = [f"location_{number:04}" for number in range(LOCATIONS)]
    few = setting.workspace("few", interpreter, dict.fromkeys(names[:_FEW], TRIVIAL), "auto")
    many = setting.workspace("many", interpreter, dict.fromkeys(names, TRIVIAL), "auto")
    with setting.supervised(few) as (client, _started):
        all_ready(client)
        _settle()
        little = _supervisor(client).memory_full_info().uss
    cores = Machine.here().cores
    bare = run_all(
        setting.bare(interpreter, many.parent),
        [f"{BARE_IMPORTS}, {name}" for name in names],
        cores,
    )
    with setting.supervised(many) as (client, started):
        all_ready(client)
        ready = time.perf_counter() - started
        _settle()
        process = _supervisor(client)
        much = process.memory_full_info().uss
        busy = _seconds(process)
        begun = time.perf_counter()
        time.sleep(_IDLE)
        idle = (_seconds(process) - busy) / (time.perf_counter() - begun)
        busy = _seconds(process)
        waits = []
        for _ in range(_STATUSES):
            begun = time.perf_counter()
            client.status()
            waits.append(time.perf_counter() - begun)
        status = (_seconds(process) - busy) / _STATUSES
    return [
        Result(
            "scale",
            f"`supervise` typed → {LOCATIONS:,} native locations ready",
            f'`python -c "{BARE_IMPORTS}, MODULE"` {LOCATIONS:,} times, {cores} at once',
            "s",
            [ready],
            [bare],
            max(READY_AIM, READY_SECONDS / bare),
        ),
        _alone("scale, idle", "processor time of the idle supervisor", "%", idle * 100, IDLE_AIM),
        _alone(
            "scale, memory",
            f"the supervisor's own memory (USS) for each location beyond {_FEW}",
            "KiB",
            (much - little) / 1024 / (LOCATIONS - _FEW),
            MEMORY_AIM,
        ),
        _alone(
            "scale, status",
            f"the supervisor's processor time for one status of {LOCATIONS:,} locations",
            "s",
            status,
            STATUS_AIM,
        ),
        Result(
            "scale, status, wait",
            "a Python client asks for that status → has it",
            "",
            "s",
            waits,
            [],
            None,
            "alone",
        ),
    ]


def _alone(name: str, what: str, unit: Unit, value: float, aim: float) -> Result:
    return Result(name, what, "", unit, [value], [], aim, "alone")


def _supervisor(client: Client) -> psutil.Process:
    return psutil.Process(client.status()["supervisor"]["pid"])


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _settle() -> None:
    # What follows a start: files watched, snapshots written, forkservers replaced.
    time.sleep(_SETTLE)
