"""Poetry's own tables and lock, as requirements that every installer reads (PEP 508).

Owns the translation of ``[tool.poetry.dependencies]``, of poetry's groups and of what ``poetry.lock``
pins. Runs no poetry and reads no file. Raises ``EnvError`` (``requirements``) for what has no such form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from .errors import EnvError

__all__ = ["poetry_pins", "poetry_requirements", "specifier"]

_VERSION: Final = re.compile(r"(===|==|!=|>=|<=|~=|\^|~|>|<|=)?\s*v?([\w.*+!-]+)")


def specifier(text: str) -> str:
    """Poetry's constraint on a version as PEP 440 has it: ``^1.2`` is ``>=1.2,<2``; ``*`` is empty.

    Raises ``ValueError`` for alternatives (``||``), which PEP 440 cannot express.
    """
    if "|" in text:
        raise ValueError(text)
    return ",".join(clause for clause in map(_clause, _VERSION.findall(text)) if clause)


def _clause(found: tuple[str, str]) -> str:
    operator, version = found
    if version == "*":
        return ""
    if operator in ("", "=", "==") and version.endswith(".*"):
        return f"=={version}"
    if operator in ("", "="):
        return f"=={version}"
    if operator not in ("^", "~"):
        return f"{operator}{version}"
    match = re.match(r"\d+(?:\.\d+)*", version)
    if match is None:
        raise ValueError(version)
    parts = [int(part) for part in match[0].split(".")]
    if operator == "~":
        kept = min(2, len(parts))
    else:  # the first that is not zero, or the last that is written
        kept = next((at + 1 for at, part in enumerate(parts) if part), len(parts))
    upper = [*parts[: kept - 1], parts[kept - 1] + 1]
    return f">={version},<{'.'.join(map(str, upper))}"


def poetry_requirements(
    table: Mapping[str, Any], place: Path, *, optional: frozenset[str] = frozenset()
) -> list[str]:
    """The dependencies in ``table`` as requirement lines; those that are optional only if among
    ``optional``. ``place`` is the project's directory. Raises ``EnvError``."""
    found = []
    for name, value in table.items():
        if name.lower() == "python":
            continue
        for one in value if isinstance(value, list) else [value]:
            wanted = {"version": one} if isinstance(one, str) else one
            if not isinstance(wanted, dict):
                raise _unclear(name, place)
            if wanted.get("optional") and name not in optional:
                continue
            try:
                found.append(_requirement(name, wanted, place))
            except ValueError as error:
                raise _unclear(name, place) from error
    return found


def _unclear(name: str, place: Path) -> EnvError:
    return EnvError(
        "requirements",
        f"{place / 'pyproject.toml'}: poetry's dependency {name} cannot be told to an installer",
        hint="write it without alternatives (||), or under [project] as a requirement",
    )


def _requirement(name: str, wanted: Mapping[str, Any], place: Path) -> str:
    extras = ",".join(map(str, wanted.get("extras", ())))
    label = f"{name}[{extras}]" if extras else name
    markers = " and ".join(f"({one})" for one in _markers(wanted))
    tail = f" ; {markers}" if markers else ""
    if "path" in wanted:
        path = (place / str(wanted["path"])).resolve()
        if wanted.get("develop"):
            return f"-e {path}" + (f"[{extras}]" if extras else "")
        return f"{label} @ {path.as_uri()}{tail}"
    if "url" in wanted:
        return f"{label} @ {wanted['url']}{tail}"
    if "git" in wanted:
        at = next((f"@{wanted[key]}" for key in ("rev", "tag", "branch") if key in wanted), "")
        below = f"#subdirectory={wanted['subdirectory']}" if "subdirectory" in wanted else ""
        return f"{label} @ git+{wanted['git']}{at}{below}{tail}"
    return f"{label}{specifier(str(wanted.get('version', '*')))}{tail}"


def _markers(wanted: Mapping[str, Any]) -> Iterator[str]:
    if "markers" in wanted:
        yield str(wanted["markers"])
    if "platform" in wanted:
        yield f"sys_platform == '{wanted['platform']}'"
    for clause in filter(None, specifier(str(wanted.get("python", "*"))).split(",")):
        match = re.fullmatch(r"(\D+?)([\d.]+?)(\.\*)?", clause)
        if match is None:
            raise ValueError(clause)
        variable = "python_full_version" if match[2].count(".") > 1 else "python_version"
        yield f"{variable} {match[1]} '{match[2]}'"


def poetry_pins(lock: Mapping[str, Any]) -> list[str]:
    """What ``poetry.lock`` pins, as lines of a constraints file.

    A package from git, a path or an address has none: its requirement says where it comes from. One that
    is locked in several versions is pinned where the lock says which of them is for whom (poetry 2).
    """
    versions: dict[str, list[tuple[str, str | None]]] = {}
    for one in lock.get("package", ()):
        if one.get("source", {}).get("type", "legacy") != "legacy":
            continue
        markers = one.get("markers")
        if isinstance(markers, dict):  # one for each group
            markers = " or ".join(f"({text})" for text in dict.fromkeys(markers.values()))
        if isinstance(markers, str) and "extra" in markers:
            markers = None  # which extra was asked for is not known where constraints are read
        versions.setdefault(str(one["name"]), []).append((str(one["version"]), markers))
    found = []
    for name, locked in sorted(versions.items()):
        if len(locked) == 1:
            found.append(f"{name}=={locked[0][0]}")
        elif all(markers for _, markers in locked):
            found += [f"{name}=={version} ; {markers}" for version, markers in locked]
    return found
