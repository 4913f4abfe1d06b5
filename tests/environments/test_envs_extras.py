"""Extras, dependency groups and poetry's tables of a project, and which lock pins it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from envs_support import (
    empty_store,
    fruit_environ,
    fruit_wheels,
    installed,
    make_wheel,
    request,
)
from uv import find_uv_bin

from envs import EnvError, EnvironmentStore
from envs.poetry import poetry_pins, poetry_requirements, specifier

wheels = pytest.fixture(fruit_wheels)
environ = pytest.fixture(fruit_environ)
store = pytest.fixture(empty_store)

PROJECT = """
[project]
name = "grove"
version = "1.0"
requires-python = ">=3.7"
optional-dependencies = {dry = ["lemon<2"]}
[dependency-groups]
base = ["lemon"]
test = [{include-group = "base"}, "tree"]
round = [{include-group = "round"}]
"""
POETRY = """
[tool.poetry]
package-mode = false
[tool.poetry.dependencies]
python = "^3.7"
lemon = "^1.0"
pear = {version = "*", optional = true}
[tool.poetry.extras]
sweet = ["pear"]
[tool.poetry.group.test.dependencies]
tree = "~1.0"
"""


def declare(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(text)
    return folder


@pytest.mark.parametrize("locked", [False, True])
def test_extras_and_groups_are_installed(
    tmp_path: Path, environ: dict[str, str], store: EnvironmentStore, locked: bool
) -> None:
    folder = declare(tmp_path / "grove", PROJECT.replace('round = [{include-group = "round"}]', ""))
    if locked:
        subprocess.run([find_uv_bin(), "lock", "-q", "--project", folder], env=environ, check=True)
    made = store.sync(request("3.11", project=folder))
    assert installed(made) == {}
    assert made.pinned == (f"versions of {folder}/uv.lock" if locked else "")
    made = store.sync(request("3.11", project=folder, extras=("dry",)))
    assert installed(made) == {"lemon": "1.0"}
    made = store.sync(request("3.11", project=folder, groups=("Test",)))
    assert installed(made) == {"lemon": "1.0", "tree": "1.0"}


def test_what_a_project_does_not_have(tmp_path: Path, store: EnvironmentStore) -> None:
    folder = declare(tmp_path / "grove", PROJECT.replace('round = [{include-group = "round"}]', ""))
    for keys, what in ({"extras": ("wet",)}, "extra 'wet'"), ({"groups": ("x",)}, "group 'x'"):
        with pytest.raises(EnvError) as caught:
            store.sync(request("3.11", project=folder, **keys))
        assert caught.value.message.endswith(what)
        assert caught.value.hint in ("it has: dry", "it has: base, test")
    declare(folder, PROJECT)
    with pytest.raises(EnvError, match="the dependency group round includes itself"):
        store.sync(request("3.11", project=folder, groups=("test",)))


def test_a_project_without_a_declaration_has_no_groups(
    tmp_path: Path, store: EnvironmentStore
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "setup.py").write_text("from setuptools import setup\nsetup(name='old')\n")
    with pytest.raises(EnvError) as caught:
        store.sync(request(project=tmp_path / "old", groups=("dev",)))
    assert str(caught.value) == f"the project {tmp_path}/old has no dependency group 'dev'"


@pytest.mark.parametrize("installer", ["uv", pytest.param("pip", marks=pytest.mark.slow)])
def test_a_poetry_project_without_a_package(
    installer: str, tmp_path: Path, environ: dict[str, str], wheels: Path
) -> None:
    make_wheel(wheels, "pear")
    store = EnvironmentStore(tmp_path / "envs", environ, installer=installer)  # type: ignore[arg-type]
    system = (
        '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n'
    )
    folder = declare(tmp_path / "grove", POETRY + system)
    made = store.sync(request("3.11", project=folder))
    assert installed(made) == {"lemon": "1.0"}
    made = store.sync(request("3.11", project=folder, extras=("sweet",), groups=("test",)))
    assert installed(made) == {"lemon": "1.0", "pear": "1.0", "tree": "1.0"}


@pytest.mark.slow
def test_poetrys_lock_is_honoured_and_others_are_passed_over(
    tmp_path: Path, wheels: Path, store: EnvironmentStore
) -> None:
    make_wheel(wheels, "lemon", "1.5")
    folder = declare(tmp_path / "grove", POETRY)
    wanted = request("3.11", project=folder)
    assert installed(store.sync(wanted)) == {"lemon": "1.5"}
    (folder / "poetry.lock").write_text(
        '[[package]]\nname = "lemon"\nversion = "1.0"\nfiles = []\n'
    )
    (folder / "pdm.lock").write_text("")
    made = store.sync(wanted)
    assert installed(made) == {"lemon": "1.0"}
    assert made.pinned == (
        f"versions of {folder}/poetry.lock; pdm.lock passed over: poetry.lock is there"
    )
    declare(folder, POETRY.replace("^1.0", "^2.0"))
    with pytest.raises(EnvError) as caught:
        store.sync(wanted)
    assert "write it again with `poetry lock`" in str(caught.value.hint)
    (folder / "poetry.lock").write_text("[package]\nname = 1\n")
    with pytest.raises(EnvError, match=r"poetry\.lock cannot be read"):
        store.sync(wanted)
    (folder / "poetry.lock").unlink()
    assert store.sync(wanted).pinned == (
        "pdm.lock passed over: only uv.lock and poetry.lock are read"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("^1.2.3", ">=1.2.3,<2"), ("^0.2.3", ">=0.2.3,<0.3"), ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0", ">=0,<1"), ("^0.0", ">=0.0,<0.1"), ("~1.2.3", ">=1.2.3,<1.3"), ("~1", ">=1,<2"),
        ("1.2.*", "==1.2.*"), ("*", ""), ("1.2", "==1.2"), (">=1, <2", ">=1,<2"),
        (">=1 <2", ">=1,<2"), ("~=1.4", "~=1.4"), ("!=1.5", "!=1.5"), ("=1.0", "==1.0"),
    ],
)  # fmt: skip
def test_poetrys_constraints(text: str, expected: str) -> None:
    assert specifier(text) == expected


def test_poetrys_dependencies(tmp_path: Path) -> None:
    table = {
        "python": "^3.8",
        "a": {"version": "^1", "extras": ["x", "y"], "python": "<3.10", "platform": "linux"},
        "b": {"git": "https://host/b.git", "tag": "v1", "subdirectory": "py"},
        "c": {"path": "../c", "develop": True},
        "d": [{"version": "1", "markers": "os_name == 'nt'"}, {"version": "2"}],
        "e": {"url": "https://host/e.whl"},
        "f": {"version": "*", "optional": True},
    }
    assert poetry_requirements(table, tmp_path / "p") == [
        "a[x,y]>=1,<2 ; (sys_platform == 'linux') and (python_version < '3.10')",
        "b @ git+https://host/b.git@v1#subdirectory=py",
        f"-e {tmp_path}/c",
        "d==1 ; (os_name == 'nt')",
        "d==2",
        "e @ https://host/e.whl",
    ]
    with pytest.raises(EnvError, match="dependency a cannot be told"):
        poetry_requirements({"a": "^1 || ^2"}, tmp_path)


def test_what_poetrys_lock_pins() -> None:
    old, new = "python_version < '3.10'", "python_version >= '3.10'"
    locked = [
        {"name": "a", "version": "1"},
        {"name": "b", "version": "1", "markers": old},
        {"name": "b", "version": "2", "markers": {"main": new, "dev": new}},
        {"name": "c", "version": "1"},
        {"name": "c", "version": "2"},  # poetry 1 does not say which is for whom
        {"name": "d", "version": "1", "source": {"type": "git", "url": "https://host/d"}},
    ]
    assert poetry_pins({"package": locked}) == ["a==1", f"b==1 ; {old}", f"b==2 ; ({new})"]


@pytest.mark.parametrize(
    "text",
    [
        "[project]\ndependencies = 1\n",
        "[project]\n[dependency-groups]\ndev = 1\n",
        "[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\nlemon = 1\n",
    ],
)
def test_a_declaration_that_is_none(tmp_path: Path, store: EnvironmentStore, text: str) -> None:
    folder = declare(tmp_path / "grove", text)
    with pytest.raises(EnvError) as caught:
        store.sync(request("3.11", project=folder, groups=("dev",) if "groups" in text else ()))
    assert str(folder) in caught.value.message
