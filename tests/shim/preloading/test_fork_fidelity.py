"""A forked process sees what a fresh one sees: each way in which it was seen not to, and mixtures."""

from __future__ import annotations

import difflib
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fork_scenarios import EVERYTHING, LIBRARIES, NEIGHBOUR, SCENARIOS, make_folder, mixture
from forkservers import method, scratch_environment
from loading import ROOT, every_interpreter, interpreter
from supervised import Supervised, job, make_workspace, supervising

from supervisor.processes import forkserver, spawn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forkservers need Linux")

QUICK = interpreter("3.11") or sys.executable

# Nothing is judged, hidden or checked: what forking would be without all that.
CARELESS = """

class _Nothing(object):
    checks = property(lambda self: self)

    def begin(self):
        pass

    def module(self, name):
        return sys.modules.get(name)


def _judge(self):
    effects = self._recorder.effects
    effects.undo = effects._real.restore
    recorded = [change for entry in self._recorder.entries for change in entry.effects]
    self._recorder.stop()
    for watch, change in recorded:
        if type(watch).__name__ in ("Exit", "_AtFork"):
            watch.redo(change)
    self.hidden = _Nothing()
    return {}


Preload.judge = _judge
"""


@pytest.fixture
def careless(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have shims started from a copy of runner_shim in which all checks are switched off."""
    copy = tmp_path_factory.mktemp("careless") / "runner_shim"
    shutil.copytree(ROOT / "runner_shim", copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "preloading" / "preload.py").open("a") as file:
        file.write(CARELESS)
    for module in (spawn, forkserver):
        monkeypatch.setattr(module, "BOOT", copy / "boot.py")


Texts = Mapping[str, tuple[str, dict[str, str]]]


def workspace_of(folder: Path, python: str, texts: Texts, *, told: bool = False) -> Path:
    """Each text as two forked locations and a fresh one, and a neighbour that imports everything.

    ``told``: the operator has everything preloaded; else it is guessed, or known from the last time.
    """
    executable = scratch_environment(folder / "environment", python, LIBRARIES)
    locations: dict[str, dict[str, Any]] = {}
    common: dict[str, Any] = {"executable_path": str(executable)}
    if told:
        common["preload"] = list(EVERYTHING)
    (folder / "neighbour.py").write_text(NEIGHBOUR + "\n" + job("neighbour"))
    locations["neighbour"] = {"relative_path": "neighbour.py", **common}
    for name, (text, files) in texts.items():
        make_folder(folder, name, text, files)
        for way, start in (("first", "auto"), ("second", "auto"), ("fresh", "spawn")):
            locations[f"{name}-{way}"] = {
                "relative_path": f"{name}/defs.py",
                "working_directory": name,
                "start_method": start,
                **common,
            }
    return make_workspace(folder, {}, locations)


def seen(running: Supervised, name: str) -> str:
    """What a location noted, or why it failed."""
    location = running[name]
    if location.snapshot is None:
        assert location.failure is not None
        return f"failed: {location.failure.message}"
    return location.snapshot.definitions.decode("utf-8", "replace")


async def compared(
    workspace: Path, runtime: Path, names: Iterable[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What differs between forked and fresh, by name; and why which were not forked."""
    different, fresh = {}, {}
    async with supervising(workspace, runtime) as running:
        await running.settled(300)
        for name in names:
            expected = seen(running, f"{name}-fresh")
            for way in ("first", "second"):
                got = seen(running, f"{name}-{way}")
                if got != expected:
                    different[name] = f"{way}: {_without(got, expected)}"
                if running[f"{name}-{way}"].state == "ready":
                    how, why = await method(running, f"{name}-{way}")
                    if how != "forkserver":
                        fresh[name] = why
    return different, fresh


def _without(got: str, expected: str) -> str:
    """The words around the places where two texts differ."""
    matcher = difflib.SequenceMatcher(None, expected.split(", "), got.split(", "), autojunk=False)
    return "; ".join(
        f"fresh {expected.split(', ')[a:b]} is {got.split(', ')[c:d]}"
        for kind, a, b, c, d in matcher.get_opcodes()
        if kind != "equal"
    )


# What has to be fresh: what was preloaded would have to be executed again.
ANEW = {
    *("insert_and_pop", "inserted", "stub", "optional", "late_variable"),
    *("all_variables", "working_directory", "distributions", "set_by_a_library", "spread"),
}


GUESSED_KNOWN_TOLD = (False, False, True)


async def each_way(
    folder: Path,
    runtime: Path,
    python: str,
    texts: Texts,
    ways: Iterable[bool] = GUESSED_KNOWN_TOLD,
) -> dict[str, str]:
    """Compare with little preloaded, what is known, and everything; why what was not forked."""
    fresh: dict[str, str] = {}
    for told in ways:
        workspace = workspace_of(folder, python, texts, told=told)
        different, not_forked = await compared(workspace, runtime, texts)
        assert not different, "\n".join(f"{name}\n{text}" for name, text in different.items())
        fresh.update(not_forked)
    return fresh


@pytest.mark.slow
async def test_a_fork_sees_what_a_fresh_process_sees(tmp_path, runtime):
    fresh = await each_way(tmp_path, runtime, QUICK, SCENARIOS, ways=[True])
    assert fresh.keys() == ANEW, fresh


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("python", every_interpreter())
async def test_a_fork_sees_what_a_fresh_process_sees_in(python, tmp_path, runtime):
    fresh = await each_way(tmp_path, runtime, python, SCENARIOS)
    assert fresh.keys() <= ANEW, fresh


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(0, 200, 20))
async def test_mixtures(first, tmp_path, runtime):
    """Twenty of two hundred mixtures at a time, in an interpreter after the other."""
    versions = [one for one in ("3.6", "3.8", "3.11", "3.13") if interpreter(one)]
    python = interpreter(versions[first // 20 % len(versions)]) or QUICK
    texts = {f"mixture{seed}": mixture(seed) for seed in range(first, first + 20)}
    await each_way(tmp_path, runtime, python, texts)


# What is right without the checks, too: nothing of it is there before the location imports it, or
# the import system itself looks again.
RIGHT_ANYWAY = {"inserted_too_late", "reload_and_specs", "space"}


@pytest.mark.slow
async def test_each_is_seen_to_differ_without_the_checks(tmp_path, runtime, careless):
    """Else the tests above would show nothing."""
    workspace = workspace_of(tmp_path, QUICK, SCENARIOS, told=True)
    different, fresh = await compared(workspace, runtime, SCENARIOS)
    # What fails forked is tried fresh.
    assert SCENARIOS.keys() - different.keys() - fresh.keys() == RIGHT_ANYWAY
