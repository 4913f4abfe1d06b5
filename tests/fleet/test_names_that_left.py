"""Names that come and go leave nothing in memory: a supervisor lives for long."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import threading
from collections.abc import Iterator
from types import FrameType, FunctionType, ModuleType
from typing import Any

import pytest
import yaml
from supervised import job, make_workspace, poll, save, supervising, workspace_text

from supervisor.processes.preload_profile import PreloadProfile
from supervisor.snapshots.snapshot import Snapshot

# It keeps the last few that left, and its own test counts them.
BOUNDED = PreloadProfile


def reachable(root: object) -> Iterator[object]:
    """What ``root`` holds, directly or not; what belongs to modules and classes is left out."""
    seen = {id(vars(one)) for one in gc.get_objects() if isinstance(one, ModuleType)}
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, ModuleType | type | FrameType | BOUNDED):
            continue
        seen.add(id(one))
        yield one
        waiting += one.__closure__ or () if isinstance(one, FunctionType) else gc.get_referents(one)


def keyed_by(root: object, prefix: str) -> list[Any]:
    """The keys of tables below ``root``, and the members of sets, that name what begins so."""
    return [
        key
        for one in reachable(root)
        if isinstance(one, dict | set | frozenset)
        for key in one
        if any(
            isinstance(part, str) and part.startswith(prefix)
            for part in (key if isinstance(key, tuple) else (key,))
        )
    ]


def snapshots(root: object) -> set[str]:
    """The locations whose snapshots are held."""
    return {one.location for one in reachable(root) if isinstance(one, Snapshot)}


async def test_locations_that_leave_leave_nothing_in_memory(tmp_path, runtime):
    files = {f"{name}.py": job("nightly") for name in ("stays", "branch")}
    stays = {"stays": {}}
    workspace = make_workspace(tmp_path, files, stays)
    async with supervising(workspace, runtime) as running:
        await running.ready()
        for number in range(4):
            name = f"branch-{number}"
            both = {**stays, name: {"relative_path": "branch.py", "ping_interval": 0.2}}
            save(workspace, yaml.safe_dump(workspace_text(both)))
            await running.until(lambda name=name: name in running.daemon.fleet.locations, name)
            await running.ready()
            order = {"location": name, "job": "nightly"}
            run, _ = await running.methods.launch(order)
            await running.until(
                lambda run=run: running.daemon.work.runs.get(run["run"]["run"]).ended
            )
        save(workspace, yaml.safe_dump(workspace_text(stays)))
        await running.until(lambda: len(running.daemon.fleet.all()) == 1, "all have left")

        def left() -> list[Any]:
            gc.collect()
            return keyed_by(running.daemon, "branch-")

        await poll(lambda: not left(), "nothing is keyed by their names")
        # A task that waits may hold the one that it has dealt with last.
        await poll(lambda: len(snapshots(running.daemon)) <= 2, "their snapshots are gone")


class Hanging:
    """A snapshot that the store writes until it is let go, as on a disk that hangs."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __getattr__(self, name: str) -> Any:
        self.go.wait()
        raise sqlite3.OperationalError("the disk hung")


@pytest.mark.slow
async def test_what_a_location_served_is_served_when_it_comes_back(tmp_path, runtime):
    """It is read from the disk; one that hangs keeps no location from being loaded."""
    files = {"stays.py": job("nightly"), "branch.py": job("first")}
    stays = {"stays": {}}
    workspace = make_workspace(tmp_path, files)
    both = workspace.read_text()
    hanging = Hanging()
    async with supervising(workspace, runtime) as running, contextlib.AsyncExitStack() as ends:
        ends.callback(hanging.go.set)
        await running.ready()
        for disk in ("well", "hangs"):
            save(workspace, yaml.safe_dump(workspace_text(stays)))
            await running.until(lambda: len(running.daemon.fleet.all()) == 1, "it has left")
            (tmp_path / "branch.py").write_text("1 / 0\n")
            if disk == "hangs":
                running.daemon.store.save(hanging)  # type: ignore[arg-type]
            save(workspace, both)
            await running.until(lambda: "branch" in running.daemon.fleet.locations, "it is back")
            await running.until(lambda: running["branch"].state == "failed", "it is loaded")
            assert running.definitions("branch") == (["job:first"] if disk == "well" else [])
