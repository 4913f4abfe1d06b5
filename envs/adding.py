"""How a team makes an environment that is its own, and adds a package to it.

Owns the commands, told from the files that are there: the lock of the project whose virtualenv it is,
else what declares the project, or whether the environment has pip. Changes nothing and starts no process.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from .installed import package_directories

__all__ = ["adding_command", "making_command"]

# The lock of a project, and the command that adds to it: ``%s`` is its directory.
_PROJECTS = (
    ("uv.lock", "uv add --directory %s"),
    ("poetry.lock", "poetry --directory %s add"),
    ("pdm.lock", "pdm add --project %s"),
)
# What a project has, and the command that makes its virtualenv, to be run in its directory.
_MAKING = (
    ("uv.lock", "uv sync"),
    ("poetry.lock", "POETRY_VIRTUALENVS_IN_PROJECT=1 poetry install"),
    ("pdm.lock", "pdm install"),
    ("pyproject.toml", "{venv} && {pip} install -e ."),
    ("setup.py", "{venv} && {pip} install -e ."),
    ("requirements.txt", "{venv} && {pip} install -r requirements.txt"),
)
_PROJECT = re.compile(r"^\[(?:project|tool\.poetry)\]", re.MULTILINE)


def making_command(prefix: Path) -> str:
    """The command that makes the virtualenv at ``prefix`` when it is run in the directory of its project,
    which is the one above; "" where that has nothing that declares one."""
    for name, command in _MAKING:
        path = prefix.parent / name
        if path.is_file() and not (name == "pyproject.toml" and not _declares(path)):
            venv = f"python3 -m venv {shlex.quote(prefix.name)}"
            return command.format(venv=venv, pip=f"{shlex.quote(prefix.name)}/bin/pip")
    return ""


def _declares(path: Path) -> bool:
    """False for a pyproject.toml that only configures tools."""
    try:
        return bool(_PROJECT.search(path.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return False


def adding_command(executable: Path, prefix: Path) -> str:
    """The command, to which the package is to be added; "" where the operating system owns it.

    ``executable`` is the interpreter of the environment at ``prefix``, which we did not make.
    """
    if prefix.name in (".venv", "venv"):
        for lock, command in _PROJECTS:
            if (prefix.parent / lock).is_file():
                return command % shlex.quote(str(prefix.parent))
    python = shlex.quote(str(executable))
    if not (prefix / "pyvenv.cfg").is_file() and any(
        prefix.glob("lib/python3*/EXTERNALLY-MANAGED")
    ):
        return ""  # PEP 668
    if any((Path(one) / "pip").is_dir() for one in package_directories(prefix)):
        return f"{python} -m pip install"
    return f"uv pip install --python {python}"
