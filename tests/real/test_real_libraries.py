"""Real libraries that a fork could get wrong: preloaded where that is safe, left out where not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from forkservers import method
from supervised import Supervised, make_workspace, supervising

from .conftest import find_interpreter, find_uv

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(900)]

_REQUIREMENTS = ("pyarrow", "matplotlib", "tqdm", "setuptools<80", "pandas", "sqlalchemy")

TEXTS = {
    "entry_points": """\
        import pkg_resources
        seen = sorted(one.name for one in pkg_resources.iter_entry_points("acme.jobs"))
        """,
    "no_entry_points": """\
        import pkg_resources, sys
        seen = [len(list(pkg_resources.iter_entry_points("acme.jobs")))]
        seen.append(pkg_resources.working_set.entries == sys.path)
        """,
    "plots": """\
        import matplotlib
        matplotlib.use("agg")
        import matplotlib.pyplot as plt
        seen = [plt.rcParams["lines.linewidth"], matplotlib.get_backend()]
        plt.figure()
        """,
    "own_settings": """\
        import matplotlib
        seen = [matplotlib.rcParams["lines.linewidth"]]
        """,
    "progress": """\
        import tqdm
        lock = tqdm.tqdm.get_lock()
        seen = [lock.acquire(timeout=5) if hasattr(lock, "timeout") else lock.acquire()]
        list(tqdm.tqdm(range(3)))
        lock.release()
        """,
    "arrows": """\
        import pyarrow
        seen = [pyarrow.array([1, 2]).sum().as_py()]
        """,
    "frames": """\
        import pandas
        seen = [int(pandas.DataFrame({"a": [1, 2]})["a"].sum())]
        """,
    "database": """\
        import sys, sqlalchemy
        seen = [str(sqlalchemy.select(sqlalchemy.literal(1)))]
        seen += ["pyarrow" in sys.modules, "pandas" in sys.modules, "matplotlib" in sys.modules]
        """,
    "spawning": """\
        import multiprocessing, tqdm
        multiprocessing.set_start_method("spawn")
        seen = [multiprocessing.get_start_method()]
        """,
    "threads": """\
        import os
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
        import numpy
        seen = [len(os.listdir("/proc/self/task"))]
        """,
}
FILES = {
    "entry_points/acme.egg-info/PKG-INFO": "Metadata-Version: 1.0\nName: acme\nVersion: 1\n",
    "entry_points/acme.egg-info/entry_points.txt": "[acme.jobs]\none = acme:one\ntwo = acme:two\n",
    "own_settings/matplotlibrc": "lines.linewidth: 7\n",
}
TAIL = "\nfrom runner_shim import job\n@job(description=str(seen))\ndef observed():\n    pass\n"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    interpreter = find_interpreter("3.11") or find_interpreter("3.13")
    if interpreter is None:
        pytest.skip("no recent CPython on this machine")
    folder = tmp_path_factory.mktemp("libraries") / "environment"
    python = folder / "bin" / "python"
    for command in (
        [find_uv(), "venv", "-q", "--python", str(interpreter), str(folder)],
        [find_uv(), "pip", "install", "-q", "--python", str(python), *_REQUIREMENTS],
    ):
        subprocess.run(command, check=True, timeout=600)
    return python


def described(running: Supervised, name: str) -> str:
    location = running[name]
    if location.snapshot is None:
        assert location.failure is not None
        return f"failed: {location.failure.message}"
    return location.snapshot.definitions.decode("utf-8", "replace")


async def test_real_libraries_are_as_in_a_fresh_process(tmp_path, runtime, environment):
    files = dict(FILES)
    locations = {}
    for name, text in TEXTS.items():
        lines = "\n".join(line[8:] for line in text.splitlines())
        files[f"{name}/defs.py"] = lines + TAIL
        for way, start in (("forked", "auto"), ("again", "auto"), ("fresh", "spawn")):
            locations[f"{name}-{way}"] = {
                "relative_path": f"{name}/defs.py",
                "working_directory": name,
                "executable_path": str(environment),
                "start_method": start,
            }
    workspace = make_workspace(tmp_path, files, locations)
    for _ in ("guessed", "known"):
        async with supervising(workspace, runtime) as running:
            await running.settled(400)
            for name in TEXTS:
                fresh = described(running, f"{name}-fresh")
                for way in ("forked", "again"):
                    assert described(running, f"{name}-{way}") == fresh, name
            ways = {name: await method(running, f"{name}-forked") for name in TEXTS}
    # All is known by now: pyarrow alone is left out, with pandas, which imports it.
    forked = {name for name, (how, _why) in ways.items() if how == "forkserver"}
    assert {"plots", "progress", "arrows", "frames", "database", "no_entry_points"} <= forked, ways
    assert "own_settings" not in forked
    assert ways["database"][1].startswith("not preloaded: pyarrow, which leaves native threads")
