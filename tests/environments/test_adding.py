"""The command that adds a package to a team's own environment: one that works there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envs import adding_command


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
