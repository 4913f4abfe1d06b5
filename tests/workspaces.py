"""What the tests of workspace files share: reading them as they are, found and refused."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.specs import LocationSpec, TargetKind, WorkspaceSpec
from supervisor.workspace_files import Selection, identify, resolve

FILE, MODULE = TargetKind.PYTHON_FILE, TargetKind.PYTHON_MODULE
PACKAGE, AUTOLOAD = TargetKind.PYTHON_PACKAGE, TargetKind.AUTOLOAD

ENVIRON = {"HOME": "/home/ops", "PORT": "4266", "MODULE": "team.defs", "EMPTY": "", "SECONDS": "2m"}
MISTAKEN_ENVIRON = {"HOME": "/home/ops", "TEAM_NAME": "x", "WORD": "secret-word", "EMPTY": ""}

WORKSPACE = "load_from: [python_file: w.py]\n"
DAGSTER = '[tool.dagster]\nmodule_name = "team.defs"\n'
PROJECT = '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "risk"\n'
CLOUD = "locations: [{location_name: c, code_source: {module_name: m}}]\n"


def read(
    directory: Path, *texts: str, names: tuple[str, ...] = ("workspace.yaml", "b.yaml", "c.yaml")
) -> WorkspaceSpec:
    """The workspace of one or several files in ``directory``."""
    files = []
    for name, text in zip(names, texts, strict=False):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        files.append(Path(name))
    selection = Selection(files=tuple(files))
    spec = resolve(selection, cwd=directory, environ=ENVIRON)
    assert identify(selection, cwd=directory) == (spec.directory, spec.key)
    return spec


def only(spec: WorkspaceSpec) -> LocationSpec:
    (location,) = spec.locations
    return location


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


def problems(
    directory: Path, *texts: str | bytes, names: tuple[str, ...] = ("w.yaml", "v.yaml")
) -> tuple[ConfigurationProblem, ...]:
    for name, text in zip(names, texts, strict=False):
        data = dedent(text).encode() if isinstance(text, str) else text
        (directory / name).write_bytes(data)
    files = tuple(Path(name) for name in names[: len(texts)])
    with pytest.raises(ConfigurationError) as caught:
        resolve(Selection(files=files), cwd=directory, environ=MISTAKEN_ENVIRON)
    for problem in caught.value.problems:
        assert problem.position.file.startswith(str(directory)), problem
        assert len(str(problem)) < 700, problem
    return caught.value.problems


def item(text: str) -> str:
    """One item of load_from; its selector stands in line 2, column 3."""
    return f"load_from:\n- {text}\n"
