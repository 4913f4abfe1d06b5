"""What a project directory declares: how it is installed, for which Python, and with what beside it.

Owns the reading of pyproject.toml in the forms of PEP 621, PEP 735, uv and poetry, and which lock pins
it. Raises ``EnvError`` (``requirements``) alone. Starts no process, writes nothing, installs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from .errors import EnvError
from .poetry import poetry_pins, poetry_requirements, specifier

__all__ = [
    "in_form",
    "locked_root",
    "passed_over",
    "pins_of_poetry",
    "project_plan",
    "read_toml",
    "required_python",
    "requirements_of",
]

_OTHER_LOCKS: Final = ("poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml")


def project_plan(project: Path) -> str:
    """How a project is installed: ``editable`` (it can be built), ``dependencies`` (its
    pyproject.toml only lists some) or ``requirements`` (only a requirements.txt).

    uv's rule: without a build system, or with ``tool.uv.package = false``, it is no package; and
    poetry's: nor with ``tool.poetry.package-mode = false``, nor where there is no module of its name and no
    other is named (``poetry install`` says so and goes on). Raises ``EnvError`` (``requirements``).
    """
    if not project.is_dir():
        raise EnvError("requirements", f"the project {project} is not a directory")
    declaration = project / "pyproject.toml"
    if declaration.exists():
        table = read_toml(declaration)
        package = _inner(table, "tool", "uv").get("package")
        if package is None:
            package = _inner(table, "tool", "poetry").get("package-mode")
        if package is None and _of_poetry(table):
            package = _has_module(table, project)
        if package is None:
            package = "build-system" in table or (project / "setup.py").exists()
        return "editable" if package else "dependencies"
    if (project / "setup.py").exists():
        return "editable"
    if (project / "requirements.txt").exists():
        return "requirements"
    raise EnvError(
        "requirements",
        f"{project} is no python project: it has no pyproject.toml, setup.py or requirements.txt",
        hint="`project:` names the directory that holds pyproject.toml",
    )


def _of_poetry(table: Mapping[str, Any]) -> bool:
    return str(_inner(table, "build-system").get("build-backend", "")).startswith("poetry.")


def _has_module(table: Mapping[str, Any], project: Path) -> bool:
    """True where poetry's build backend finds what the package consists of."""
    poetry = _inner(table, "tool", "poetry")
    if poetry.get("packages") or poetry.get("include"):
        return True
    name = re.sub(r"\W", "_", str(poetry.get("name") or _inner(table, "project").get("name") or ""))
    places = (project / name, project / "src" / name)
    return any(one.is_dir() or one.with_name(f"{name}.py").is_file() for one in places)


def required_python(project: Path) -> str | None:
    """The Python versions that a project's pyproject.toml asks for, as a specifier; None without any.

    ``requires-python`` of ``[project]``, else ``python`` among poetry's dependencies, whose ``^3.9`` is
    ``>=3.9,<4`` and ``~3.9`` is ``>=3.9,<3.10``; else ``python_requires`` of setup.cfg, or of setup.py
    where it is written as plain text.
    """
    declaration = project / "pyproject.toml"
    table = read_toml(declaration) if declaration.is_file() else {}
    found = _inner(table, "project").get("requires-python")
    if isinstance(found, str) and found.strip():
        return found
    found = _inner(table, "tool", "poetry", "dependencies").get("python")
    if isinstance(found, str):
        with in_form(declaration):
            return specifier(found.split("|")[0]) or None  # of alternatives, the first says enough
    return _python_of_setuptools(project)


def _python_of_setuptools(project: Path) -> str | None:
    import ast
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    with suppress(
        configparser.Error, UnicodeDecodeError
    ):  # its installer says what is wrong with it
        parser.read(project / "setup.cfg", encoding="utf-8")
        found = parser.get("options", "python_requires", fallback="").strip()
        if found:
            return found
    try:
        tree = ast.parse((project / "setup.py").read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.keyword)
            and node.arg == "python_requires"
            and isinstance(node.value, ast.Constant)
        ):
            return str(node.value.value).strip() or None
    return None


def requirements_of(project: Path, extras: Sequence[str], groups: Sequence[str]) -> list[str]:
    """The requirement lines that are installed beside the project itself.

    Of a package, those of its ``groups``: its installer knows its dependencies and ``extras``. Of one
    that is no package, also its dependencies and those of the extras. Raises ``EnvError``, also for an
    extra or a group that it does not have.
    """
    with in_form(project / "pyproject.toml"):
        return _requirements(project, extras, groups)


def _requirements(project: Path, extras: Sequence[str], groups: Sequence[str]) -> list[str]:
    declaration = project / "pyproject.toml"
    table = read_toml(declaration) if declaration.is_file() else {}
    poetry = _inner(table, "tool", "poetry")
    if not poetry.get("dependencies") and not _inner(poetry, "group"):
        poetry = {}
    of_groups = _groups(table, project)
    of_poetry = {
        name: _inner(one, "dependencies")
        for name, one in _inner(poetry, "group").items()
        if isinstance(one, dict)
    }
    if "dev-dependencies" in poetry:  # before poetry 1.2
        of_poetry.setdefault("dev", poetry["dev-dependencies"])
    optional = _inner(table, "project", "optional-dependencies")
    of_extras = _inner(poetry, "extras")
    if declaration.is_file():
        _known(project, "dependency group", groups, [*of_groups, *of_poetry])
        _known(project, "extra", extras, [*optional, *of_extras], sure="project" in table or poetry)
    else:
        _known(project, "dependency group", groups, [])
        if project_plan(project) == "requirements":
            _known(project, "extra", extras, [])
    found: list[str] = []
    if project_plan(project) == "dependencies":
        found += map(str, _inner(table, "project").get("dependencies", ()))
        for name, lines in optional.items():
            if _same(name, extras):
                found += map(str, lines)
        chosen = {
            str(one) for name, some in of_extras.items() if _same(name, extras) for one in some
        }
        if "dependencies" not in _inner(table, "project"):
            dependencies = _inner(poetry, "dependencies")
            found += poetry_requirements(dependencies, project, optional=frozenset(chosen))
    for name in groups:
        for known, lines in of_groups.items():
            found += lines if _same(known, [name]) else []
        for known, listed in of_poetry.items():
            found += poetry_requirements(listed, project) if _same(known, [name]) else []
    return list(dict.fromkeys(found))


@contextmanager
def in_form(path: Path) -> Iterator[None]:
    """Raises ``EnvError`` for a table or list that is something else."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EnvError(
            "requirements", f"{path} cannot be read: its dependencies are in no form that is known"
        ) from error


def _groups(table: Mapping[str, Any], project: Path) -> dict[str, list[str]]:
    """The groups of PEP 735 with what they include, and uv's own ``dev-dependencies``."""
    declared = _inner(table, "dependency-groups")

    def lines(name: str, above: tuple[str, ...]) -> list[str]:
        known = next((one for one in declared if _same(one, [name])), None)
        if known is None or known in above:
            what = "includes itself" if known else "is included, and is not there"
            raise EnvError(
                "requirements",
                f"{project / 'pyproject.toml'}: the dependency group {name} {what}",
            )
        found: list[str] = []
        for one in declared[known]:
            if isinstance(one, dict):
                found += lines(str(one.get("include-group", "")), (*above, known))
            else:
                found.append(str(one))
        return found

    groups = {name: lines(name, ()) for name in declared}
    older = _inner(table, "tool", "uv").get("dev-dependencies")
    if older:
        groups["dev"] = [*groups.get("dev", []), *map(str, older)]
    return groups


def _known(
    project: Path, what: str, wanted: Sequence[str], known: Sequence[str], *, sure: object = True
) -> None:
    for name in wanted:
        if sure and not any(_same(one, [name]) for one in known):
            there = ", ".join(sorted(known)) or f"it has no {what}"
            raise EnvError(
                "requirements",
                f"the project {project} has no {what} {name!r}",
                hint=f"it has: {there}" if known else there,
            )


def _same(name: str, others: Sequence[str]) -> bool:
    return canonicalize_name(name) in map(canonicalize_name, others)


def _inner(table: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        table = table.get(key) or {}
        if not isinstance(table, dict):
            return {}
    return table


def locked_root(project: Path) -> Path | None:
    """The directory whose uv.lock pins ``project``: itself, or the uv workspace it is a member of."""
    if (project / "uv.lock").is_file():
        return project
    for parent in project.parents:
        if (parent / "uv.lock").is_file() and (parent / "pyproject.toml").is_file():
            try:
                workspace = read_toml(parent / "pyproject.toml")["tool"]["uv"]["workspace"]
                if any(project in parent.glob(str(one)) for one in workspace.get("members", [])):
                    return parent
            except (EnvError, AttributeError, KeyError, TypeError, ValueError, NotImplementedError):
                continue  # it is uv's to say what is wrong with it
    return None


def pins_of_poetry(project: Path) -> list[str] | None:
    """What the project's poetry.lock pins, as lines of a constraints file; None without one."""
    lock = project / "poetry.lock"
    if not lock.is_file():
        return None
    try:
        return poetry_pins(read_toml(lock))
    except (AttributeError, KeyError, TypeError) as error:
        raise EnvError(
            "requirements",
            f"{lock} cannot be read: it is not in poetry's form",
            hint="write it again with `poetry lock`",
        ) from error


def passed_over(project: Path, used: str) -> str:
    """The locks beside ``project`` that are not read where ``used`` is, as a clause; "" without any."""
    others = [name for name in _OTHER_LOCKS if name != used and (project / name).is_file()]
    if not others:
        return ""
    why = f"{used} is there" if used else "only uv.lock and poetry.lock are read"
    return f"{' and '.join(others)} passed over: {why}"


def read_toml(path: Path) -> dict[str, Any]:
    """The table in ``path``. Raises ``EnvError``."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise EnvError("requirements", f"{path} cannot be read: {reason}") from error
