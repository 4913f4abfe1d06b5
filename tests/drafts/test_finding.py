"""The draft of a workspace file: what is found, its environment, and that it reads as what was found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from drafting import ENVIRON, read, tree

from supervisor.drafts.draft import Draft, DraftEnvironment, DraftLocation
from supervisor.drafts.finding import draft_of
from supervisor.specs import LocationSpec
from supervisor.workspace_files import Selection, resolve

DEFS = "from dagster import Definitions\ndefs = Definitions()\n"
PYPROJECT = '[project]\nname = "p"\nversion = "1"\n'
BUILT = PYPROJECT + "[build-system]\nrequires = []\n"


def only(root: Path) -> LocationSpec:
    spec = read(root, draft_of(root, ENVIRON))
    assert len(spec.locations) == 1, spec.locations
    return spec.locations[0]


def test_where_nothing_is_found_it_says_what_was_looked_for(tmp_path: Path) -> None:
    tree(tmp_path, {"team/a.py": "from other import job\n@job\ndef nightly(): ...\n"})
    draft = draft_of(tmp_path, ENVIRON)
    assert draft.locations == []
    (note,) = draft.notes
    assert "no `defs = Definitions(…)`, no @repository, no @job or @asset and no dg project" in note


@pytest.mark.parametrize(
    "text",
    [
        DEFS,
        "defs: dg.Definitions = dg.Definitions(jobs=[])\n",
        "@definitions\ndef defs(): ...\n",
        "@dg.repository(name='x')\ndef repo(): ...\n",
        "from runner_shim import Definitions\ndefs = Definitions(jobs=[])\n",
        "# /// script\n# dependencies = []\n# ///\nimport dagster as dg\n",
    ],
)
def test_files_that_hold_definitions(tmp_path: Path, text: str) -> None:
    tree(tmp_path, {"risk/a.py": text, "risk/b.py": "def f(): return Definitions()\n"})
    found = only(tmp_path)
    assert (found.name, found.target and found.target.name) == ("a", str(tmp_path / "risk/a.py"))


@pytest.mark.parametrize(
    "text",
    [
        "from runner_shim import job, op\n\n@job\ndef nightly(): ...\n",
        "import dagster as dg\n\n@dg.asset\ndef prices(): ...\n",
        "from dagster import job\n\nnightly = define_asset_job('n')\n",
        "from runner_shim import *\n\n@schedule('@daily', job=j)\ndef daily(): ...\n",
    ],
)
def test_modules_of_jobs_and_assets_where_nothing_names_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "jobs.py").write_text(text)
    (found,) = draft_of(tmp_path, ENVIRON).locations
    assert found.keys["relative_path"] == "team/jobs.py"
    (tmp_path / "team" / "defs.py").write_text("from jobs import nightly\ndefs = Definitions()\n")
    (found,) = draft_of(tmp_path, ENVIRON).locations
    assert found.keys["relative_path"] == "team/defs.py"


@pytest.mark.parametrize("folder", [".venv/lib", "tests", "node_modules/x", "own", "a/b/c/d/e/f"])
def test_where_it_does_not_look(tmp_path: Path, folder: str) -> None:
    tree(tmp_path, {f"{folder}/defs.py": DEFS, "own/pyvenv.cfg": ""})
    draft = draft_of(tmp_path, ENVIRON)
    assert (draft.locations, len(draft.notes)) == ([], 1)
    assert read(tmp_path, draft).locations == ()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({".venv/bin/python": ""}, {"executable_path": "{}/risk/.venv/bin/python"}),
        ({"requirements.txt": "x"}, {"requirements_file": "{}/risk/requirements.txt"}),
        ({"pyproject.toml": BUILT, "requirements.txt": "x"}, {"project": "{}/risk"}),
        ({"setup.py": ""}, {"project": "{}/risk"}),
        ({"pyproject.toml": "[tool.ruff]\n", "../venv/bin/python": ""}, {"executable_path": "{}/venv/bin/python"}),
        ({"requirements.txt": "x", ".python-version": "3.9\n"}, {"python": "3.9"}),
        ({}, {"executable_path": None, "project": None}),
    ],
)  # fmt: skip
def test_the_environment_nearest_above(
    tmp_path: Path, files: Mapping[str, str], expected: Mapping[str, str | None]
) -> None:
    tree(tmp_path, {"risk/defs.py": DEFS, **{f"risk/{name}": text for name, text in files.items()}})
    environment = only(tmp_path).environment
    for key, value in expected.items():
        found = getattr(environment, key)
        assert (None if found is None else str(found)) == (value and value.format(tmp_path))


def test_a_package_is_a_module_in_its_own_root(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {"ml/pyproject.toml": BUILT, "ml/src/ml/__init__.py": "", "ml/src/ml/definitions.py": DEFS},
    )
    found = only(tmp_path)
    assert found.target is not None
    assert (found.name, found.form, found.target.name) == ("ml", "python_module", "ml.definitions")
    assert found.target.working_directory == tmp_path / "ml" / "src"
    assert found.environment.name == "ml"


def test_what_is_imported_from_beside_it_is_found(tmp_path: Path) -> None:
    tree(tmp_path, {"risk/defs.py": "import helpers\n" + DEFS, "risk/helpers.py": ""})
    found = only(tmp_path)
    assert found.target is not None
    assert found.target.working_directory == tmp_path / "risk"


def test_projects_of_dagster_are_taken_as_their_reader_has_them(tmp_path: Path) -> None:
    declared = '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "pkg"\n'
    tree(
        tmp_path,
        {
            "team/pyproject.toml": BUILT + declared,
            "team/.venv/bin/python": "",
            "team/pkg/definitions.py": DEFS,
            "old/pyproject.toml": '[tool.dagster]\nmodule_name = "old.defs"\n',
            "old/defs.py": DEFS,
            "broken/pyproject.toml": "[tool.dagster]\nmodule_name = 1\n",
        },
    )
    draft = draft_of(tmp_path, ENVIRON)
    spec = read(tmp_path, draft)
    found = {one.name: one for one in spec.locations}
    assert sorted(found) == ["old.defs", "team"]
    team = found["team"]
    assert team.target is not None
    assert (team.target.name, team.target.working_directory) == (
        "pkg.definitions",
        tmp_path / "team",
    )
    assert team.environment.executable_path == f"{tmp_path}/team/.venv/bin/python"
    assert [note.split(" was")[0] for note in draft.notes] == ["broken/pyproject.toml"]


def test_names_differ_and_environments_are_shared(tmp_path: Path) -> None:
    tree(tmp_path, {"a/defs.py": DEFS, "b/a/defs.py": DEFS, "requirements.txt": "x"})
    spec = read(tmp_path, draft_of(tmp_path, ENVIRON))
    assert [one.name for one in spec.locations] == ["a", "b-a"]
    assert len(spec.environments) == 1


@pytest.mark.parametrize(
    "text",
    ["yes", "1", "1e3", "a: b", "- x", "'", '"', "é", "null", "a #b", "{x}", "~", "a${B}", "$${B}"],
)
def test_every_text_reads_back(tmp_path: Path, text: str) -> None:
    environment = DraftEnvironment("e", {"requirements": ["pandas<3"], "python": "3.10"})
    keys = {"relative_path": "a.py", "env": {"A": text, "B": {"env": "HOME"}}, "environment": "e"}
    spec = read(tmp_path, Draft([environment], [DraftLocation("a", "python_file", keys)]))
    assert spec.locations[0].env == {"A": text, "B": "/home/ops"}
    assert spec.environments[0].python == "3.10"


def test_a_script_without_definitions_is_not_run(tmp_path: Path) -> None:
    tree(tmp_path, {"migrate.py": "# /// script\n# dependencies = []\n# ///\nimport requests\n"})
    assert draft_of(tmp_path, ENVIRON).locations == []


@pytest.mark.parametrize("name", ["workspace.yaml", "dagster_cloud.yaml"])
def test_a_workspace_of_dagster_gets_environments(tmp_path: Path, name: str) -> None:
    listed = {
        "workspace.yaml": "load_from:\n"
        "  - python_file: {relative_path: src/a.py, working_directory: src}\n"
        "  - python_module: {module_name: ml, executable_path: ml/.venv/bin/python}\n"
        "  - grpc_server: {host: elsewhere, port: 4000}\n",
        "dagster_cloud.yaml": "locations:\n"
        "  - {location_name: a.py, code_source: {python_file: src/a.py}, working_directory: src}\n"
        "  - {location_name: ml, code_source: {module_name: ml}}\n",
    }
    files = {"src/a.py": DEFS, "src/b.py": DEFS, "requirements.txt": "x", "ml/setup.py": ""}
    tree(tmp_path, {**files, name: listed[name]})
    draft = draft_of(tmp_path, ENVIRON)
    spec = read(tmp_path, draft)
    assert [one.name for one in spec.locations] == ["a.py", "ml"]
    first, second = (one.environment for one in spec.locations)
    assert first.requirements_file == tmp_path / "requirements.txt"
    assert second.project == tmp_path / "ml"
    if name == "workspace.yaml":
        assert any("is served elsewhere" in note for note in draft.notes)


def test_environments_that_a_workspace_says_are_kept(tmp_path: Path) -> None:
    listed = """
environments:
  risk: {python: "3.8", requirements: ["pandas<2", ./shared]}
  ml: {project: ./ml, extras: [gpu], groups: [dev]}
load_from:
  - python_file: {relative_path: a.py, location_name: a, environment: risk}
  - python_file: {relative_path: b.py, location_name: b, environment: risk}
  - python_module: {module_name: ml, environment: ml}
"""
    ml = PYPROJECT + "[project.optional-dependencies]\ngpu = []\n[dependency-groups]\ndev = []\n"
    code = {"a.py": DEFS, "b.py": DEFS, "ml/__init__.py": DEFS, "ml/pyproject.toml": ml}
    tree(tmp_path, {"workspace.yaml": listed, **code})
    told = read(tmp_path, draft_of(tmp_path, ENVIRON))
    given = resolve(Selection(files=(tmp_path / "workspace.yaml",)), cwd=tmp_path, environ=ENVIRON)
    assert [one.environment for one in told.locations] == [
        one.environment for one in given.locations
    ]


def test_dagster_is_a_requirement_where_nothing_says_one(tmp_path: Path) -> None:
    text = "import dagster as dg\nfrom dagster_aws.s3 import x\nfrom dagsters import y\n" + DEFS
    tree(tmp_path, {"risk/defs.py": text})
    active = draft_of(tmp_path, {**ENVIRON, "VIRTUAL_ENV": "/venv"})
    assert active.environments == []
    assert only(tmp_path).environment.requirements == ("dagster", "dagster-aws")


def test_a_workspace_of_servers_elsewhere_is_no_reason_to_stop_looking(tmp_path: Path) -> None:
    servers = "load_from:\n  - grpc_server: {host: a, port: 4000}\n"
    tree(tmp_path, {"workspace.yaml": servers, "risk/defs.py": DEFS})
    assert [one.name for one in draft_of(tmp_path, ENVIRON).locations] == ["risk"]


def test_a_project_that_cannot_be_read_is_noted(tmp_path: Path) -> None:
    tree(tmp_path, {"p/pyproject.toml": "[project]\nname = \n", "p/defs.py": DEFS})
    assert "pyproject.toml cannot be read" in draft_of(tmp_path, ENVIRON).text()


def test_names_that_are_no_text_are_passed_over(tmp_path: Path) -> None:
    place = os.fsencode(tmp_path)
    os.mkdir(place + b"/a\xff")  # noqa: PTH102 - no path of pathlib's is bytes
    for name in (b"/a\xff/defs.py", b"/b\xff.py"):
        with open(place + name, "w") as stream:  # noqa: PTH123
            stream.write(DEFS)
    tree(tmp_path, {"${x}/defs.py": DEFS})
    (found,) = read(tmp_path, draft_of(tmp_path, ENVIRON)).locations
    assert found.name == "${x}"
