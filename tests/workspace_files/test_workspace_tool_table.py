"""``[tool.supervise]`` and its variable: whether the environments of projects are made."""

from __future__ import annotations

from pathlib import Path

import pytest
from workspaces import PROJECT, only, refused

from supervisor.errors import ConfigurationError
from supervisor.run_settings import RunSettings
from supervisor.specs import EnvironmentSpec, WorkspaceSpec
from supervisor.workspace_files import Selection, resolve
from supervisor.workspace_files.effective import location_settings

DECLARED = '[project]\nname = "risk"\nversion = "1"\n'
MANAGED = '[tool.supervise]\nenvironments = "managed"\n'
FORMS = {
    "workspace.yaml": "load_from: [{python_module: team}]\n",
    "dagster_cloud.yaml": "locations: [{location_name: team, code_source: {module_name: team}}]\n",
    "dg.toml": '[project]\nroot_module = "team"\n',
}


def found(cwd: Path, **environ: str) -> WorkspaceSpec:
    return resolve(Selection(), cwd=cwd, environ={"HOME": "/home/ops", **environ})


@pytest.mark.parametrize("name", FORMS)
def test_the_table_beside_any_file_has_the_project_made(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FORMS[name])
    (tmp_path / "pyproject.toml").write_text(DECLARED)
    assert only(found(tmp_path)).environment.project is None
    assert tmp_path / "pyproject.toml" in found(tmp_path).awaited
    (tmp_path / "pyproject.toml").write_text(DECLARED + MANAGED)
    for environ in ({}, {"VIRTUAL_ENV": "/somewhere"}):
        spec = found(tmp_path, **environ)
        assert only(spec).environment == EnvironmentSpec(project=tmp_path)
        assert only(spec).environment.managed
        assert tmp_path / "pyproject.toml" in spec.files
        assert tmp_path / ".venv" / "bin" / "python" in spec.awaited


@pytest.mark.parametrize("form", ["[tool.dagster]\nmodule_name = 'team'\n", PROJECT])
def test_it_stands_beside_dagsters_own_tables(tmp_path: Path, form: str) -> None:
    (tmp_path / "pyproject.toml").write_text(DECLARED + form + MANAGED)
    assert only(found(tmp_path)).environment == EnvironmentSpec(project=tmp_path)


def test_a_virtualenv_that_is_there_goes_before_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(DECLARED + PROJECT + MANAGED)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert only(found(tmp_path)).environment.executable_path == str(python)


def test_nothing_is_made_from_a_directory_that_declares_nothing(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT + MANAGED)
    assert only(found(tmp_path)).environment == EnvironmentSpec(lacks=tmp_path / ".venv")


def test_the_variable_goes_before_a_projects_table_and_that_before_the_workspaces(
    tmp_path: Path,
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(DECLARED + PROJECT)
    (tmp_path / "dg.toml").write_text('[workspace]\nprojects = [{path = "one"}, {path = "two"}]\n')
    (tmp_path / "pyproject.toml").write_text(MANAGED)

    def made(**environ: str) -> list[str]:
        return [one.name for one in found(tmp_path, **environ).locations if one.environment.managed]

    assert made() == ["one", "two"]
    with (tmp_path / "two" / "pyproject.toml").open("a") as file:
        file.write('[tool.supervise]\nenvironments = "existing"\n')
    assert made() == ["one"]
    assert made(SUPERVISE_ENVIRONMENTS="managed") == ["one", "two"]
    assert made(SUPERVISE_ENVIRONMENTS="existing") == []
    assert made(SUPERVISE_ENVIRONMENTS="") == ["one"]


def test_config_says_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(DECLARED + MANAGED + PROJECT)
    spec = found(tmp_path)
    shown = {one.key: one for one in location_settings(only(spec), RunSettings())}
    assert shown["environment.project"].origin == "file"
    assert str(shown["environment.project"].position).endswith("pyproject.toml:5:1")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            '[tool.supervise]\nenvironments = "manged"\n',
            'pyproject.toml:9:1: tool.supervise.environments: the text "manged" does not fit here; '
            "expected existing or managed; did you mean managed?",
        ),
        ("[tool.supervise]\nenviroments = 1\n", "unknown key enviroments"),
        ("[tool.supervise]\nenvironments = true\n", "expected existing or managed"),
        ("[tool]\nsupervise = 1\n", "expected a table with environments"),
    ],
)
def test_what_is_refused(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "pyproject.toml").write_text(DECLARED + PROJECT + table)
    assert said in "\n".join(refused(tmp_path))


def test_a_value_of_the_variable_that_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(DECLARED + PROJECT)
    with pytest.raises(ConfigurationError, match="variable SUPERVISE_ENVIRONMENTS") as caught:
        found(tmp_path, SUPERVISE_ENVIRONMENTS="manage")
    (problem,) = caught.value.problems
    assert problem.suggestion == "managed"


def test_a_file_that_is_no_toml_is_told_where_it_has_the_table(tmp_path: Path) -> None:
    (tmp_path / "dg.toml").write_text(FORMS["dg.toml"])
    (tmp_path / "pyproject.toml").write_text("[project\n")
    assert only(found(tmp_path)).environment.project is None
    (tmp_path / "pyproject.toml").write_text("[tool.supervise]\nenvironments = managed\n")
    (problem,) = refused(tmp_path)
    assert problem.startswith("pyproject.toml:2:16: this is not valid TOML")
