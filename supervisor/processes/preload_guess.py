"""What a target's source imports, read from its text: a first guess at what to preload.

Owns the reading of sources: the team's own modules are followed, the names of all others told. To be
preloaded counts only what runs when the modules are imported, not what stands in a function or under
``TYPE_CHECKING``. Whether a name is an installed library, the forkserver asks its own interpreter.
"""

from __future__ import annotations

import ast
import os
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from supervisor.specs import Target, TargetKind

__all__ = ["Sources", "sources_of"]

_MAX_SOURCES = 200
_MAX_SOURCE_BYTES = 1024 * 1024
# To parse a source holds the interpreter: about half a millisecond a KiB.
_MAX_PARSED_BYTES = 32 * 1024
# CPython's parser counts how deep it is for all threads together (seen in 3.11), and warnings are
# filtered for all of them.
_parsing = threading.Lock()

# For a source that is large, or of a Python that this one cannot parse. What begins a line is not in a function.
_IMPORT = re.compile(
    rb"^([ \t]*)(?:import[ \t]+([\w., \t]+)"
    rb"|from[ \t]+(\.*\w[\w.]*|\.+)[ \t]+import\b[ \t]*(\([^)]{0,1000}|[\w., \t]*))",
    re.M,
)
_NAME = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Sources:
    """What a source imports.

    ``imports``: top-level names of others' modules that are imported with it; ``files``: the team's
    own, absolute paths, also of what is imported later.
    """

    imports: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Import:
    """``origin`` as it is written, with its dots; ``at_once``: when the module itself is imported."""

    origin: str
    names: tuple[str, ...]
    at_once: bool


def sources_of(target: Target) -> Sources:
    """What the target's source imports, by its text.

    Follows imports into files below the working directory; what it cannot find it leaves out.
    """
    found: dict[str, None] = {}
    root = target.working_directory
    pending = [(_source(target), True)]
    if target.kind is not TargetKind.PYTHON_FILE:
        pending.extend((one, True) for one in _inits(root, target.name))
    seen: dict[Path, bool] = {}  # whether it is imported at once
    while pending and len(seen) < _MAX_SOURCES:
        source, at_once = pending.pop()
        if source is None or (source in seen and seen[source] >= at_once):
            continue
        seen[source] = at_once
        for one in _imports(source):
            at_once_too = at_once and one.at_once
            name = one.origin.lstrip(".")
            if name != one.origin:
                # One dot is the package that the source lies in.
                level = len(one.origin) - len(name)
                base = source.parents[min(level, len(source.parents)) - 1]
                local = _files(base, name, one.names)
            else:
                local = _files(root, name, one.names) + _files(source.parent, name, one.names)
            pending.extend((file, at_once_too) for file in local)
            if not local and at_once_too and name == one.origin:
                top = name.split(".")[0]
                if _module_file(root, top) is None:
                    found.setdefault(top)
    return Sources(tuple(found), tuple(map(str, seen)))


def _files(base: Path, name: str, names: Iterable[str]) -> list[Path]:
    """The files in ``base`` of module ``name``, of the packages it is in, and of ``names`` in it."""
    inner = (f"{name}.{one}" if name else one for one in names)
    found = [_module_file(base, one) for one in (*((name,) if name else ()), *inner)]
    files = [one for one in found if one is not None]
    return files + _inits(base, name) if files else files


def _inits(base: Path, name: str) -> list[Path]:
    parts = name.split(".")[:-1]
    places = [base.joinpath(*parts[:count], "__init__.py") for count in range(1, len(parts) + 1)]
    return [one for one in places if os.path.isfile(one)]  # noqa: PTH113  # False, too, where we may not look


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


def _imports(source: Path) -> list[_Import]:
    if not os.path.isfile(source):  # noqa: PTH113  # to open a pipe waits for its other end
        return []
    try:
        with source.open("rb") as file:
            text = file.read(_MAX_SOURCE_BYTES)
    except OSError:
        return []
    if len(text) > _MAX_PARSED_BYTES:
        return _lines_that_import(text)
    try:
        with _parsing, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the team's own literals: not ours to tell
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
        return _lines_that_import(text)
    return list(_statements_that_import(tree.body, at_once=True))


def _statements_that_import(body: Iterable[ast.stmt], *, at_once: bool) -> Iterator[_Import]:
    for statement in body:
        if isinstance(statement, ast.Import):
            yield from (_Import(alias.name, (), at_once) for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            origin = "." * statement.level + (statement.module or "")
            yield _Import(origin, tuple(alias.name for alias in statement.names), at_once)
        elif isinstance(statement, ast.If):
            runs = at_once and not _is_false(statement.test)
            yield from _statements_that_import(statement.body, at_once=runs)
            yield from _statements_that_import(statement.orelse, at_once=at_once)
        else:
            function = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
            runs = at_once and not function
            for name in ("body", "orelse", "finalbody"):
                inner = getattr(statement, name, [])
                yield from _statements_that_import(inner, at_once=runs)
            for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
                yield from _statements_that_import(part.body, at_once=runs)


def _is_false(test: ast.expr) -> bool:
    """True for a condition that does not hold while a module is imported by a shim."""
    if isinstance(test, ast.Constant):
        return not test.value
    if isinstance(test, ast.Name | ast.Attribute):
        return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"
    return ast.unparse(test) == "__name__ == '__main__'"


def _lines_that_import(text: bytes) -> list[_Import]:
    found: list[_Import] = []
    for match in _IMPORT.finditer(text):
        indent, plain, origin, names = match.groups()
        if origin is None:
            found += [_Import(name, (), not indent) for name in _words(plain)]
        else:
            inner = tuple(_words(names.lstrip(b"(")))
            found.append(_Import(origin.decode("ascii", "ignore"), inner, not indent))
    return [one for one in found if one.origin]


def _words(text: bytes) -> list[str]:
    """The names in ``a, b.c as d``."""
    parts = (part.split() for part in text.decode("ascii", "ignore").split(","))
    return [part[0] for part in parts if part and _NAME.match(part[0])]
