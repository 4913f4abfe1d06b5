"""What is installed in an environment, told from the names of its metadata directories.

Owns one look at a file system; runs no Python of the environment and reads no file. A name and a
version are what ``*.dist-info`` and ``*.egg-info`` say of themselves; where a version is only in the
file (a development install of old setuptools), it is empty.
Source: the directory names of the Binary distribution format and of PEP 376.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from packaging.utils import canonicalize_name

__all__ = ["distributions", "package_directories"]

_EGG_PYTHON = re.compile(r"-py\d+(\.\d+)?(-.+)?$")


def distributions(prefix: Path, python: str) -> list[dict[str, str]]:
    """``{"name", "version"}`` of each distribution below ``prefix``, by name.

    ``python`` is the environment's version (``3.8.18``): a prefix may hold directories of several.
    Names are normalized (``ruamel-yaml``). Empty when nothing can be read.
    """
    minor = ".".join(python.split(".")[:2])
    wanted = {f"python{minor}", "python3"} if minor else None
    found: dict[str, str] = {}
    for folder in package_directories(prefix):
        if wanted is not None and Path(folder).parent.name not in wanted:
            continue
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                named = _distribution(entry.name)
                if named is not None:
                    found.setdefault(*named)
    return [{"name": name, "version": found[name]} for name in sorted(found)]


def _distribution(entry: str) -> tuple[str, str] | None:
    stem, _, kind = entry.rpartition(".")
    if kind == "egg-info":
        stem = _EGG_PYTHON.sub("", stem)
    elif kind != "dist-info":
        return None
    # Neither a normalized name nor a version has a hyphen; old tools left some in names.
    name, _, version = stem.rpartition("-")
    if not name or not version[:1].isdigit():
        name, version = stem, ""
    name = canonicalize_name(name).strip("-")
    return (name, version) if name else None


def package_directories(prefix: Path) -> list[str]:
    """Where the distributions of the environment at ``prefix`` are installed (POSIX schemes)."""
    patterns = ("lib*/python3*/site-packages", "lib*/python3*/dist-packages")
    local = ("local/lib/python3*/dist-packages",)
    found = {str(path) for pattern in (*patterns, *local) for path in prefix.glob(pattern)}
    return sorted(found)
