"""The first guess at what to preload: the imports that stand at the top level of a target's source.

Owns the reading of sources for that, the team's own modules followed and left out. Only what runs
when a module is imported counts, not what stands in a function or under ``TYPE_CHECKING``. Whether
a name is an installed library, the forkserver asks its own interpreter.
"""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from supervisor.specs import Target, TargetKind

__all__ = ["imports_of"]

_MAX_SOURCES = 200
_MAX_SOURCE_BYTES = 1024 * 1024

# For a source of a Python that this one cannot parse: what begins a line.
_IMPORT = re.compile(rb"^(?:import[ \t]+([\w., \t]+)|from[ \t]+(\w[\w.]*)[ \t]+import\b)", re.M)


def imports_of(target: Target) -> tuple[str, ...]:
    """Top-level names that the target's source imports, its own modules left out.

    Follows imports into files below the working directory; what it cannot find it leaves out.
    """
    found: dict[str, None] = {}
    pending = [_source(target)]
    seen: set[Path] = set()
    root = target.working_directory
    while pending and len(seen) < _MAX_SOURCES:
        source = pending.pop()
        if source is None or source in seen:
            continue
        seen.add(source)
        for name in _imports(source):
            local = [_module_file(base, name) for base in (root, source.parent)]
            files = [one for one in local if one is not None]
            if files:
                pending.extend(files)
            elif _module_file(root, name.split(".")[0]) is None:
                found.setdefault(name.split(".")[0])
    return tuple(found)


def _source(target: Target) -> Path | None:
    if target.kind is TargetKind.PYTHON_FILE:
        return Path(target.name)
    return _module_file(target.working_directory, target.name)


def _module_file(base: Path, name: str) -> Path | None:
    path = base.joinpath(*name.split("."))
    for candidate in (path.with_name(path.name + ".py"), path / "__init__.py"):
        if os.path.isfile(candidate):  # noqa: PTH113  # False, too, where we may not look
            return candidate
    return None


def _imports(source: Path) -> list[str]:
    try:
        with source.open("rb") as file:
            text = file.read(_MAX_SOURCE_BYTES)
    except OSError:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the team's own literals: not ours to tell
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _lines_that_import(text)
    return list(_statements_that_import(tree.body))


def _statements_that_import(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            if statement.level == 0 and statement.module:
                yield statement.module
        elif isinstance(statement, ast.If) and _is_false(statement.test):
            yield from _statements_that_import(statement.orelse)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for name in ("body", "orelse", "finalbody"):
                yield from _statements_that_import(getattr(statement, name, []))
            for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
                yield from _statements_that_import(part.body)


def _is_false(test: ast.expr) -> bool:
    """True for a condition that does not hold while a module is imported by a shim."""
    if isinstance(test, ast.Constant):
        return not test.value
    if isinstance(test, ast.Name | ast.Attribute):
        return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"
    return ast.unparse(test) == "__name__ == '__main__'"


def _lines_that_import(text: bytes) -> list[str]:
    names: list[str] = []
    for match in _IMPORT.finditer(text):
        plain, origin = match.groups()
        if origin is not None:
            names.append(origin.decode("ascii", "ignore"))
        else:
            parts = plain.decode("ascii", "ignore").split(",")
            names.extend(part.split()[0] for part in parts if part.split())
    return [name for name in names if name and not name.startswith(".")]
