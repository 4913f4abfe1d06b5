"""Rounds of kills of a supervisor, each at a point of a sensor's tick; what was launched is judged at the end.

A round has some more for the sensor to ask for, and a supervisor that kills itself at a point that is drawn
(tests/programs/killed_at_a_point.py). The last supervisor is left alone. Then each run key has one run, which has
run once: none twice, none lost.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from places import PROGRAMS
from supervised import environ, poll_now

from supervisor.client.client import Client
from supervisor.errors import SupervisorError
from supervisor.runs.journal import Journal

__all__ = ["TickFigures", "play_tick_rounds"]

sys.path.insert(0, str(PROGRAMS))
from killed_at_a_point import POINTS  # noqa: E402

_AT_ONCE = 2
_DEADLINE = 90.0
_MODULE = """\
from runner_shim import RunRequest, SkipReason, job, op, sensor

@op
def work(context):
    with open("ran", "a") as file:
        file.write(context.tags["key"] + "\\n")

@job
def nightly():
    work()

@sensor(job=nightly, minimum_interval_seconds=1, default_status="running")
def files(context):
    seen, limit = int(context.cursor or 0), int(open("limit").read())
    if seen >= limit:
        return SkipReason("there are no more than %d" % limit)
    until = min(seen + AT_ONCE, limit)
    context.update_cursor(until)
    return [RunRequest("key-%d" % n, tags={"key": str(n)}) for n in range(seen, until)]
"""


@dataclass
class TickFigures:
    """Rounds that were played, and how often each point was come to."""

    rounds: int = 0
    hits: Counter[str] = field(default_factory=Counter)


def play_tick_rounds(folder: Path, runtime: Path, seed: int, rounds: int) -> Iterator[TickFigures]:
    """Play them, and judge at the end; raises AssertionError."""
    chance, figures = random.Random(seed), TickFigures()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "team.py").write_text(_MODULE.replace("AT_ONCE", str(_AT_ONCE)))
    workspace = folder / "workspace.yaml"
    locations = [{"python_file": {"relative_path": "team.py", "location_name": "team"}}]
    keep = {"runs": {"keep": 10 * rounds + 100}}
    workspace.write_text(yaml.safe_dump({"load_from": locations, **keep}))
    limit, order = 0, []
    for _ in range(rounds):
        if not order:
            order = list(POINTS)
            chance.shuffle(order)
        point, number = order.pop(), chance.randint(1, 4)
        limit += _AT_ONCE
        _save(folder / "limit", str(limit))
        if _killed(folder, workspace, runtime, point, number):
            figures.hits[point] += 1
        figures.rounds += 1
        yield figures
    _judge(folder, workspace, runtime, limit)


def _save(path: Path, text: str) -> None:
    made = path.with_name(f".{path.name}.new")
    made.write_text(text)
    made.replace(path)


def _start(workspace: Path, runtime: Path, program: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *program, "-w", str(workspace)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environ(runtime),
        cwd=workspace.parent,
        start_new_session=True,
    )


def _killed(folder: Path, workspace: Path, runtime: Path, point: str, number: int) -> bool:
    """Have a supervisor until it has killed itself; one that does not come there is killed: False."""
    came = folder / "came"
    came.unlink(missing_ok=True)
    program = [str(PROGRAMS / "killed_at_a_point.py"), point, str(number), str(came)]
    process = _start(workspace, runtime, program)
    try:
        process.wait(8)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return came.exists()


def _judge(folder: Path, workspace: Path, runtime: Path, limit: int) -> None:
    process = _start(workspace, runtime, [str(PROGRAMS / "supervise.py")])
    try:
        wanted = {f"key-{number}" for number in range(limit)}
        poll_now(lambda: _is_over(workspace, runtime, limit), "all has run", _DEADLINE)
        runs = folder / ".supervise" / "workspace.yaml" / "runs"
        orders = [Journal(path).order() or {} for path in runs.iterdir()]
        launched = Counter(one["automation"]["run_key"] for one in orders)
        assert {key: count for key, count in launched.items() if count > 1} == {}
        assert wanted - launched.keys() == set(), "run keys were lost"
        ran = Counter((folder / "ran").read_text().split())
        assert {key: count for key, count in ran.items() if count != 1} == {}
        assert len(ran) == limit
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        if process.poll() is None:
            process.kill()
            process.wait()


def _is_over(workspace: Path, runtime: Path, limit: int) -> bool:
    """True once the sensor has asked for all, and all of it has ended."""
    time.sleep(0.2)
    variables = {"XDG_RUNTIME_DIR": str(runtime)}
    with suppress(SupervisorError), Client(workspace, environ=variables, timeout=20) as client:
        (sensor,) = client.automations("team")
        living = client.runs(states=("queued", "starting", "running", "cancelling"), limit=1)
        last = sensor["last"]
        return (
            sensor["cursor"] == str(limit)
            and not living
            and last is not None
            and last["state"] == "skipped"
        )
    return False
