"""User code sees the same in a forked process as in a fresh one, in every Python that is here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from forkservers import method, scratch_environment
from loading import every_interpreter, interpreter
from places import PROGRAMS
from supervised import Supervised, alive, make_workspace, supervising

PROGRAM = PROGRAMS / "conformance_location.py"
QUICK = [version for version in ("3.11", "3.13", "3.12", "3.10") if interpreter(version)][:1]

LIBRARIES = {
    "conformance_library.py": """\
        import atexit, logging, random, sys, warnings
        import numpy.random

        logging.getLogger(__name__).addHandler(logging.NullHandler())
        warnings.filterwarnings("ignore", message="conformance")
        atexit.register(len, "")
        sys.setrecursionlimit(1234)

        def draw():
            return random.random()

        def numpy_like():
            return numpy.random.random()

        def state():
            return [len(logging.getLogger(__name__).handlers), __name__, __file__]
        """,
    "numpy/__init__.py": "",
    "numpy/random.py": """\
        from random import Random

        _own = Random()
        seed, random = _own.seed, _own.random
        """,
}


async def both_ways(
    folder: Path, runtime: Path, python: str, env: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """What one fresh and two forked processes saw, and their snapshots, by location."""
    executable = scratch_environment(folder / "environment", python, LIBRARIES)
    common = {"relative_path": "conformance.py", "executable_path": str(executable), "env": env}
    workspace = make_workspace(
        folder,
        {
            "conformance.py": PROGRAM.read_text(),
            "conformance_functions.py": "def square(number):\n    return number * number\n",
        },
        {
            "fresh": {**common, "start_method": "spawn"},
            "first": {**common, "start_method": "forkserver"},
            "second": common,
        },
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        assert await method(running, "fresh") == ("spawn", "start_method: spawn")
        for name in ("first", "second"):
            assert await method(running, name) == ("forkserver", ""), await method(running, name)
        found = {name: seen(running, folder, name) for name in ("fresh", "first", "second")}
        pids = {name: running.pid(name) for name in found}
        for name, pid in pids.items():
            running[name].stop()
            await running[name].stopped()
            assert not alive(pid)
            assert (folder / f"ended-{pid}").exists(), f"atexit handlers of {name} did not run"
    return found


def seen(running: Supervised, folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"seen-{running.pid(name)}.json").read_text())
    snapshot = running[name].snapshot
    assert snapshot is not None
    found["snapshot"] = (snapshot.definitions, snapshot.sources)
    report = dict(snapshot.report)
    for key in ("load_seconds", "installed", "preloaded"):
        del report[key]
    found["report"] = report
    found["log"] = [line.text for line in running[name].log.tail if line.stream in ("out", "err")]
    return found


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, in words."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in sorted(one.keys() | other.keys()):
            inner = differences(one.get(key), other.get(key), f"{path}/{key}")
            found.extend(inner)
        return found
    return [] if one == other else [f"{path}: fresh {one!r}, forked {other!r}"]


def expected(saw: dict[str, Any], name: str) -> dict[str, Any]:
    """What was seen, with what is the location's own, its name and its mark, taken out."""
    for words in (saw["process"]["arguments"], saw["interpreter"]["orig_argv"] or [name]):
        assert words[-1] == name
        words[-1] = "NAME"
    assert len(saw["environment"].pop("SUPERVISE_PROCESS")) == 32  # the mark is each one's own
    return saw


def compare(found: dict[str, dict[str, Any]]) -> None:
    fresh = found["fresh"]
    names = {name: expected(one["seen"], name) for name, one in found.items()}
    for name in ("first", "second"):
        forked = found[name]
        wrong = differences(names["fresh"], names[name])
        assert not wrong, "\n".join(wrong)
        assert forked["snapshot"] == fresh["snapshot"]
        # What took long to import is preloaded, and is measured.
        reports = [{**one["report"], "imports": None} for one in (fresh, forked)]
        assert not differences(*reports)
        assert forked["log"] == fresh["log"]
        assert forked["modules"] == fresh["modules"]
    for name in ("first", "second"):
        # None before Python 3.7, which cannot freeze its heap; 3.12 freezes a little of its own.
        frozen, frozen_fresh = found[name]["frozen"], fresh["frozen"]
        assert (frozen is None) == (frozen_fresh is None)
        assert frozen is None or frozen > frozen_fresh + 1000
    for way, result in names["fresh"]["children"].items():
        if way.startswith("own function "):
            assert result == [1, 4, 9], f"{way}: {result}"
    for key, value in found["first"]["unique"].items():
        others = [found[name]["unique"][key] for name in ("second", "fresh")]
        assert value not in others, f"siblings share {key}: {value}"


@pytest.mark.slow
@pytest.mark.skipif(not QUICK, reason="no recent python here")
async def test_a_forked_process_is_like_a_fresh_one(tmp_path, runtime):
    python = interpreter(QUICK[0])
    compare(await both_ways(tmp_path, runtime, python, {}))


@pytest.mark.slow
@pytest.mark.parametrize("python", every_interpreter())
async def test_a_forked_process_is_like_a_fresh_one_in(python, tmp_path, runtime):
    env = {"CONFORMANCE_POOLS": "1", "PYTHONHASHSEED": "77", "LC_ALL": "C", "COLOUR": "blau"}
    compare(await both_ways(tmp_path, runtime, python, env))
