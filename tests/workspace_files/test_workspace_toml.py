"""Workspaces in TOML: [tool.dagster] in pyproject.toml, and projects and workspaces of dg."""

from __future__ import annotations

from pathlib import Path

import pytest
from loading import write
from workspaces import AUTOLOAD, DAGSTER, MODULE, PROJECT, found, names, only, refused

from supervisor.specs import EnvironmentSpec, Target
from supervisor.workspace_files import Selection, resolve

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
            'code_location = "n"\nmodule_name = "a"\n',
            "pyproject.toml:2:1: tool.dagster.code_location: unknown key code_location; expected "
            "module_name, modules or code_location_name; did you mean code_location_name?",
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
def test_mistakes_that_dagster_passes_over_in_silence(
    tmp_path: Path, text: str, problem: str
) -> None:
    write(tmp_path, {"pyproject.toml": f"[tool.dagster]\n{text}"})
    problems = refused(tmp_path)
    assert any(problem in line for line in problems), problems


def test_keys_that_dagster_ignores_are_warned_of(tmp_path: Path) -> None:
    text = '[tool.dagster]\nproject_name = "p"\nmodule_name = "a"\nworking_directory = "src"\n'
    write(tmp_path, {"pyproject.toml": text})
    spec = found(tmp_path)
    assert names(spec) == ["a"]
    first, second = spec.warnings
    assert first == (
        f"{tmp_path}/pyproject.toml:2:1: tool.dagster.project_name is ignored, as dagster does: "
        "it knows module_name, modules and code_location_name"
    )
    assert (
        "working_directory is ignored, as dagster does: [tool.dagster] knows modules only" in second
    )


# -- dg -----------------------------------------------------------------------------------------


def test_a_dg_project(tmp_path: Path) -> None:
    write(tmp_path, {"risk-project/pyproject.toml": PROJECT})
    (location,) = found(tmp_path / "risk-project").locations
    directory = tmp_path / "risk-project"
    assert location.name == "risk-project"
    assert location.target == Target(MODULE, "risk.definitions", directory)
    assert location.environment == EnvironmentSpec(lacks=directory / ".venv")


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
        python_environment = "active"
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


def test_a_project_without_a_virtualenv_waits_for_one(tmp_path: Path) -> None:
    write(tmp_path, {"pyproject.toml": PROJECT})
    spec = found(tmp_path)
    assert only(spec).environment.executable_path is None
    assert only(spec).environment.lacks == tmp_path / ".venv"
    assert tmp_path / ".venv/bin/python" in spec.awaited
    write(tmp_path, {".venv/bin/python": ""})
    spec = found(tmp_path)
    assert only(spec).environment.executable_path == str(tmp_path / ".venv/bin/python")
    assert only(spec).environment.lacks is None


FORMS = {
    "workspace.yaml": "load_from: [{python_module: team}]\n",
    "pyproject.toml": '[tool.dagster]\nmodule_name = "team"\n',
    "dagster_cloud.yaml": "locations: [{location_name: team, code_source: {module_name: team}}]\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_the_virtualenv_beside_a_workspace_is_its_environment(tmp_path: Path, name: str) -> None:
    write(tmp_path, {name: FORMS[name]})
    spec = found(tmp_path)
    lacks = tmp_path / ".venv" if name == "pyproject.toml" else None
    assert only(spec).environment == EnvironmentSpec(lacks=lacks)
    assert tmp_path / ".venv/bin/python" in spec.awaited
    write(tmp_path, {"requirements.txt": ""})
    assert only(found(tmp_path)).environment.lacks == tmp_path / ".venv"
    write(tmp_path, {".venv/bin/python": ""})
    own = str(tmp_path / ".venv/bin/python")
    assert only(found(tmp_path)).environment.executable_path == own
    active = resolve(Selection(), cwd=tmp_path, environ={"VIRTUAL_ENV": "/somewhere"})
    assert only(active).environment == EnvironmentSpec()


def test_the_virtualenv_where_one_stands_is_that_of_targets_by_flag(tmp_path: Path) -> None:
    write(tmp_path, {".venv/bin/python": "", "a.py": ""})
    spec = found(tmp_path, Selection(python_files=(Path("a.py"),)))
    assert only(spec).environment.executable_path == str(tmp_path / ".venv/bin/python")


def test_keys_of_a_dg_table_that_dagster_ignores_are_warnings(tmp_path: Path) -> None:
    text = (
        'directory_type = "project"\nexperimental = true\n'
        '[project]\nroot_module = "risk"\nplugin_modules = ["b"]\n'
    )
    write(tmp_path, {"dg.toml": text})
    spec = found(tmp_path)
    assert only(spec).name == tmp_path.name
    experimental, plugins = spec.warnings
    assert "dg.toml:2:1: experimental is ignored, as dagster does" in experimental
    assert "dg.toml:5:1: project.plugin_modules is ignored" in plugins
