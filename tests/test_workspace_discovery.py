"""Discovery, flags, keys, and the files other than workspace.yaml."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from supervisor.errors import ConfigurationError
from supervisor.specs import EnvironmentSpec, Target, TargetKind, WorkspaceSpec
from supervisor.workspace import Selection, identify, resolve

FILE, MODULE = TargetKind.PYTHON_FILE, TargetKind.PYTHON_MODULE
PACKAGE, AUTOLOAD = TargetKind.PYTHON_PACKAGE, TargetKind.AUTOLOAD


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))


def found(cwd: Path, selection: Selection = Selection()) -> WorkspaceSpec:
    spec = resolve(selection, cwd=cwd, environ={"HOME": "/home/ops"})
    assert identify(selection, cwd=cwd) == (spec.directory, spec.key)
    return spec


def refused(cwd: Path, selection: Selection = Selection()) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        resolve(selection, cwd=cwd, environ={"HOME": "/home/ops"})
    return [str(problem).replace(f"{cwd}/", "") for problem in caught.value.problems]


def names(spec: WorkspaceSpec) -> list[str]:
    return [location.name for location in spec.locations]


WORKSPACE = "load_from: [python_file: w.py]\n"
DAGSTER = '[tool.dagster]\nmodule_name = "team.defs"\n'
PROJECT = '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "risk"\n'
BARE_DG = "[tool.dg.cli]\nverbose = true\n"
CLOUD = "locations: [{location_name: c, code_source: {module_name: m}}]\n"


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
        assert "names neither a project nor a workspace" in str(caught.value.hint)
        assert "-w" in str(caught.value.hint)


def test_a_broken_pyproject_meant_for_us_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"pyproject.toml": "[tool.dagster]\nmodule_name = \n", "workspace.yaml": WORKSPACE},
    )
    (problem,) = refused(tmp_path)
    assert problem == "pyproject.toml:2:15: this is not valid TOML: invalid value"


def test_a_dangling_workspace_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").symlink_to("nowhere")
    assert refused(tmp_path) == ["workspace.yaml: the file does not exist"]


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


def test_identify_imports_nothing_heavy(tmp_path: Path) -> None:
    write(tmp_path, {"workspace.yaml": WORKSPACE})
    code = (
        "import sys, pathlib, supervisor.workspace as w\n"
        "w.identify(w.Selection(), cwd=pathlib.Path.cwd())\n"
        "print(*sorted({'yaml', 'pydantic', 'dotenv', 'tomllib', 'difflib'} & set(sys.modules)))\n"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""


# -- [tool.dagster] -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('module_name = "a.b"\n', [("a.b", "a.b")]),
        ('module_name = "a.b"\ncode_location_name = "n"\n', [("n", "a.b")]),
        (
            'modules = [{type = "module", name = "a"}, {type = "module", name = "b"}]\n',
            [("a", "a"), ("b", "b")],
        ),
        (
            'code_location_name = "n"\n[[tool.dagster.modules]]\ntype = "module"\nname = "a"\n',
            [("n", "a")],
        ),
    ],
)
def test_tool_dagster(tmp_path: Path, text: str, expected: list[tuple[str, str]]) -> None:
    write(tmp_path, {"pyproject.toml": f"[tool.dagster]\n{text}"})
    spec = found(tmp_path)
    assert [(x.name, x.target.name) for x in spec.locations if x.target] == expected
    assert all(x.target and x.target.working_directory == tmp_path for x in spec.locations)
    assert spec.files == (tmp_path / "pyproject.toml",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "pyproject.toml:1:1: tool.dagster: this names no module"),
        (
            'module_nam = "a"\n',
            "pyproject.toml:2:1: tool.dagster.module_nam: unknown key module_nam",
        ),
        (
            'python_file = "a.py"\nmodule_name = "a"\n',
            "pyproject.toml:2:1: tool.dagster.python_file: ",
        ),
        (
            'module_name = "a"\nmodules = []\n',
            "pyproject.toml:3:1: tool.dagster.modules: an empty list",
        ),
        (
            'module_name = "a"\nmodules = [{type = "module", name = "b"}]\n',
            "pyproject.toml:3:1: tool.dagster: this names a module_name and modules",
        ),
        ('modules = [{type = "module"}]\n', "tool.dagster.modules[0]: the key name is missing"),
        (
            '[[tool.dagster.modules]]\nname = "a"\ntype = "modul"\n',
            'pyproject.toml:4:1: tool.dagster.modules[0].type: the type "modul" is not known; '
            "expected module, the only type there is; did you mean module?",
        ),
        (
            'code_location_name = "n"\nmodules = [{type = "module", name = "a"}, {type = "module", name = "b"}]\n',
            "pyproject.toml:2:1: tool.dagster.code_location_name: 2 modules cannot share",
        ),
        (
            'modules = [{type = "module", name = "a"}, {type = "module", name = "a"}]\n',
            "taken already",
        ),
        ("module_name = 5\n", "pyproject.toml:2:1: tool.dagster.module_name: the number 5"),
        ("module_name = 2020-01-01\n", "tool.dagster.module_name: the date 2020-01-01"),
        ('module_name = "a/b.py"\n', "is a path, not a module name"),
    ],
)
def test_what_dagster_passes_over_in_silence(tmp_path: Path, text: str, problem: str) -> None:
    write(tmp_path, {"pyproject.toml": f"[tool.dagster]\n{text}"})
    problems = refused(tmp_path)
    assert any(problem in line for line in problems), problems


# -- dg -----------------------------------------------------------------------------------------


def test_a_dg_project(tmp_path: Path) -> None:
    write(tmp_path, {"risk-project/pyproject.toml": PROJECT})
    (location,) = found(tmp_path / "risk-project").locations
    directory = tmp_path / "risk-project"
    assert location.name == "risk-project"
    assert location.target == Target(MODULE, "risk.definitions", directory)
    assert location.environment == EnvironmentSpec()


def test_a_dg_project_with_everything(tmp_path: Path) -> None:
    text = """\
        directory_type = "project"
        [project]
        root_module = "risk"
        code_location_target_module = "risk.main"
        code_location_name = "the-risk"
        image = "img"
        agent_queue = "q"
        registry_modules = ["risk.components"]
        """
    write(tmp_path, {"dg.toml": text, ".env": "A=1\n", ".venv/bin/python": ""})
    spec = found(tmp_path)
    (location,) = spec.locations
    assert location.name == "the-risk"
    assert location.target is not None
    assert location.target.name == "risk.main"
    assert location.environment.executable_path == str(tmp_path / ".venv/bin/python")
    assert location.env == {"A": "1"}
    assert location.metadata == {
        "image": "img",
        "agent_queue": "q",
        "registry_modules": ["risk.components"],
    }
    assert spec.files == (tmp_path / "dg.toml", tmp_path / ".env")


@pytest.mark.parametrize(("extra", "module"), [("", "r.defs"), ('defs_module = "r.x"\n', "r.x")])
def test_a_dg_project_that_loads_itself(tmp_path: Path, extra: str, module: str) -> None:
    write(tmp_path, {"dg.toml": f'[project]\nroot_module = "r"\nautoload_defs = true\n{extra}'})
    target = found(tmp_path).locations[0].target
    assert target == Target(AUTOLOAD, module, tmp_path)


def test_a_dg_project_names_its_interpreter_in_its_env_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pyproject.toml": PROJECT,
            ".env": "DG_PROJECT_PYTHON_EXECUTABLE=envs/py\n",
            ".venv/bin/python": "",
        },
    )
    (location,) = found(tmp_path).locations
    assert location.environment.executable_path == str(tmp_path / "envs/py")
    assert not location.env


def test_a_project_that_has_both_tables(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": DAGSTER + PROJECT, ".venv/bin/python": ""})
    (location,) = found(tmp_path).locations
    assert location.name == "team.defs"
    assert location.environment.executable_path == str(tmp_path / ".venv/bin/python")


def test_a_dg_workspace(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "dg.toml": """\
                directory_type = "workspace"
                [workspace]
                scaffold_project_options = {use_editable_dagster = true}
                [[workspace.projects]]
                path = "projects/risk"
                [[workspace.projects]]
                path = "projects/ml"
                """,
            "projects/risk/pyproject.toml": PROJECT,
            "projects/risk/.venv/bin/python": "",
            "projects/ml/dg.toml": '[project]\nroot_module = "ml"\n',
        },
    )
    spec = found(tmp_path)
    assert names(spec) == ["risk", "ml"]
    risk = spec.locations[0]
    assert risk.target == Target(MODULE, "risk.definitions", tmp_path / "projects/risk")
    assert risk.environment.executable_path == str(tmp_path / "projects/risk/.venv/bin/python")
    assert spec.files == (
        tmp_path / "dg.toml",
        tmp_path / "projects/risk/pyproject.toml",
        tmp_path / "projects/ml/dg.toml",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'directory_type = "projekt"\n',
            'dg.toml:1:1: directory_type: the directory type "projekt" is not',
        ),
        ('directory_type = "project"\n', "this names no code location; expected a table project"),
        ("[cli]\n", "this names no code location; expected a table project or workspace"),
        ("[project]\n", "dg.toml:1:1: project: the key root_module is missing"),
        ('[project]\nroot_modul = "x"\n', "dg.toml:2:1: project.root_modul: unknown key"),
        (
            '[project]\nroot_module = "x"\n[workspace]\n',
            "dg.toml:3:1: workspace: this is a project and",
        ),
        (
            'directory_type = "workspace"\n[project]\nroot_module = "x"\n[workspace]\nprojects = []\n',
            "dg.toml:2:1: project: this table is not used",
        ),
        ("[workspace]\n", "dg.toml:1:1: workspace: this workspace names no projects"),
        (
            '[[workspace.projects]]\npath = "nope"\n',
            "dg.toml:2:1: workspace.projects[0].path: the project nope does not exist",
        ),
        ('[[workspace.projects]]\npath = "empty"\n', "has no pyproject.toml or dg.toml"),
        (
            '[[workspace.projects]]\npath = "plain"\n',
            "plain/pyproject.toml: the project has no table",
        ),
        ('[[workspace.projects]]\npath = "."\n', "workspace: a workspace cannot be a project"),
        ('[[workspace.projects]]\npath = "broken"\n', "broken/dg.toml:1:1: this is not valid TOML"),
        ('[[workspace.project]]\npath = "x"\n', "dg.toml:1:1: workspace.project: unknown key"),
    ],
)
def test_mistakes_in_dg_files(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path, {"dg.toml": text, "plain/pyproject.toml": "", "broken/dg.toml": "]"})
    problems = refused(tmp_path)
    assert any(problem in line for line in problems), problems


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000,
        "[" + ".".join("a" * 3000) + "]\n",
        "project." + ".".join("a" * 300) + " = 1\n",
        "a = " + "9" * 10_000,
        'project = "\\u0000"',
        "project = 1979-05-27T07:32:00Z",
        'a = """\n[tool.dagster]\n"""\n[[x]]\n',
        "",
    ],
)
def test_hostile_toml(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"dg.toml": text})
    assert refused(tmp_path)


def test_multi_line_texts_do_not_mislead_the_search_for_lines(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pyproject.toml": 'x = """\n[tool.dagster]\nmodule_name = 1\n"""\n[tool.dagster]\nmodule_name = 1\n'
        },
    )
    (problem,) = refused(tmp_path)
    assert problem.startswith("pyproject.toml:6:1: tool.dagster.module_name:")


# -- dagster_cloud.yaml -------------------------------------------------------------------------


def test_a_cloud_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "dagster_cloud.yaml": """\
                defaults:
                  image: base
                  container_context: {k8s: {env_vars: [A=1], namespace: n}}
                  build: {registry: reg}
                locations:
                  - location_name: one
                    code_source: {python_file: defs.py}
                    build: {directory: ./one}
                    working_directory: src
                    executable_path: venv/bin/python
                    attribute: defs
                    container_context: {k8s: {env_vars: [B=2]}}
                  - location_name: two
                    code_source: {module_name: two.defs}
                    image: other
                    agent_queue: q
                    git: {commit_hash: abc}
                    pex_metadata: {pex_tag: t}
                  - {location_name: three, code_source: {package_name: p}}
                  - {location_name: four, code_source: {autoload_defs_module_name: a}}
                """
        },
    )
    one, two, three, four = found(tmp_path).locations
    assert one.target == Target(FILE, str(tmp_path / "one/defs.py"), tmp_path / "one/src", "defs")
    assert one.environment.executable_path == str(tmp_path / "one/venv/bin/python")
    assert one.metadata == {
        "image": "base",
        "registry": "reg",
        "container_context": {"k8s": {"env_vars": ["A=1", "B=2"], "namespace": "n"}},
    }
    assert two.name == "two"
    assert two.target == Target(MODULE, "two.defs", tmp_path)
    assert two.metadata["image"] == "other"
    assert two.metadata["agent_queue"] == "q"
    assert two.metadata["git"] == {"commit_hash": "abc"}
    assert three.target == Target(PACKAGE, "p", tmp_path)
    assert four.target == Target(AUTOLOAD, "a", tmp_path)


def test_a_cloud_file_is_known_by_its_content(tmp_path: Path) -> None:
    write(tmp_path, {"x.yaml": CLOUD, "dagster_cloud.yaml": WORKSPACE})
    assert names(found(tmp_path, Selection(files=(Path("x.yaml"),)))) == ["c"]
    assert names(found(tmp_path)) == ["w.py"]


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ("{code_source: {module_name: m}}", "locations[0]: the key location_name is missing"),
        ("{location_name: a}", "locations[0]: the key code_source is missing"),
        (
            "{location_name: a, code_source: {module_name: m, python_file: f}}",
            "locations[0].code_source: python_file is a second code source beside module_name",
        ),
        (
            "{location_name: a, code_source: {}}",
            "locations[0].code_source: this names no code source",
        ),
        (
            "{location_name: a, code_source: {module_name: m}, env: {A: b}}",
            "locations[0].env: env does not belong here: a cloud file has no such key",
        ),
        (
            "{location_name: a, code_source: {autoload_defs_module_name: m}, attribute: x}",
            "locations[0].attribute: attribute cannot stand beside",
        ),
        ("{location_name: '{{ name }}', code_source: {module_name: m}}", "a template"),
        ("{location_name: a/b, code_source: {module_name: m}}", "holds a slash"),
    ],
)
def test_mistakes_in_cloud_files(tmp_path: Path, item: str, problem: str) -> None:
    write(tmp_path, {"dagster_cloud.yaml": f"locations:\n- {item}\n"})
    problems = refused(tmp_path)
    assert len(problems) == 1
    assert problem in problems[0]
    assert problems[0].startswith("dagster_cloud.yaml:2:")


def test_duplicate_names_in_a_cloud_file(tmp_path: Path) -> None:
    item = "{location_name: a, code_source: {module_name: m}}"
    write(tmp_path, {"dagster_cloud.yaml": f"locations:\n- {item}\n- {item}\n"})
    (problem,) = refused(tmp_path)
    assert "taken already" in problem
