"""Desired state from two sources: the workspace's files, and one that lives in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from supervised import (
    GOOD,
    alive,
    job,
    make_workspace,
    poll,
    save,
    supervising,
    workspace_text,
)

from supervisor.desired import Desired, Entry
from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.specs import LocationSpec, SourcePosition, Target, TargetKind


class Table:
    """A source whose entries are set: what deployments at runtime could be."""

    title = "the table"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, LocationSpec | ConfigurationProblem] = {}
        self._outdated: dict[str, str] = {}
        self._changed: Callable[[], None] = lambda: None
        self.readings = 0
        self.broken: Exception | None = None

    def listen(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    async def read(self) -> Desired:
        self.readings += 1
        if self.broken is not None:
            raise self.broken
        entries = tuple(
            Entry(name, (name,), one, at=name)
            if isinstance(one, LocationSpec)
            else Entry(name, (name,), problem=one)
            for name, one in self._entries.items()
        )
        problems = tuple(one.problem for one in entries if one.problem is not None)
        outdated, self._outdated = self._outdated, {}
        return Desired(entries, problems, outdated)

    def put(
        self, name: str, file: str, env: Mapping[str, str] | None = None, stop_timeout: float = 10.0
    ) -> None:
        target = Target(TargetKind.PYTHON_FILE, str(self._folder / file), self._folder)
        origin = SourcePosition(self.title, len(self._entries) + 1)
        self._entries[name] = LocationSpec(
            name, target, env=env or {}, origin=origin, stop_timeout=stop_timeout
        )
        self._changed()

    def spoil(self, name: str) -> None:
        position = SourcePosition(self.title, 1)
        self._entries[name] = ConfigurationProblem(position, name, "this version is unknown")
        self._changed()

    def outdate(self, name: str) -> None:
        self._outdated[name] = "its bundle was unpacked anew"
        self._changed()

    def take(self, name: str) -> None:
        del self._entries[name]
        self._changed()

    def fail(self, error: Exception | None) -> None:
        self.broken = error
        self._changed()


async def test_a_second_source_adds_changes_and_removes(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": job("b"), "c.py": GOOD}, {"a": {}})
    table = Table(tmp_path)
    table.put("b", "b.py")
    async with supervising(workspace, runtime, sources=[table]) as running:
        await running.ready("a", "b")
        assert running.definitions("b") == ["job:b"]
        first = running.pid("a")
        table.put("c", "c.py")
        await running.until(lambda: "c" in running.daemon.fleet.locations, "added")
        table.put("b", "b.py", {"X": "1"})
        await running.until(lambda: running["b"].generation == 2, "changed")
        table.outdate("c")
        await running.until(lambda: running["c"].reason == "its bundle was unpacked anew", "anew")
        await running.until(lambda: running["c"].generation == 2, "loaded anew")
        await running.ready()
        pid = running.pid("b")
        table.take("b")
        await running.until(lambda: list(running.daemon.fleet.locations) == ["a", "c"], "removed")
        await poll(lambda: not alive(pid), "its process is gone")
        assert running.pid("a") == first
        assert running["a"].generation == 1
        assert (await running.methods.reload({"locations": ["c"]}))[0] == {
            "locations": {"c": "reloading"}
        }


async def test_all_that_leave_are_waited_for_also_those_that_had_one_name(tmp_path, runtime):
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nimport atexit, time\n"
    deaf += "atexit.register(time.sleep, 1000)\nfrom runner_shim import job\n\n@job\ndef b():\n    pass\n"
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": deaf}, {"a": {}})
    table = Table(tmp_path)
    async with supervising(workspace, runtime, sources=[table]) as running:
        fleet, pids = running.daemon.fleet, []
        for _ in range(2):
            table.put("b", "b.py", stop_timeout=600.0)
            await running.until(lambda: "b" in fleet.locations, "added")
            await running.ready("b")
            pids.append(running.pid("b"))
            table.take("b")
            await running.until(lambda: "b" not in fleet.locations, "removed")
        assert [one.spec.name for one in fleet.all()] == ["a", "b", "b"]
    assert not any(map(alive, pids))


async def test_a_name_in_both_is_refused_and_what_runs_goes_on(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": GOOD, "c.py": GOOD}, {"a": {}})
    table = Table(tmp_path)
    async with supervising(workspace, runtime, sources=[table]) as running:
        await running.ready()
        await running.watched()
        first = running.pid("a")
        table.put("a", "b.py")
        table.put("b", "b.py")
        await running.until(lambda: "b" in running.daemon.fleet.locations, "the other is added")
        document = await running.document()
        (problem,) = document["supervisor"]["configuration_problems"]
        assert (problem["file"], problem["line"]) == ("the table", 1)
        assert f"is taken already, at {workspace}:2" in problem["message"]
        assert running.pid("a") == first
        # The file's own change of it counts, and the table cannot hold it back.
        save(workspace, yaml.safe_dump(workspace_text({"a": {"env": {"X": "1"}}})))
        await running.until(lambda: running["a"].generation == 2, "changed")
        # A name that the table has is the table's.
        await running.watched()
        save(workspace, yaml.safe_dump(workspace_text({"a": {}, "b": {"relative_path": "c.py"}})))
        await running.until(lambda: len(running.daemon.fleet.problems) == 2, "refused, too")
        assert running["b"].spec.target.name == str(tmp_path / "b.py")
        # What the owner gives up is the other's.
        table.take("b")
        await running.until(lambda: running["b"].spec.target.name.endswith("c.py"), "taken over")
        table.take("a")
        await running.until(lambda: not running.daemon.fleet.problems, "all is well")
        await running.ready()


async def test_what_is_wrong_in_one_source_holds_back_no_other(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": GOOD, "c.py": GOOD}, {"a": {}})
    table = Table(tmp_path)
    table.put("b", "b.py")
    async with supervising(workspace, runtime, sources=[table]) as running:
        await running.ready()
        await running.watched()
        pids = running.pid("a"), running.pid("b")
        table.spoil("b")
        table.put("c", "c.py")
        save(workspace, "load_from: [\n")
        await running.until(lambda: len(running.daemon.fleet.problems) == 2, "both are told")
        await running.until(lambda: "c" in running.daemon.fleet.locations, "added")
        await running.ready()
        assert (running.pid("a"), running.pid("b")) == pids
        # One that cannot say anything, and one whose code is broken.
        problem = ConfigurationProblem(SourcePosition("the table"), "", "the database is gone")
        table.fail(ConfigurationError([problem]))
        await running.until(lambda: problem in running.daemon.fleet.problems, "told")
        table.fail(ZeroDivisionError("a defect"))
        await running.until(
            lambda: any("a defect" in one.message for one in running.daemon.fleet.problems), "told"
        )
        await running.watched()
        save(workspace, yaml.safe_dump(workspace_text({"a": {"env": {"X": "1"}}})))
        await running.until(lambda: running["a"].generation == 2, "changed")
        assert running.pid("b") == pids[1]
        table.fail(None)
        await running.until(lambda: len(running.daemon.fleet.problems) == 1, "only b is broken")
        table.put("b", "b.py")
        await running.until(lambda: not running.daemon.fleet.problems, "mended")
        assert running.pid("b") == pids[1]


async def test_a_source_that_is_broken_at_the_start_keeps_none_from_starting(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD, "b.py": GOOD}, {"a": {}})
    table = Table(tmp_path)
    table.put("b", "b.py")
    table.spoil("c")
    async with supervising(workspace, runtime, sources=[table]) as running:
        await running.ready("a", "b")
        assert list(running.daemon.fleet.locations) == ["a", "b"]
        (problem,) = running.daemon.fleet.problems
        assert problem.message == "this version is unknown"


async def test_sighup_has_every_source_read_again(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD})
    table = Table(tmp_path)
    async with supervising(workspace, runtime, sources=[table]) as running:
        await running.ready()
        before = table.readings
        running.daemon.reread()
        await poll(lambda: table.readings > before, "read again")
