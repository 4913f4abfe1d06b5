"""Dagster's own page on our processes, and on its own: ``supervise dagster`` against ``dagster dev``.

Both read the same ``workspace.yaml`` with the same webserver and daemon, in the same virtualenv, in which
the locations are, too; each has a new instance. Measured from typing the command until the page lists all
locations; then the memory of everything, runs launched in the page, and edits until the page shows them.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

import envs
from benchmarks.against_dagster import dagster_names, dagster_workspace, installed, pss
from benchmarks.results import Result, View, gains
from benchmarks.setting import Alternating, Sample, Setting, UnavailableError

__all__ = ["measure"]

# Locations, and how many times faster the page is to be usable with so many.
AIMS: Mapping[int, float | None] = {5: None, 20: 5.0}
RUN_AIM = 4.0
MEMORY_AIM = 2.5
EDIT_AIM = 1.0
_RUNS, _EDITS = 3, 5
_DEADLINE = 300.0  # seconds
_LOOK = 0.05
_CONFIGURATION = """\
telemetry: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
"""

_LOCATIONS = """{ workspaceOrError { ... on Workspace { locationEntries {
  locationOrLoadError { __typename } } } } }"""
_DESCRIPTIONS = """query Q($s: RepositorySelector!) { repositoryOrError(repositorySelector: $s) {
  ... on Repository { assetNodes { description } } } }"""
_LAUNCH = """mutation M($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
  ... on LaunchRunSuccess { run { runId } } } }"""
_EVENTS = """query Q($r: ID!) { runOrError(runId: $r) { ... on Run { status eventConnection {
  events { ... on MessageEvent { timestamp eventType } } } } } }"""


def measure(setting: Setting, rounds: int) -> list[Result]:
    """Usable, memory, runs and edits; few rounds (a third of ``rounds``), for each takes minutes."""
    interpreter = installed(setting, ("dagster", "dagster-webserver"))
    results = []
    for count in setting.locations or AIMS:
        aim = AIMS.get(count)
        results += _measure(setting, interpreter, count, aim, max(1, rounds // 3))
    return results


def _measure(
    setting: Setting, interpreter: envs.Interpreter, count: int, aim: float | None, rounds: int
) -> list[Result]:
    workspace = dagster_workspace(setting, f"page-{count}", interpreter, count)
    folder = workspace.parent
    (folder / "dagster.yaml").write_text(_CONFIGURATION)
    first = dagster_names(count)[0]
    supervise = [str(setting.supervise), "dagster", "-w", str(workspace)]
    supervise += ["--dagster-environment", str(interpreter.prefix)]
    dev = [str(interpreter.executable), "-m", "dagster", "dev", "-w", str(workspace)]

    def ours() -> Sample:
        shutil.rmtree(folder / ".supervise", ignore_errors=True)
        with _running(supervise, setting.environ, folder) as (page, pid, started):
            usable = page.usable(count) - started
            run = statistics.median(page.run_seconds(first) for _ in range(_RUNS))
            memory = pss(pid)
            edit = statistics.median(page.edit(folder / f"{first}.py") for _ in range(_EDITS))
        return usable, memory, run, edit

    def theirs() -> Sample:
        home = setting.root / "page-home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        (home / "dagster.yaml").write_text(_CONFIGURATION)
        environ = {**envs.activate(interpreter, setting.environ), "DAGSTER_HOME": str(home)}
        with _running(dev, environ, folder) as (page, pid, started):
            usable = page.usable(count) - started
            run = statistics.median(page.run_seconds(first) for _ in range(_RUNS))
            memory = pss(pid)
        return usable, memory, run, 0.0

    samples = Alternating(rounds).run(ours, theirs)
    views: tuple[View, ...] = (
        ("", f"`supervise dagster` typed → the page lists {count} locations", "`dagster dev` typed",
         "s", aim),
        (", tree", f"memory (PSS) of everything, {count} locations", "of everything", "MiB",
         MEMORY_AIM if count == max(AIMS) else None),
        (", run", "a run of two steps, launched in the page: starting → success", "the same run",
         "s", RUN_AIM),
    )  # fmt: skip
    results = gains(f"dagster-page, {count}", views, samples)
    results.append(
        Result(
            f"dagster-page, {count}, edit",
            "file saved → the page's GraphQL has the new definition",
            "it has no such thing",
            "s",
            [one[3] for one in samples[0]],
            [],
            EDIT_AIM,
            "alone",
        )
    )
    return results


class _Page:
    """The page at ``port``, of the processes of ``process``."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
        self._url = f"http://127.0.0.1:{port}/graphql"
        self._process = process
        self._log = log

    def usable(self, count: int) -> float:
        """When the page lists ``count`` locations, all loaded (performance counter)."""

        def look() -> bool:
            entries = self._ask(_LOCATIONS)["workspaceOrError"]["locationEntries"]
            kinds = [(one["locationOrLoadError"] or {}).get("__typename") for one in entries]
            return kinds == ["RepositoryLocation"] * count

        return self._until(look)

    def run_seconds(self, location: str) -> float:
        """Seconds from the event that a run starts to that of its success."""
        selector = {**_repository(location), "jobName": "nightly"}
        parameters = {"selector": selector, "runConfigData": {}, "mode": "default"}
        launched = self._ask(_LAUNCH, p=parameters)["launchRun"]
        if launched["__typename"] != "LaunchRunSuccess":
            raise UnavailableError(f"a run could not be launched: {launched}")
        run = launched["run"]["runId"]
        found: dict[str, Any] = {}

        def ended() -> bool:
            found.update(self._ask(_EVENTS, r=run)["runOrError"])
            return found["status"] in ("SUCCESS", "FAILURE", "CANCELED")

        self._until(ended)
        if found["status"] != "SUCCESS":
            raise UnavailableError(f"a run ended as {found['status']}")
        times = {
            one["eventType"]: float(one["timestamp"]) / 1000
            for one in found["eventConnection"]["events"]
            if one.get("eventType")
        }
        return times["RUN_SUCCESS"] - times["RUN_STARTING"]

    def edit(self, file: Path) -> float:
        """Seconds from saving another description to when the page has it."""
        edition = f"edition {time.time_ns()}"
        text = re.sub(r"edition \d+", edition, file.read_text())

        def shown() -> bool:
            found = self._ask(_DESCRIPTIONS, s=_repository(file.stem))["repositoryOrError"]
            return any(edition in one["description"] for one in found["assetNodes"])

        started = time.perf_counter()
        file.write_text(text)
        return self._until(shown) - started

    def _until(self, true: Callable[[], bool]) -> float:
        deadline = time.perf_counter() + _DEADLINE
        while time.perf_counter() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                if true():
                    return time.perf_counter()
            time.sleep(_LOOK)
        said = self._log.read_text(errors="replace")[-2000:]
        raise UnavailableError(f"the page never came to it: {said}")

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            self._url,
            json.dumps({"query": query, "variables": variables}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            data: dict[str, Any] = json.load(reply)["data"]
            return data


def _repository(location: str) -> dict[str, str]:
    return {"repositoryLocationName": location, "repositoryName": "__repository__"}


@contextlib.contextmanager
def _running(
    command: list[str], environ: Mapping[str, str], folder: Path
) -> Iterator[tuple[_Page, int, float]]:
    """``command`` on a free port: its page, its process id, and when it was typed."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    log = folder / "page.log"
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            env=dict(environ),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield _Page(port, process, log), process.pid, started
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        for left in [*family, process]:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait()
        psutil.wait_procs(family)
