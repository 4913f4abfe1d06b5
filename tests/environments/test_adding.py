"""The commands that make a team's own environment and add a package to it: ones that work there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envs import EnvError, adding_command, making_command, probe


def python_of(prefix: Path, *options: str) -> Path:
    """The interpreter of a new virtualenv."""
    command = [sys.executable, "-m", "virtualenv", "--no-periodic-update", "--quiet", *options]
    subprocess.run([*command, prefix], check=True, timeout=120)
    return prefix / "bin" / "python"


def test_with_pip(tmp_path: Path) -> None:
    python = python_of(tmp_path / "env")
    assert adding_command(python, tmp_path / "env") == f"{python} -m pip install"


def test_without_pip_as_uv_makes_them(tmp_path: Path) -> None:
    python = python_of(tmp_path / "my env", "--no-seed")
    assert adding_command(python, tmp_path / "my env") == f"uv pip install --python '{python}'"


@pytest.mark.parametrize(
    ("lock", "expected"),
    [
        ("uv.lock", "uv add --directory {}"),
        ("poetry.lock", "poetry --directory {} add"),
        ("pdm.lock", "pdm add --project {}"),
    ],
)
def test_of_a_project_with_a_lock(tmp_path: Path, lock: str, expected: str) -> None:
    (tmp_path / lock).touch()
    python = tmp_path / ".venv" / "bin" / "python"
    assert adding_command(python, tmp_path / ".venv") == expected.format(tmp_path)


def test_what_the_operating_system_owns(tmp_path: Path) -> None:
    (tmp_path / "lib/python3.11").mkdir(parents=True)
    (tmp_path / "lib/python3.11/EXTERNALLY-MANAGED").touch()
    assert adding_command(tmp_path / "bin/python3", tmp_path) == ""


BY_HAND = "python3 -m venv .venv && .venv/bin/pip install "


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"uv.lock": "", "pyproject.toml": "[project]\n"}, "uv sync"),
        ({"poetry.lock": ""}, "POETRY_VIRTUALENVS_IN_PROJECT=1 poetry install"),
        ({"pdm.lock": ""}, "pdm install"),
        ({"pyproject.toml": "[project]\n", "requirements.txt": ""}, BY_HAND + "-e ."),
        ({"pyproject.toml": "[tool.ruff]\n", "setup.py": ""}, BY_HAND + "-e ."),
        ({"pyproject.toml": "[tool.dagster]\n", "requirements.txt": ""}, BY_HAND + "-r requirements.txt"),
        ({"pyproject.toml": "[tool.ruff]\n"}, ""),
        ({}, ""),
    ],
)  # fmt: skip
def test_how_a_project_gets_its_virtualenv(
    tmp_path: Path, files: dict[str, str], expected: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert making_command(tmp_path / ".venv") == expected


def test_an_interpreter_in_a_virtualenv_that_was_not_made(tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()
    with pytest.raises(EnvError) as raised:
        probe(tmp_path / "env" / "bin" / "python", environ={})
    assert str(raised.value.hint).startswith(
        f"its virtualenv was not made: run `python3 -m venv env && env/bin/pip install -e .` in {tmp_path}; or "
    )
