"""The wheels that an interpreter brings along for new virtualenvs (ensurepip's own).

Owns finding them, and giving an environment the setuptools that ``python -m venv`` would have given
it. They are of the interpreter's own age, so they always fit, and need no network. Refuses to
install anything else.
"""

from __future__ import annotations

import re
import zipfile
from contextlib import suppress
from pathlib import Path

from .interpreters import Interpreter

__all__ = ["add_setuptools", "bundled_wheel", "site_packages", "wheel_version"]


def site_packages(prefix: Path, interpreter: Interpreter) -> Path:
    """Where a virtualenv at ``prefix`` keeps its packages."""
    major, minor, _ = interpreter.version
    return prefix / "lib" / f"python{major}.{minor}" / "site-packages"


def wheel_version(wheel: Path) -> tuple[int, ...]:
    """(18, 1) of ``pip-18.1-py2.py3-none-any.whl``."""
    return tuple(int(part) for part in re.findall(r"\d+", wheel.name.split("-")[1]))


def bundled_wheel(base: Interpreter, name: str) -> Path | None:
    """The newest wheel of ``name`` (pip or setuptools) that came with ``base``."""
    major, minor, _ = base.version
    folders = [
        prefix / "lib" / f"python{major}.{minor}" / "ensurepip" / "_bundled"
        for prefix in (base.base_prefix, base.real_executable.parent.parent)
    ]
    folders.append(Path("/usr/share/python-wheels"))  # where Debian moves them
    for folder in folders:
        with suppress(OSError):
            wheels = sorted(folder.glob(f"{name}-*.whl"), key=wheel_version)
            if wheels:
                return wheels[-1]
    return None


def add_setuptools(base: Interpreter, prefix: Path) -> bool:
    """Put setuptools into the virtualenv at ``prefix`` as its interpreter's age expects it.

    Before Python 3.12 every virtualenv had it, so packages of that time import ``pkg_resources``
    without requiring setuptools. True when it was added; False from 3.12 on,
    when it is there already (the requirements decide then), or when no wheel came with ``base``.
    """
    if base.version >= (3, 12):
        return False
    folder = site_packages(prefix, base)
    wheel = bundled_wheel(base, "setuptools")
    if wheel is None or any(folder.glob("setuptools-*.dist-info")):
        return False
    # A pure wheel without scripts is installed by unpacking it (binary distribution format, PEP
    # 427); its RECORD lets an installer replace it later.
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return True
