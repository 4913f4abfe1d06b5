"""Real Dagster definitions, loaded by us and by Dagster's own workspace loader, side by side.

Both read the same ``workspace.yaml`` and run the same interpreter, a virtualenv of the benchmark's
own with today's ``dagster`` on the newest Python that is there; it is made once and kept beside our
other caches. Dagster's side is ``WorkspaceProcessContext``, what its webserver and ``dagster dev``
load workspaces with: a code server for each location. Each side is measured from starting its
process until all locations are loaded, then its memory, then reloads.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import psutil

import envs
from benchmarks.results import Result, View, gains
from benchmarks.setting import Alternating, Sample, Setting, UnavailableError, all_ready
from envs.interpreters import cache_directory
from supervisor import Client

__all__ = [
    "DAGSTER",
    "dagster_interpreter",
    "dagster_names",
    "dagster_workspace",
    "installed",
    "ours_loaded",
    "pss",
    "saved_until_served",
    "theirs_loaded",
]

# Locations, and how many times faster all of them are to be ready.
AIMS = {5: 8.0, 20: 20.0}
RELOAD_AIM = 15.0
USS_AIM = 7.0
PSS_AIM = 6.0
_RELOADS = 5
_SERVED = 30.0  # seconds; an edit that is not served by then never is
_MIB = 1024 * 1024

DAGSTER = '''\
"""A location of Dagster's: twenty assets, a job, a schedule, a sensor."""

from dagster import Definitions, RunRequest, ScheduleDefinition, asset, job, op, sensor


def make(number):
    @asset(
        name="table_%02d" % number,
        deps=["table_%02d" % (number - 1)] if number % 5 else [],
        group_name="group_%d" % (number // 5),
        description="Table %d, edition 0" % number,
    )
    def table(context):
        """One table."""

    return table


@op
def load():
    """Load."""
    return 1


@op
def publish(rows):
    """Publish."""


@job(tags={"team": "risk"})
def nightly():
    """Every night."""
    publish(load())


@sensor(job=nightly)
def arrivals(context):
    """Whenever something arrives."""
    yield RunRequest(run_key="one")


defs = Definitions(
    assets=[make(number) for number in range(20)],
    jobs=[nightly],
    schedules=[ScheduleDefinition(cron_schedule="0 5 * * *", job=nightly)],
    sensors=[arrivals],
)
'''

# Says "ready" on standard output once every location is loaded, and after each reload that a line
# on standard input asks for by name; what else is printed goes to standard error.
_DRIVER = """\
import os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget

def check(context):
    entries = context.create_request_context().get_code_location_entries()
    for name, entry in entries.items():
        if entry.code_location is None or entry.load_status.value != "LOADED":
            sys.exit("%s is not loaded: %s" % (name, entry.load_error))
    return len(entries)

with DagsterInstance.get() as instance:
    with WorkspaceProcessContext(instance, WorkspaceFileTarget(paths=[sys.argv[1]])) as context:
        print("ready", check(context), file=answers, flush=True)
        for line in sys.stdin:
            context.reload_code_location(line.strip())
            print("ready", check(context), file=answers, flush=True)
"""


def measure(setting: Setting, rounds: int) -> list[Result]:
    """All ready, memory and reload, for each number of locations; fewer rounds of the long ones."""
    results = []
    for count, aim in AIMS.items():
        results += _measure(setting, count, aim, max(2, rounds // (2 if count < 10 else 3)))
    return results


def _measure(setting: Setting, count: int, aim: float, rounds: int) -> list[Result]:
    interpreter, version = dagster_interpreter(setting)
    names = dagster_names(count)
    workspace = dagster_workspace(setting, f"against-{count}", interpreter, count)

    def ours() -> Sample:
        with ours_loaded(setting, workspace) as (client, seconds):
            locations = client.status()["locations"]
            pids = [one["process"]["pid"] for one in locations if one["process"]]
            memory = _median_uss(pids), pss(client.status()["supervisor"]["pid"])
            reloads = [
                saved_until_served(client, workspace.parent / f"{name}.py", name, number)
                for number, name in enumerate(names[:_RELOADS], 1)
            ]
        return (seconds, *memory, statistics.median(reloads))

    def theirs() -> Sample:
        with theirs_loaded(setting, interpreter, workspace, count) as (process, seconds):
            servers = [
                child.pid
                for child in psutil.Process(process.pid).children(recursive=True)
                if "grpc" in child.cmdline()
            ]
            memory = _median_uss(servers), pss(process.pid)
            reloads = [_reload(process, count, name) for name in names[:_RELOADS]]
        return (seconds, *memory, statistics.median(reloads))

    samples = Alternating(rounds).run(ours, theirs)
    loader = f"its own workspace loader, Dagster {version}, Python {interpreter.version_text}"
    views: tuple[View, ...] = (
        (
            "",
            f"`supervise` typed → {count} Dagster locations ready, first start ever",
            loader,
            "s",
            aim,
        ),
        (", uss", "private memory (USS) of a location", "of a code server", "MiB", USS_AIM),
        (
            ", tree",
            f"memory (PSS) of the supervisor and all {count} locations",
            "of the loader and its code servers",
            "MiB",
            PSS_AIM if count == max(AIMS) else None,
        ),
        (", reload", "file saved → new snapshot served", "its reload call alone", "s", RELOAD_AIM),
    )
    return gains(f"dagster, {count}", views, samples)


# -- the environment and the workspace --------------------------------------------------------------


def dagster_interpreter(setting: Setting) -> tuple[envs.Interpreter, str]:
    """A virtualenv with Dagster, made once, and the version of it."""
    made = _environment(tuple(setting.environ.items()), ("dagster",))
    return made.interpreter, made.installed["dagster"]


def installed(setting: Setting, requirements: tuple[str, ...]) -> envs.Interpreter:
    """A virtualenv with ``requirements``, made once."""
    return _environment(tuple(setting.environ.items()), requirements).interpreter


@cache
def _environment(
    variables: tuple[tuple[str, str], ...], requirements: tuple[str, ...]
) -> envs.Environment:
    environ = {key: value for key, value in variables if key != "XDG_RUNTIME_DIR"}
    store = envs.EnvironmentStore(cache_directory(environ) / "bench", environ)
    error: Exception | None = None
    for found in envs.list_interpreters(environ=environ):
        if found.interpreter is None or not found.interpreter.is_final:
            continue
        try:
            return store.sync(
                envs.EnvironmentRequest(
                    name=f"{'-'.join(requirements)}-{found.interpreter.version_text}",
                    python=str(found.interpreter.executable),
                    requirements=requirements,
                )
            )
        except envs.EnvError as trouble:  # a Python that they do not support yet
            error = trouble
    raise UnavailableError(f"{', '.join(requirements)} cannot be installed: {error}")


def dagster_names(count: int) -> list[str]:
    """The names of ``count`` locations."""
    return [f"location_{number:03}" for number in range(count)]


def dagster_workspace(
    setting: Setting, name: str, interpreter: envs.Interpreter, count: int
) -> Path:
    """A workspace of ``count`` Dagster locations that both sides can read."""
    folder = setting.root / name
    folder.mkdir()
    lines = ["load_from:"]
    for location in dagster_names(count):
        (folder / f"{location}.py").write_text(DAGSTER)
        lines += [
            "  - python_file:",
            f"      relative_path: {location}.py",
            f"      location_name: {location}",
            f"      executable_path: {interpreter.executable}",
        ]
    path = folder / "workspace.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


# -- ours ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def ours_loaded(setting: Setting, workspace: Path) -> Iterator[tuple[Client, float]]:
    """All of ``workspace`` ready from nothing learned; the seconds from the command's start."""
    with setting.supervised(workspace) as (client, started):
        all_ready(client)
        yield client, time.perf_counter() - started


def saved_until_served(client: Client, file: Path, location: str, number: int) -> float:
    """Save ``file`` with another description, ``edition <number>``; seconds to the new snapshot."""
    text = file.read_text()
    head, _, tail = text.partition("edition ")
    status = client.status()
    before = _fingerprint(status, location)
    started = time.perf_counter()
    file.write_text(f"{head}edition {number}x{time.time_ns()}{tail.lstrip('0123456789x')}")
    while time.perf_counter() - started < _SERVED:
        status = client.status(since=status["revision"], timeout=_SERVED)
        if _fingerprint(status, location) != before:
            return time.perf_counter() - started
    raise UnavailableError(f"an edit of {location} was never served")


def _fingerprint(status: Mapping[str, object], location: str) -> str:
    locations = status["locations"]
    assert isinstance(locations, list)
    serving = next(one["serving"] for one in locations if one["name"] == location)
    return "" if serving is None else str(serving["fingerprint"])


# -- theirs -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def theirs_loaded(
    setting: Setting, interpreter: envs.Interpreter, workspace: Path, count: int
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """The loader with all of ``workspace`` loaded; the seconds from its start."""
    home = setting.root / "dagster-home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").touch()
    log = workspace.with_name("dagster.log")
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(interpreter.executable), "-c", _DRIVER, str(workspace)],
            env={**envs.activate(interpreter, setting.environ), "DAGSTER_HOME": str(home)},
            cwd=workspace.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await(process, count, log)
        yield process, time.perf_counter() - started
    finally:
        # Left to itself it waits for servers that are no longer there.
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.communicate()
        psutil.wait_procs(family)


def _reload(process: subprocess.Popen[bytes], count: int, name: str) -> float:
    assert process.stdin is not None
    started = time.perf_counter()
    process.stdin.write(name.encode() + b"\n")
    process.stdin.flush()
    _await(process, count, None)
    return time.perf_counter() - started


def _await(process: subprocess.Popen[bytes], count: int, log: Path | None) -> None:
    assert process.stdout is not None
    if process.stdout.readline().split() != [b"ready", str(count).encode()]:
        said = log.read_text(errors="replace")[-2000:] if log is not None else ""
        raise UnavailableError(f"dagster did not load the workspace: {said}")


# -- memory -------------------------------------------------------------------------------------------


def pss(pid: int) -> float:
    """Proportional set size of ``pid`` and all its descendants, in MiB."""
    total = 0
    root = psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / _MIB


def _median_uss(pids: list[int]) -> float:
    if not pids:
        raise UnavailableError("no process of a location was found")
    return statistics.median(psutil.Process(pid).memory_full_info().uss for pid in pids) / _MIB
