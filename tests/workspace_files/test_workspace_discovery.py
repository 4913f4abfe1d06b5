"""Where a workspace is found, what flags say instead, and the key that it gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from loading import write
from places import ROOT
from workspaces import (
    AUTOLOAD,
    CLOUD,
    DAGSTER,
    FILE,
    MODULE,
    PACKAGE,
    PROJECT,
    WORKSPACE,
    found,
    names,
    refused,
)

from supervisor.errors import ConfigurationError
from supervisor.specs import Target
from supervisor.workspace_files import Selection, identify, resolve
from supervisor.workspace_files import names as workspace_names

BARE_DG = "[tool.dg.cli]\nverbose = true\n"
EMPTY_DG = '[tool.dg]\ndirectory_type = "workspace"\n[tool.dg.workspace]\n'
DEPLOYMENT_DG = '[tool.dg]\ndirectory_type = "deployment"\n'


# -- the search ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "key", "expected", "notes"),
    [
        ({"workspace.yaml": WORKSPACE}, "workspace.yaml", ["w.py"], 0),
        ({"workspace.yml": WORKSPACE}, "workspace.yml", ["w.py"], 0),
        ({"dagster_cloud.yaml": CLOUD}, "dagster_cloud.yaml", ["c"], 0),
        ({"pyproject.toml": DAGSTER}, "pyproject.toml", ["team.defs"], 0),
        ({"pyproject.toml": PROJECT}, "pyproject.toml", ["{dir}"], 0),
        ({"dg.toml": '[project]\nroot_module = "r"\n'}, "dg.toml", ["{dir}"], 0),
        ({"workspace.yaml": WORKSPACE, "workspace.yml": CLOUD}, "workspace.yaml", ["w.py"], 1),
        ({"workspace.yaml": WORKSPACE, "dagster_cloud.yaml": CLOUD}, "workspace.yaml", ["w.py"], 0),
        (
            {"pyproject.toml": DAGSTER, "workspace.yaml": WORKSPACE},
            "pyproject.toml",
            ["team.defs"],
            1,
        ),
        (
            {"pyproject.toml": "[project]\n", "workspace.yaml": WORKSPACE},
            "workspace.yaml",
            ["w.py"],
            0,
        ),
        ({"pyproject.toml": "[tool\n", "workspace.yaml": WORKSPACE}, "workspace.yaml", ["w.py"], 0),
        (
            {"pyproject.toml": "tool = 1 # dg\n", "workspace.yaml": WORKSPACE},
            "workspace.yaml",
            ["w.py"],
            0,
        ),
        # a bare [tool.dg] does not mask the workspace beside it, and says so
        ({"pyproject.toml": BARE_DG, "workspace.yaml": WORKSPACE}, "workspace.yaml", ["w.py"], 1),
        # nor does a table of dg's that has no projects
        ({"pyproject.toml": EMPTY_DG, "workspace.yaml": WORKSPACE}, "workspace.yaml", ["w.py"], 1),
        (
            {"pyproject.toml": DEPLOYMENT_DG, "workspace.yaml": WORKSPACE},
            "workspace.yaml",
            ["w.py"],
            1,
        ),
        (
            {"dg.toml": "[workspace]\nprojects = []\n", "workspace.yaml": WORKSPACE},
            "workspace.yaml",
            ["w.py"],
            1,
        ),
    ],
)
@pytest.mark.parametrize("below", ["", "src/team"])
def test_the_nearest_directory_is_searched_in_order(
    tmp_path: Path, files: dict[str, str], key: str, expected: list[str], notes: int, below: str
) -> None:
    write(tmp_path, files)
    cwd = tmp_path / below
    cwd.mkdir(parents=True, exist_ok=True)
    spec = found(cwd)
    assert (spec.directory, spec.key, spec.title) == (tmp_path, key, key)
    assert names(spec) == [name.replace("{dir}", tmp_path.name) for name in expected]
    assert len(spec.warnings) == notes


def test_the_nearest_wins_over_a_better_kind_above(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": DAGSTER, "below/workspace.yml": WORKSPACE})
    assert found(tmp_path / "below").directory == tmp_path / "below"


def test_nothing_found(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": BARE_DG})
    for call in (
        lambda: resolve(Selection(), cwd=tmp_path, environ={}),
        lambda: identify(Selection(), cwd=tmp_path),
    ):
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert str(caught.value).startswith(
            f"{tmp_path}: no workspace is here or in a directory above"
        )
        assert "[tool.dg] names no project" in str(caught.value.hint)
        assert "-w" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (
            "pyproject.toml",
            EMPTY_DG,
            "pyproject.toml:3:1: tool.dg.workspace: this workspace names no",
        ),
        ("pyproject.toml", DEPLOYMENT_DG, 'the directory type "deployment" is not known'),
        ("dg.toml", "[workspace]\n", "dg.toml:1:1: workspace: this workspace names no projects"),
    ],
)
def test_a_dg_table_without_projects_and_nothing_beside_it(
    tmp_path: Path, file: str, text: str, expected: str
) -> None:
    write(tmp_path, {file: text})
    (problem,) = refused(tmp_path)
    assert expected in problem


def test_a_broken_pyproject_meant_for_us_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"pyproject.toml": "[tool.dagster]\nmodule_name = \n", "workspace.yaml": WORKSPACE},
    )
    (problem,) = refused(tmp_path)
    assert problem == "pyproject.toml:2:15: this is not valid TOML: invalid value"


def test_a_dangling_workspace_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").symlink_to("nowhere")
    assert refused(tmp_path) == [
        "workspace.yaml: the file is a link to nowhere, which does not exist"
    ]


# -- flags --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(python_files=("a/f.py",)), [("f.py", Target(FILE, "{}/a/f.py", Path("{}")))]),
        (
            Selection(python_files=("f.py",), attribute="d", working_directory="src"),
            [("f.py:d", Target(FILE, "{}/f.py", Path("{}/src"), "d"))],
        ),
        (
            Selection(modules=("a", "b.c")),
            [("a", Target(MODULE, "a", Path("{}"))), ("b.c", Target(MODULE, "b.c", Path("{}")))],
        ),
        (Selection(packages=("p",)), [("p", Target(PACKAGE, "p", Path("{}")))]),
        (Selection(autoload_modules=("p",)), [("p", Target(AUTOLOAD, "p", Path("{}")))]),
        (
            Selection(python_files=("~/x.py",), modules=("m",)),
            [
                ("x.py", Target(FILE, "/home/ops/x.py", Path("{}"))),
                ("m", Target(MODULE, "m", Path("{}"))),
            ],
        ),
    ],
)
def test_flags(tmp_path: Path, selection: Selection, expected: list[tuple[str, Target]]) -> None:
    write(tmp_path, {"workspace.yaml": "not read"})
    spec = found(tmp_path, selection)
    placed = [
        (
            name,
            Target(
                target.kind,
                target.name.replace("{}", str(tmp_path)),
                Path(str(target.working_directory).replace("{}", str(tmp_path))),
                target.attribute,
            ),
        )
        for name, target in expected
    ]
    assert [(location.name, location.target) for location in spec.locations] == placed
    assert spec.files == ()
    assert spec.directory == tmp_path
    assert spec.key.startswith("command-line-")


@pytest.mark.parametrize(
    ("selection", "messages"),
    [
        (
            Selection(files=(Path("w.yaml"),), python_files=("f",), attribute="a"),
            ["command line: -f: -f cannot stand beside -w", "command line: -a: -a cannot"],
        ),
        (Selection(attribute="a"), ["command line: -a: -a needs a target"]),
        (Selection(working_directory="d"), ["command line: -d: -d needs a target"]),
        (
            Selection(modules=("a", "b"), attribute="x"),
            ["-a names an object of one target, and there are 2"],
        ),
        (Selection(autoload_modules=("a",), attribute="x"), ["-a cannot stand beside --autoload"]),
        (Selection(modules=("a/b.py",)), ['command line: -m: the text "a/b.py" is a path']),
        (
            Selection(python_files=("",), attribute="1"),
            ["command line: -f: an empty text", "command line: -a"],
        ),
        (Selection(python_files=("a.py", "x/a.py")), ['the location name "a.py" is taken']),
        (Selection(python_files=("a\udcff.py",)), ["cannot be used in any value"]),
    ],
)
def test_flags_that_do_not_go_together(
    tmp_path: Path, selection: Selection, messages: list[str]
) -> None:
    problems = refused(tmp_path, selection)
    assert len(problems) == len(messages)
    for message in messages:
        assert any(message in problem for problem in problems), problems


# -- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "key"),
    [
        (("a.yaml",), "a.yaml"),
        (("a.yaml", "./a.yaml"), "a.yaml"),
        (("a.yaml", "b.yaml"), "a.yaml+b.yaml"),
    ],
)
def test_plain_keys(tmp_path: Path, files: tuple[str, ...], key: str) -> None:
    assert identify(Selection(files=tuple(map(Path, files))), cwd=tmp_path) == (tmp_path, key)


@pytest.mark.parametrize(
    "files", [("a.yaml", "d/a.yaml"), ("d/a.yaml", "a.yaml"), ("a b.yaml",), ("x" * 100,), ("é",)]
)
def test_other_keys_are_safe_file_names_and_differ(tmp_path: Path, files: tuple[str, ...]) -> None:
    _, key = identify(Selection(files=tuple(map(Path, files))), cwd=tmp_path)
    assert key.isascii()
    assert "/" not in key
    assert len(key) <= 80
    assert key[-13] == "-"


def test_keys_of_flags_differ_by_what_they_say(tmp_path: Path) -> None:
    selections = [
        Selection(modules=("a",)),
        Selection(packages=("a",)),
        Selection(modules=("a", "b")),
        Selection(modules=("a",), attribute="b"),
        Selection(modules=("a",), working_directory="b"),
    ]
    assert len({identify(selection, cwd=tmp_path)[1] for selection in selections}) == len(
        selections
    )


def test_a_workspace_has_one_identity_through_every_path_to_it(tmp_path: Path) -> None:
    write(tmp_path, {"real/workspace.yaml": WORKSPACE})
    (tmp_path / "link").symlink_to("real")
    direct = identify(Selection(files=(Path("real/workspace.yaml"),)), cwd=tmp_path)
    assert identify(Selection(files=(tmp_path / "link/workspace.yaml",)), cwd=Path("/")) == direct
    assert identify(Selection(), cwd=tmp_path / "link") == direct


def test_a_workspace_behind_a_link_is_known_by_both_names(tmp_path: Path) -> None:
    write(tmp_path, {"real/workspace.yaml": WORKSPACE, "real/sub/x": ""})
    (tmp_path / "link").symlink_to("real")
    link, real = tmp_path / "link", tmp_path / "real"
    both = [(link, "workspace.yaml"), (real, "workspace.yaml")]

    def known(selection: Selection, cwd: Path, **environ: str) -> list[tuple[Path, str]]:
        return workspace_names(selection, cwd=cwd, environ=environ)

    named = Selection(files=(Path("link/workspace.yaml"),))
    assert known(named, tmp_path) == both
    assert known(Selection(files=(real / "workspace.yaml",)), tmp_path) == both[1:]
    # What a shell says of how it came here, if that is true.
    assert known(Selection(), real, PWD=str(link)) == both
    assert known(Selection(), real / "sub", PWD=str(link / "sub")) == both
    assert known(Selection(), real, PWD=str(tmp_path)) == both[1:]
    assert known(Selection(), real, PWD="link") == both[1:]
    assert known(Selection(modules=("m",)), real, PWD=str(link))[0][0] == link
    assert [directory for directory, _ in known(Selection(modules=("m",)), real)] == [real]


def test_identify_imports_nothing_heavy(tmp_path: Path) -> None:
    write(tmp_path, {"workspace.yaml": WORKSPACE})
    code = (
        "import sys, pathlib, supervisor.workspace_files as w\n"
        "w.identify(w.Selection(), cwd=pathlib.Path.cwd())\n"
        "print(*sorted({'yaml', 'pydantic', 'dotenv', 'tomllib', 'difflib'} & set(sys.modules)))\n"
    )
    root = ROOT
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""
