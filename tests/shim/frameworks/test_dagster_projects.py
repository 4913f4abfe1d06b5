"""Which files of a dbt project a reload waits for, and what is said of a manifest that is missing."""

from __future__ import annotations

import os
import sys
import types

import pytest

from runner_shim import imported
from runner_shim.frameworks.dagster.projects import project_files, remedy


class DbtProject:
    """As far as dagster-dbt's own is looked at."""

    def __init__(self, folder):
        self.project_dir = folder
        self.manifest_path = folder / "target" / "manifest.json"


class DagsterDbtManifestNotFoundError(Exception):
    """As dagster-dbt's own is called."""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dagster_dbt", types.ModuleType("dagster_dbt"))
    for name in ("dbt_project.yml", "models/a.sql", "target/run/a.sql", "target/manifest.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = DbtProject(tmp_path)
    module = types.ModuleType("team_of_dbt")
    module.__file__ = str(tmp_path / "defs.py")
    module.project = found
    monkeypatch.setitem(sys.modules, "team_of_dbt", module)
    monkeypatch.setitem(sys.modules, imported.MARK, None)
    imported.mark()
    return found


def repository(*assets):
    """One with these definitions of assets."""
    return types.SimpleNamespace(assets_defs_by_key=dict(enumerate(assets)))


def test_a_manifest_that_was_there_is_waited_for(project):
    os.utime(project.manifest_path, (1, 1))
    assert project_files(repository()) == [str(project.manifest_path)]
    project.manifest_path.unlink()
    assert project_files(repository()) == [str(project.manifest_path)]  # it may come


def test_of_one_that_the_load_has_made_the_sources_count(project):
    newer = imported.began() + 1
    os.utime(project.manifest_path, (newer, newer))
    root = project.project_dir
    assert project_files(repository()) == [
        str(root / "dbt_project.yml"),
        str(root / "models" / "a.sql"),
    ]


def test_a_project_is_found_in_the_metadata_of_its_assets(project, monkeypatch):
    monkeypatch.delitem(sys.modules, "team_of_dbt")
    os.utime(project.manifest_path, (1, 1))
    metadata = {"key": {"dagster_dbt/project": project, "x": 1}, "other": None}
    asset = types.SimpleNamespace(metadata_by_key=metadata)
    assert project_files(repository(asset, object())) == [str(project.manifest_path)]


def test_of_a_component_the_project_counts_that_it_was_told_of(project, monkeypatch):
    monkeypatch.delitem(sys.modules, "team_of_dbt")
    module = types.ModuleType("dagster.components")
    module.Component = object
    monkeypatch.setitem(sys.modules, "dagster.components", module)
    os.utime(project.manifest_path, (1, 1))
    copy = DbtProject(project.project_dir / "defs" / ".local_defs_state" / "key" / "project")
    metadata = {"key": {"dagster_dbt/project": copy}}
    found = repository(types.SimpleNamespace(metadata_by_key=metadata))
    component = types.SimpleNamespace(dbt_project=project)
    tree = types.SimpleNamespace(get_all_components=lambda of_type: [component, object()])
    found.get_component_tree = lambda: tree
    assert project_files(found) == [str(project.manifest_path)]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (DagsterDbtManifestNotFoundError("x"), True),
        (FileNotFoundError(2, "no such file", "/p/target/manifest.json"), True),
        (FileNotFoundError(2, "no such file", "/p/other.json"), False),
        (ValueError("manifest.json"), False),
    ],
)
def test_what_is_said_of_a_missing_manifest(error, told, monkeypatch):
    monkeypatch.setenv("DAGSTER_IS_DEV_CLI", "1")
    hint = remedy(error)
    assert (hint is not None) is told
    if told:
        assert "`dbt parse`" in hint
        assert "prepare_if_dev()" in hint
        monkeypatch.setenv("DAGSTER_IS_DEV_CLI", "")
        assert "DAGSTER_IS_DEV_CLI is empty here" in remedy(error)


class DagsterDbtCliRuntimeError(Exception):
    pass


def test_packages_of_dbt_that_are_not_installed():
    said = 'only 0 package(s) installed in dbt_packages. Run "dbt deps" to install package dependencies.'
    assert remedy(DagsterDbtCliRuntimeError(said)) == (
        "install its packages: run `dbt deps` in the directory of the dbt project"
    )
    assert remedy(DagsterDbtCliRuntimeError("syntax error")) is None
