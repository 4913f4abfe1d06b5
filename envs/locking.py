"""The lock of an environment that is made from requirements: the versions that every machine gets.

Owns its form (a requirements file with hashes, whose first line says what it was made from and for which
Python), writing it and telling one that is outdated. A project and a script have locks of their own tools.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from .errors import EnvError
from .inputs import requirement_words, requirements_digest, working_directory
from .installers import Toolbox, UvInstaller, failure, find_installer
from .interpreters import Interpreter
from .model import EnvironmentRequest

__all__ = ["check_lock", "python_of_lock", "write_lock"]

_HEAD: Final = re.compile(r"# supervise env lock: python (\d+\.\d+), of ([0-9a-f]{12})")


def python_of_lock(path: Path) -> str | None:
    """The Python version that ``path`` was written for; None where it does not say so."""
    return _head(path)[0]


def check_lock(path: Path, request: EnvironmentRequest, directory: Path, subject: str) -> None:
    """Raises ``EnvError`` (``requirements``) where ``path`` was made from other requirements."""
    if _head(path)[1] != requirements_digest(request, directory):
        raise EnvError(
            "requirements",
            f"{subject} is not made: {path} was written for other requirements",
            hint=f"run `supervise env lock {request.name}`, or remove the file to go without a lock",
        )


def _head(path: Path) -> tuple[str | None, str | None]:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            match = _HEAD.match(stream.readline(200))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EnvError("requirements", f"the lock {path} cannot be read: {reason}") from error
    return (match[1], match[2]) if match else (None, None)


def write_lock(
    request: EnvironmentRequest,
    path: Path,
    base: Interpreter,
    *,
    environ: Mapping[str, str],
    directory: Path,
) -> bool:
    """Resolve ``request``'s requirements for ``base``'s version on every platform, and write ``path``.

    True when its text is another one than before. Raises ``EnvError``; the file is then as it was.
    """
    installer = find_installer(environ, base, "uv")
    assert isinstance(installer, UvInstaller)
    where = working_directory(request, directory)
    version = f"{base.version[0]}.{base.version[1]}"
    subject = f"environment {request.name} (python {version})"
    lines = [_portable(line, directory, where) for line in request.requirements]
    if request.requirements_file is not None:
        lines.append(f"-r {request.requirements_file}")
    with TemporaryDirectory(prefix="supervise-lock-") as folder:
        wanted = Path(folder) / "requirements.in"
        wanted.write_text("\n".join([*lines, ""]), encoding="utf-8")
        tools = Toolbox(environ, where if where.is_dir() else None)
        done = installer.compile(wanted, version, tools)
    if done.returncode != 0:
        raise failure(done, subject, environ, installer, path.parent)
    body = re.sub(r"^ *# *via.*\n(^ *#   .*\n)*", "", done.stdout, flags=re.MULTILINE)
    head = f"# supervise env lock: python {version}, of {requirements_digest(request, directory)}\n"
    text = head + body
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise EnvError("storage", f"the lock {path} cannot be written: {reason}") from error
    return True


def _portable(line: str, directory: Path, where: Path) -> str:
    """``line`` with its path relative to ``where``, where the lock is installed from on every machine."""
    words = requirement_words(line, directory)
    last = words[-1] if words else ""
    if last.startswith("/") and not line.strip().endswith(last):
        last = os.path.relpath(last, where)
        words[-1] = last if last.startswith(".") else f"./{last}"
    return " ".join(words)
