"""What is to be preloaded: the scan of sources, what was learned, and the file that keeps it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from loading import write

from envs.discovery import _installation
from supervisor.directories import _existing
from supervisor.learned import Learned, local_names, sources_of
from supervisor.specs import Target, TargetKind


def target(folder: Path, name: str = "defs.py", kind: str = "python_file") -> Target:
    full = str(folder / name) if kind == "python_file" else name
    return Target(kind=TargetKind(kind), name=full, working_directory=folder)


# The scan.


def imports_of(one: Target) -> tuple[str, ...]:
    return sources_of(one).imports


def test_the_scan_finds_what_a_source_imports(tmp_path):
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
            import lazily ; import second
        def function():
            from inside import it
        """
    write(tmp_path, {"defs.py": text})
    found = imports_of(target(tmp_path))
    assert found == ("pandas", "json", "sqlalchemy", "dagster", "lazily", "inside")


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


# Names that would lose against preloaded ones.


def test_local_names_are_modules_and_packages(tmp_path):
    write(
        tmp_path,
        {
            "defs.py": "",
            "json.py": "",
            "email/__init__.py": "",
            "logging/notes.txt": "",
            "Makefile": "",
            "README.md": "",
            "not-a-name/__init__.py": "",
            "native.cpython-311-x86_64-linux-gnu.so": "",
        },
    )
    assert local_names(target(tmp_path)) == {"defs", "json", "email", "native"}


def test_local_names_notice_a_new_module(tmp_path):
    write(tmp_path, {"defs.py": "", "email/notes.txt": ""})
    assert local_names(target(tmp_path)) == {"defs"}
    write(tmp_path, {"email/__init__.py": ""})
    assert local_names(target(tmp_path)) == {"defs", "email"}
    write(tmp_path, {"json.py": ""})
    os.utime(tmp_path, ns=(1, 1))
    assert local_names(target(tmp_path)) == {"defs", "email", "json"}


def test_local_names_of_a_file_elsewhere_hold_its_stem(tmp_path):
    write(tmp_path, {"work/a.py": "", "files/b.py": ""})
    one = Target(
        kind=TargetKind.PYTHON_FILE,
        name=str(tmp_path / "files" / "b.py"),
        working_directory=tmp_path / "work",
    )
    assert local_names(one) == {"a", "b"}


def test_local_names_of_no_directory_are_none(tmp_path):
    assert local_names(target(tmp_path / "gone", "m", "python_module")) == set()


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
    assert "closed" not in local_names(target(nobody, "m", "python_module"))
    assert imports_of(target(nobody, "closed.m", "python_module")) == ()
    assert list(_installation(nobody / "closed", "pyenv")) == []
    assert _existing([str(nobody / "closed" / "below"), str(nobody)]) == {str(nobody)}


# What is kept.


def test_what_is_known_comes_before_the_guess(tmp_path):
    learned = Learned(tmp_path / "preload.json")
    assert learned.modules("env", ["guess"]) == ["guess"]
    learned.add("env", ["pandas", "pandas.core"])
    learned.add("env", ["pandas.core", "numpy"])
    assert learned.modules("env", ["guess"]) == ["pandas", "pandas.core", "numpy"]
    assert learned.modules("other", ["guess"]) == ["guess"]
    again = Learned(tmp_path / "preload.json")
    assert again.modules("env", ["guess"]) == ["pandas", "pandas.core", "numpy"]
    again.forget("env", ["pandas.core", "never known"])
    assert Learned(tmp_path / "preload.json").modules("env", []) == ["pandas", "numpy"]


def test_without_a_file_it_is_known_in_memory():
    learned = Learned(None)
    learned.add("env", ["pandas"])
    assert learned.modules("env", []) == ["pandas"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b"[1, 2]",
        b'{"env": "pandas"}',
        b'{"env": {"pandas": 1}}',
        b'{"env": [1, null, "", "../evil", "a b", ["x"]]}',
    ],
    ids=["empty", "cut", "binary", "deep", "list", "text", "map", "names"],
)
def test_a_damaged_file_is_learned_again(tmp_path, data):
    path = tmp_path / "preload.json"
    path.write_bytes(data)
    learned = Learned(path)
    assert learned.modules("env", ["guess"]) == ["guess"]
    learned.add("env", ["pandas"])
    assert json.loads(path.read_text())["env"] == ["pandas"]


def test_a_directory_that_cannot_be_written_is_no_failure(tmp_path):
    learned = Learned(tmp_path / "gone" / "preload.json")
    learned.add("env", ["pandas"])
    assert learned.modules("env", []) == ["pandas"]


def test_what_a_shim_reports_is_bounded(tmp_path):
    learned = Learned(tmp_path / "preload.json")
    learned.add("env", [7, "x" * 1000, "no name", "pandas", "pandas"])
    learned.add("env", [f"m{n}" for n in range(100_000)])
    assert learned.modules("env", []) == ["pandas"]
    for number in range(150):
        learned.add(f"env{number}", ["pandas"])
    kept = json.loads((tmp_path / "preload.json").read_text())
    assert len(kept) == 100
    assert "env149" in kept
    assert "env0" not in kept
