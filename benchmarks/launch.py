"""From the order of a run to the first line of user code, and a thousand runs in a row.

``native``: a job of one op, launched by a Python client, against starting an interpreter that imports the
same module and calls the op's function. ``dagster``: a job of today's Dagster against two things: a fork
of a process that has loaded the same file and never run it, which then does what our run does; and
Dagster's own ``dagster job execute``. Both sides write the time at which user code began, by the one
clock that all processes share. In a row: as many runs are made first as are kept, so that what the next
thousand leave is what stays.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

import envs
from benchmarks.against_dagster import dagster_interpreter
from benchmarks.results import Result
from benchmarks.setting import Alternating, Bare, Sample, Setting, UnavailableError, all_ready
from supervisor import Client

__all__ = ["measure"]

NATIVE_AIM = 2.0
P50_AIM = 0.030  # seconds
FORK_AIM, EXECUTE_AIM = 5.0, 20.0
ROW = 1000
_KEPT = 500  # runs that are kept at most
_LAUNCHES = 10  # of a round
_PAUSE = 0.05  # seconds between two: each finds everything idle
_DEADLINE = 300.0

# What user code does first; it is there once the run has ended.
_LINE = """\
def first_line():
    with open("first", "w") as file:
        file.write(repr(time.monotonic()))
"""

NATIVE = f'''\
"""A job of one op."""

import time

from runner_shim import Definitions, job, op

{_LINE}

@op
def work():
    first_line()


@job
def nightly():
    work()


defs = Definitions(jobs=[nightly])
'''

DAGSTER = f'''\
"""A job of one op."""

import time

from dagster import Definitions, job, op

{_LINE}

@op
def work():
    first_line()


@job
def nightly():
    work()


defs = Definitions(jobs=[nightly])
'''

# Loads the file as a shim does, and then forks a run at each line of its input.
_UNREHEARSED = """\
import json, os, sys
from runner_shim import execution
from runner_shim.loading import target
target_of, instance = json.loads(sys.argv[1]), sys.argv[2]
loaded = target.load(target_of)
print("ready", flush=True)
for line in sys.stdin:
    order = {"job": "nightly", "repository": None, "config": {}, "tags": {}, "op_selection": None,
             "assets": None, "partition_key": None, "instance": instance, "run_id": line.strip()}
    pid = os.fork()
    if pid == 0:
        outcome = execution.execute(loaded, order, lambda event: None)
        os._exit(outcome["state"] != "success")
    print(os.waitpid(pid, 0)[1], flush=True)
"""


def measure(setting: Setting, rounds: int) -> list[Result]:
    """All of it."""
    return [
        *_native(setting, rounds),
        *_dagster(setting, max(2, rounds // 2)),
        *_in_a_row(setting),
    ]


def _native(setting: Setting, rounds: int) -> list[Result]:
    interpreter = setting.interpreter()
    workspace = setting.workspace("launch", interpreter, {"team": NATIVE}, "auto")
    bare = setting.bare(interpreter, workspace.parent)
    every: list[float] = []
    with setting.supervised(workspace) as (client, _started):
        all_ready(client)

        def ours() -> Sample:
            taken = [_launched(client, workspace.parent) for _ in range(_LAUNCHES)]
            every.extend(taken)
            return (statistics.median(taken),)

        def theirs() -> Sample:
            return (statistics.median(_called(bare) for _ in range(_LAUNCHES)),)

        samples, bares = Alternating(rounds).run(ours, theirs)
    every = every[_LAUNCHES:]  # without the first round, as everywhere
    what = "native: order of a client → first line of user code"
    return [
        Result(
            "launch",
            what,
            '`python -c "import MODULE; …"` → first line of the same function',
            "s",
            [one for (one,) in samples],
            [one for (one,) in bares],
            NATIVE_AIM,
        ),
        Result(
            "launch, p50",
            f"{what}, median of {len(every)}",
            "",
            "s",
            [statistics.median(every)],
            [],
            P50_AIM,
            "alone",
        ),
    ]


def _dagster(setting: Setting, rounds: int) -> list[Result]:
    interpreter, version = dagster_interpreter(setting)
    workspace = setting.workspace("launch-dagster", interpreter, {"team": DAGSTER}, "auto")
    folder = workspace.parent
    with (
        setting.supervised(workspace) as (client, _started),
        _unrehearsed(setting, interpreter, folder) as fork,
    ):
        all_ready(client)
        samples, forks, executes = Alternating(rounds).run(
            lambda: (_launched(client, folder),),
            lambda: (fork(),),
            lambda: (_executed(setting, interpreter, folder),),
        )
    ours = [one for (one,) in samples]
    what = f"Dagster {version}: order of a client → first line of user code"
    return [
        Result(
            "launch, dagster, fork",
            what,
            "a fork of what has loaded the same, without a rehearsed run",
            "s",
            ours,
            [one for (one,) in forks],
            FORK_AIM,
            "gain",
        ),
        Result(
            "launch, dagster, execute",
            what,
            f"`dagster job execute`, Python {interpreter.version_text}",
            "s",
            ours,
            [one for (one,) in executes],
            EXECUTE_AIM,
            "gain",
        ),
    ]


def _in_a_row(setting: Setting) -> list[Result]:
    interpreter = setting.interpreter()
    workspace = setting.workspace("row", interpreter, {"team": NATIVE}, "auto")
    bare = setting.bare(interpreter, workspace.parent)
    with setting.supervised(workspace) as (client, _started):
        all_ready(client)
        process = psutil.Process(client.status()["supervisor"]["pid"])
        _row(client, _KEPT + 100)
        before = _kept(process, workspace)
        seconds = _row(client, ROW)
        after = _kept(process, workspace)
    began = time.perf_counter()
    for _ in range(ROW // 10):
        _called(bare, pause=0)
    least = (time.perf_counter() - began) * 10
    what = f"{ROW:,} runs, one after the other"
    return [
        Result(
            "launch, row",
            f"{what}, each waited for: {ROW / seconds:.0f} a second",
            "a bare process for each, as above",
            "s",
            [seconds],
            [least],
        ),
        *(
            Result(f"launch, row, {name}", f"{what}: {text}", "before", unit, [new], [old])
            for (name, text, unit), old, new in zip(_WHAT_STAYS, before, after, strict=True)
        ),
    ]


_WHAT_STAYS = (
    ("descriptors", "descriptors of the supervisor", ""),
    ("memory", "private memory (USS) of the supervisor", "KiB"),
    ("processes", "processes of the workspace", ""),
    ("files", "files of the workspace's state", ""),
)


def _kept(process: psutil.Process, workspace: Path) -> tuple[float, ...]:
    """What stays, once all has gone that will: a run is kept for a minute, however many there are."""
    state = workspace.parent / ".supervise"
    runs, deadline = state / workspace.name / "runs", time.monotonic() + _DEADLINE
    while len(os.listdir(runs)) > _KEPT or any(map(_ended, process.children())):
        if time.monotonic() > deadline:
            raise UnavailableError(f"more than {_KEPT} runs are kept, or ended processes")
        time.sleep(1.0)
    return (
        process.num_fds(),
        process.memory_full_info().uss / 1024,
        len(process.children(recursive=True)),
        sum(len(files) for _folder, _folders, files in os.walk(state)),
    )


def _ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# -- ours ---------------------------------------------------------------------------------------------


def _launched(client: Client, folder: Path) -> float:
    """Seconds from the order of a run to its first line."""
    time.sleep(_PAUSE)
    (folder / "first").unlink(missing_ok=True)
    began = time.monotonic()
    _succeeded(client)
    return float((folder / "first").read_text()) - began


def _succeeded(client: Client) -> None:
    detail = client.launch("team", "nightly").wait(_DEADLINE)
    if detail["state"] != "success":
        raise UnavailableError(f"a run ended as {detail['state']}: {detail['reason']}")


def _row(client: Client, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        _succeeded(client)
    return time.perf_counter() - began


# -- theirs -------------------------------------------------------------------------------------------


def _called(bare: Bare, *, pause: float = _PAUSE) -> float:
    """Seconds from the start of an interpreter to the first line of the function."""
    time.sleep(pause)
    began = time.monotonic()
    if bare.start("import team; team.first_line()").wait() != 0:
        raise UnavailableError("a bare process failed")
    return float((bare.directory / "first").read_text()) - began


def _executed(setting: Setting, interpreter: envs.Interpreter, folder: Path) -> float:
    home = setting.root / "execute-home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").touch()
    command = Path(interpreter.executable).with_name("dagster")
    began = time.monotonic()
    done = subprocess.run(
        [str(command), "job", "execute", "-f", "team.py", "-j", "nightly"],
        env={**envs.activate(interpreter, setting.environ), "DAGSTER_HOME": str(home)},
        cwd=folder,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise UnavailableError(done.stderr.decode(errors="replace")[-2000:])
    return float((folder / "first").read_text()) - began


@contextmanager
def _unrehearsed(
    setting: Setting, interpreter: envs.Interpreter, folder: Path
) -> Iterator[Callable[[], float]]:
    """``fork()``: seconds from a fork to the first line, in a process that has never run the job."""
    bare = setting.bare(interpreter, folder)
    instance = setting.root / "fork-home"
    instance.mkdir()
    target = {
        "kind": "python_file",
        "name": str(folder / "team.py"),
        "attribute": None,
        "working_directory": str(folder),
    }
    process = subprocess.Popen(
        [str(bare.executable), "-c", _UNREHEARSED, json.dumps(target), str(instance)],
        env=dict(bare.environ),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def fork() -> float:
        began = time.monotonic()
        stdin.write(f"00000000-0000-4000-8000-{time.time_ns() % 10**12:012}\n")
        stdin.flush()
        if stdout.readline().strip() != "0":
            raise UnavailableError("a run that was forked without a rehearsal failed")
        return float((folder / "first").read_text()) - began

    try:
        if stdout.readline().strip() != "ready":
            raise UnavailableError("Dagster's definitions cannot be loaded")
        yield fork
    finally:
        process.kill()
        process.communicate()
