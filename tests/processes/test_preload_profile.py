"""What is to be preloaded: the scan of sources, what was learned, and the file that keeps it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from loading import write

from envs.discovery import installation
from supervisor.processes.preload_guess import sources_of
from supervisor.processes.preload_profile import PreloadProfile
from supervisor.specs import Target, TargetKind
from supervisor.watching.inotify import existing


def target(folder: Path, name: str = "defs.py", kind: str = "python_file") -> Target:
    full = str(folder / name) if kind == "python_file" else name
    return Target(kind=TargetKind(kind), name=full, working_directory=folder)


# The scan.


def imports_of(one: Target) -> tuple[str, ...]:
    return sources_of(one).imports


def test_the_scan_finds_what_runs_when_a_module_is_imported(tmp_path):
    text = """\
        import pandas as pd, json
        import sqlalchemy.orm
        from dagster import asset, job
        from dagster._core.thing import (
            other,
        )
        from . import neighbour
        from .neighbour import thing
        if True:
            import either ; import second
        try:
            import fast
        except ImportError:
            import slow
        else:
            import third
        class Base:
            import in_class
        """
    write(tmp_path, {"defs.py": text})
    found = imports_of(target(tmp_path))
    assert found == (
        *("pandas", "json", "sqlalchemy", "dagster", "either", "second"),
        *("fast", "third", "slow", "in_class"),
    )


def test_the_scan_leaves_out_what_does_not_run(tmp_path):
    text = """\
        from typing import TYPE_CHECKING
        import typing
        if TYPE_CHECKING:
            import pandas
        elif typing.TYPE_CHECKING:
            import numpy
        else:
            import really
        if False:
            import never
        if __name__ == "__main__":
            import argparse
        def function():
            from inside import it
        async def other():
            import inside_too
        class Base:
            def method(self):
                import deep
        """
    write(tmp_path, {"defs.py": text})
    assert imports_of(target(tmp_path)) == ("typing", "really")


def test_the_scan_of_another_pythons_source_looks_at_the_beginning_of_lines(tmp_path):
    text = "import first, second\nprint 'python 2'\nif True:\n    import third\nfrom a.b import c\n"
    write(tmp_path, {"defs.py": text})
    assert imports_of(target(tmp_path)) == ("first", "second", "a")


def test_the_scan_of_a_large_source_looks_at_the_beginning_of_lines(tmp_path):
    write(tmp_path, {"defs.py": "import first\nif True:\n    import second\n" + "x = 1\n" * 10000})
    assert imports_of(target(tmp_path)) == ("first",)


def test_scans_side_by_side_see_the_same(tmp_path):
    write(tmp_path, {"defs.py": "import first\nif True:\n    import second\n" + "x = [1]\n" * 2000})
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: imports_of(target(tmp_path)), range(30)))
    assert set(found) == {("first", "second")}


def test_the_scan_follows_the_teams_own_modules_and_leaves_them_out(tmp_path):
    write(
        tmp_path,
        {
            "team/__init__.py": "import first",
            "team/defs.py": "import team.deep.inner\nimport helper\nimport team",
            "team/deep/__init__.py": "",
            "team/deep/inner.py": "import third",
            "helper.py": "import second",
        },
    )
    found = imports_of(target(tmp_path, "team.defs", "python_module"))
    assert sorted(found) == ["first", "second", "third"]


def test_the_scan_of_a_package_reads_its_init(tmp_path):
    write(tmp_path, {"team/__init__.py": "import pandas"})
    assert imports_of(target(tmp_path, "team", "python_package")) == ("pandas",)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00\xff\xfe import", b"print 'python 2'\nimport old\n", b"import (((\n", None],
    ids=["empty", "binary", "python2", "broken", "missing"],
)
def test_the_scan_takes_any_file(tmp_path, data):
    if data is not None:
        (tmp_path / "defs.py").write_bytes(data)
    assert imports_of(target(tmp_path)) == (("old",) if data and b"old" in data else ())


def test_the_scan_ends_where_modules_import_each_other(tmp_path):
    write(tmp_path, {"defs.py": "import a", "a.py": "import b", "b.py": "import a, defs, yaml"})
    assert imports_of(target(tmp_path)) == ("yaml",)


def test_the_scan_tells_the_teams_own_files(tmp_path):
    write(
        tmp_path,
        {
            "team/__init__.py": "from . import early",
            "team/early.py": "",
            "team/defs.py": "from team import part\nfrom .deep.inner import x\nfrom .. import top\n",
            "team/part.py": "from helper import (\n    y,\n)\n",
            "team/deep/__init__.py": "",
            "team/deep/inner.py": "from ..later import (\n    one,\n    two as other,\n)\n",
            "team/later/__init__.py": "",
            "team/later/one.py": "",
            "team/later/two.py": "",
            "team/unused.py": "",
            "top.py": "",
            "helper.py": "",
        },
    )
    found = sources_of(target(tmp_path, "team.defs", "python_module"))
    names = {str(Path(path).relative_to(tmp_path)) for path in found.files}
    assert names == {
        *("team/__init__.py", "team/defs.py", "team/early.py", "team/part.py", "top.py"),
        *("team/deep/__init__.py", "team/deep/inner.py", "helper.py"),
        *("team/later/__init__.py", "team/later/one.py", "team/later/two.py"),
    }
    assert found.imports == ()


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A readable directory with one that may not be entered, seen by a user without privileges."""
    folder = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "closed").mkdir(mode=0o000)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(user)
        (folder / "closed").chmod(0o700)
        shutil.rmtree(folder)


def test_what_may_not_be_entered_is_nobodys_module(nobody):
    assert imports_of(target(nobody, "closed.m", "python_module")) == ()
    assert list(installation(nobody / "closed", "pyenv")) == []
    assert existing([str(nobody / "closed" / "below"), str(nobody)]) == {str(nobody)}


# What is kept.


async def opened(path: Path | None) -> PreloadProfile:
    learned = PreloadProfile(path)
    await learned.opened()
    return learned


async def test_what_is_known_comes_before_the_guess(tmp_path):
    learned = await opened(tmp_path / "preload.json")
    assert learned.modules("env", ["guess"]) == ["guess"]
    learned.add("env", "a", ["pandas", "pandas.core"])
    learned.add("env", "b", ["pandas.core", "numpy"])
    assert learned.modules("env", ["guess"]) == ["pandas", "pandas.core", "numpy"]
    assert learned.modules("other", ["guess"]) == ["guess"]
    await learned.close()
    again = await opened(tmp_path / "preload.json")
    assert again.modules("env", ["guess"]) == ["pandas", "pandas.core", "numpy"]
    again.forget("env", ["pandas.core", "never known"])
    await again.close()
    assert (await opened(tmp_path / "preload.json")).modules("env", []) == ["pandas", "numpy"]


async def test_what_no_location_imports_any_more_is_forgotten(tmp_path):
    learned = await opened(tmp_path / "preload.json")
    learned.add("env", "a", ["pandas", "shared"])
    learned.add("env", "b", ["shared"])
    for _ in range(2):  # it may come back
        learned.add("env", "a", ["numpy"])
        assert set(learned.modules("env", [])) == {"pandas", "shared", "numpy"}
    learned.add("env", "a", ["numpy"])
    assert set(learned.modules("env", [])) == {"shared", "numpy"}
    await learned.close()


async def test_a_location_that_is_not_loaded_any_more_is_forgotten(tmp_path):
    learned = await opened(tmp_path / "preload.json")
    learned.add("env", "gone", ["pandas"])
    learned.add("env", "a", ["numpy"])
    for _ in range(6):
        await learned.close()
        learned = await opened(tmp_path / "preload.json")
        learned.add("env", "a", ["numpy"])
    assert learned.modules("env", []) == ["numpy"]
    await learned.close()


async def test_of_locations_that_left_the_workspace_the_last_few_are_known():
    profile = await opened(None)
    for number in range(100):
        profile.add("env", f"branch_{number}", [f"only_{number}"])
    profile.add("env", "stays", ["pandas"])
    profile.keep_only({"stays"})
    found = profile.modules("env", ())
    assert found[-2:] == ["only_99", "pandas"]
    assert len(found) < 50
    await profile.close()


async def test_unfit_libraries_are_known_until_the_packages_change(tmp_path):
    learned = await opened(tmp_path / "preload.json")
    learned.leave_out("env", "packages 1", {"pyarrow": "leaves threads"})
    learned.leave_out("env", "packages 1", {"flytekit": "leaves threads"})
    await learned.close()
    again = await opened(tmp_path / "preload.json")
    assert list(again.left_out("env", "packages 1")) == ["pyarrow", "flytekit"]
    assert again.left_out("env", "packages 2") == {}
    again.leave_out("env", "packages 2", {"sqlmesh": "leaves threads"})
    assert list(again.left_out("env", "packages 2")) == ["sqlmesh"]
    assert again.left_out("env", "packages 1") == {}
    await again.close()


async def test_without_a_file_it_is_known_in_memory():
    learned = await opened(None)
    learned.add("env", "a", ["pandas"])
    assert learned.modules("env", []) == ["pandas"]
    await learned.close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b"[1, 2]",
        b'{"env": ["pandas"]}',
        b'{"format": 2, "environments": {"env": "pandas"}}',
        b'{"format": 2, "environments": {"env": {"locations": {"a": ["pandas"]}}}}',
        b'{"format": 2, "environments": {"env": {"locations": {"a": {"modules": '
        b'{"": 0, "../evil": 0, "a b": 1}, "lives": "x"}}, "left_out": {"p q": 1, "x": []}}}}',
    ],
    ids=["empty", "cut", "binary", "deep", "list", "older", "text", "modules", "names"],
)
async def test_a_damaged_file_is_made_again(tmp_path, data):
    path = tmp_path / "preload.json"
    path.write_bytes(data)
    learned = await opened(path)
    assert learned.modules("env", ["guess"]) == ["guess"]
    assert learned.left_out("env", "") == {}
    learned.add("env", "a", ["pandas"])
    await learned.close()
    assert (await opened(path)).modules("env", []) == ["pandas"]


async def test_a_directory_that_cannot_be_written_is_no_failure(tmp_path):
    learned = await opened(tmp_path / "gone" / "preload.json")
    learned.add("env", "a", ["pandas"])
    assert learned.modules("env", []) == ["pandas"]
    await learned.close()


async def test_what_a_shim_reports_is_bounded(tmp_path):
    learned = await opened(tmp_path / "preload.json")
    learned.add("env", "a", [7, "x" * 1000, "no name", "pandas", "pandas"])
    learned.add("env", "b", [f"m{n}" for n in range(100_000)])
    assert learned.modules("env", []) == ["pandas"]
    for number in range(150):
        learned.add(f"env{number}", "a", ["pandas"])
    await learned.close()
    kept = json.loads((tmp_path / "preload.json").read_text())["environments"]
    assert len(kept) == 100
    assert "env149" in kept
    assert "env0" not in kept
