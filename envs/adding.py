"""How a team adds a package to an environment that is its own.

Owns the command, told from the files that are there: the lock of the project whose virtualenv it is,
else whether it has pip. Changes nothing and starts no process.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from .installed import package_directories

__all__ = ["adding_command"]

# The lock of a project, and the command that adds to it: ``%s`` is its directory.
_PROJECTS = (
    ("uv.lock", "uv add --directory %s"),
    ("poetry.lock", "poetry --directory %s add"),
    ("pdm.lock", "pdm add --project %s"),
)


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
