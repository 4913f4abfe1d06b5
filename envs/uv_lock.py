"""Whether a uv.lock was made for what a project declares now, and for the Python that is to have it.

Owns the comparison of pyproject.toml with what the lock says of the project itself. Starts no process and asks no
index: ``uv lock --check`` would refuse a lock that was made with another index, as behind a mirror.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from .projects import in_form, read_toml, required_python

__all__ = ["refused_python", "unlocked"]

_SOURCES = {"directory", "editable", "git", "path", "url", "virtual"}


def unlocked(project: Path, lock: Path) -> list[str]:
    """The dependencies of ``project`` that ``lock`` was not made for, as pyproject.toml has them.

    Those that are no longer declared do not count, nor does what cannot be compared: dynamic dependencies, and
    a lock that says nothing of the project. Raises ``EnvError``.
    """
    declaration = project / "pyproject.toml"
    declared = read_toml(declaration).get("project")
    if not isinstance(declared, dict):
        return []
    with in_form(declaration):
        lines = list(map(str, declared.get("dependencies") or ()))
        if "dependencies" in (declared.get("dynamic") or ()):
            return []
    with in_form(lock):
        known = _known(read_toml(lock), canonicalize_name(str(declared.get("name"))))
    if known is None:
        return []
    return [
        line
        for line in lines
        if (wanted := _parsed(line)) is not None
        and not {wanted.specifier, None} & known.get(canonicalize_name(wanted.name), set())
    ]


def refused_python(project: Path, version: str) -> str:
    """The Python versions that ``project``, and so its lock, are for, where ``version`` is none of them; else ""."""
    required = required_python(project) or ""
    try:
        takes = SpecifierSet(required).contains(version, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):  # the installer says what is wrong with it
        return ""
    return "" if takes else required


def _parsed(line: str) -> Requirement | None:
    try:
        found = Requirement(line)
    except InvalidRequirement:  # the installer says what is wrong with it
        return None
    return None if found.url else found


def _known(table: Mapping[str, Any], name: str) -> dict[str, set[SpecifierSet | None]] | None:
    """What the lock was made for, by name, None for one from a source that has no versions; None where it does
    not say."""
    packages = table.get("package")
    for one in packages if isinstance(packages, list) else ():
        if not isinstance(one, dict) or canonicalize_name(str(one.get("name"))) != name:
            continue
        metadata = one.get("metadata")
        if not isinstance(metadata, dict):
            return None if one.get("dependencies") else {}
        known: dict[str, set[SpecifierSet | None]] = {}
        for item in metadata.get("requires-dist", ()):
            try:
                versions = SpecifierSet(str(item.get("specifier", "")))
                asked = None if _SOURCES & item.keys() else versions
            except (AttributeError, InvalidSpecifier):
                return None
            known.setdefault(canonicalize_name(str(item.get("name"))), set()).add(asked)
        return known
    return None
