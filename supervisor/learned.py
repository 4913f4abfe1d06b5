"""What to preload: learned from what locations imported, kept per environment.

Owns ``preload.json`` in the workspace's state directory, and the first guess for an environment
that nothing is known of: the imports that stand in a target's source. Only names; whether a name
is an installed library, the forkserver asks its own interpreter.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from supervisor.specs import Target, TargetKind

__all__ = ["Learned", "Sources", "local_names", "sources_of"]

_MAX_MODULES = 20_000
_MAX_ENVIRONMENTS = 100
_MAX_NAME = 300
_MAX_SOURCES = 200
_MAX_SOURCE_BYTES = 1024 * 1024
_MAX_LOOKS = 200

_NAME = re.compile(r"\w+(\.\w+)*")

# Read as text: the source may be of a Python that this one cannot parse.
_IMPORT = re.compile(
    rb"^[ \t]*(?:import[ \t]+([\w., \t]+)"
    rb"|from[ \t]+(\.*\w[\w.]*|\.+)[ \t]+import\b[ \t]*(\([^)]{0,1000}|[\w., \t]*))",
    re.M,
)


class Learned:
    """The modules that locations of each environment imported, in the order of their import.

    ``run(work)`` has the file written, in a thread; of several that wait the last is.
    """

    def __init__(
        self,
        path: Path | None,
        run: Callable[[Callable[[], None]], object] = lambda work: work(),
    ) -> None:
        self._path = path
        self._run = run
        self._unwritten: dict[str, list[str]] | None = None
        self._modules: dict[str, dict[str, None]] = {}
        if path is not None:
            self._read(path)

    def modules(self, environment: str, guess: Iterable[str]) -> list[str]:
        """What to preload for ``environment``: what is known of it, else ``guess``."""
        known = self._modules.get(environment)
        return list(known) if known else list(guess)

    def add(self, environment: str, modules: Iterable[str]) -> None:
        """Note that ``modules`` were imported.

        Names that no module has are left out: a shim may report anything.
        """
        known = self._modules.pop(environment, {})
        self._modules[environment] = known  # the latest, so the last to be forgotten
        fresh = dict.fromkeys(one for one in modules if one not in known and _is_name(one))
        if not fresh or len(known) + len(fresh) > _MAX_MODULES:
            return
        known.update(fresh)
        while len(self._modules) > _MAX_ENVIRONMENTS:
            del self._modules[next(iter(self._modules))]
        self._write()

    def forget(self, environment: str, modules: Iterable[str]) -> None:
        """``modules`` do not exist any more: the libraries have changed."""
        known = self._modules.get(environment, {})
        gone = [one for one in modules if one in known]
        for one in gone:
            del known[one]
        if gone:
            self._write()

    def _read(self, path: Path) -> None:
        try:
            data = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return  # a first start, or a damaged file: it is learned again
        if isinstance(data, dict):
            for environment, modules in data.items():
                if isinstance(modules, list):
                    names = [one for one in modules if _is_name(one)]
                    self._modules[environment] = dict.fromkeys(names[:_MAX_MODULES])

    def _write(self) -> None:
        if self._path is None:
            return
        self._unwritten = {name: list(modules) for name, modules in self._modules.items()}
        self._run(partial(self._write_to, self._path))

    def _write_to(self, path: Path) -> None:
        data, self._unwritten = self._unwritten, None
        if data is None:  # it was written with what came before
            return
        # One by one: encoding all of it would hold the interpreter for as long as it takes.
        parts = (f"{json.dumps(name)}: {json.dumps(modules)}" for name, modules in data.items())
        temporary = path.with_suffix(".new")
        try:
            temporary.write_text("{" + ", ".join(parts) + "}")
            temporary.replace(path)
        except OSError:
            return  # a full disk: it is known in memory


@dataclass(frozen=True, slots=True)
class Sources:
    """``imports``: top-level names of others' modules; ``files``: the team's own, absolute paths."""

    imports: tuple[str, ...]
    files: tuple[str, ...]


def sources_of(target: Target) -> Sources:
    """What the target's source imports, by its text.

    Follows imports into files below the working directory; what it cannot find it leaves out.
    """
    found: dict[str, None] = {}
    root = target.working_directory
    pending = [_source(target)]
    if target.kind is not TargetKind.PYTHON_FILE:
        pending.extend(_inits(root, target.name))
    seen: dict[Path, None] = {}
    while pending and len(seen) < _MAX_SOURCES:
        source = pending.pop()
        if source is None or source in seen:
            continue
        seen[source] = None
        for origin, names in _imports(source):
            name = origin.lstrip(".")
            if name != origin:
                # One dot is the package that the source lies in.
                base = source.parents[min(len(origin) - len(name), len(source.parents)) - 1]
                local = _files(base, name, names)
            else:
                local = _files(root, name, names) + _files(source.parent, name, names)
            pending.extend(local)
            if not local and name == origin and _module_file(root, name.split(".")[0]) is None:
                found.setdefault(name.split(".")[0])
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


def local_names(target: Target) -> frozenset[str]:
    """The top-level module names that the working directory could be asked for."""
    root = target.working_directory
    try:
        changed = root.stat().st_mtime_ns
    except OSError:
        return frozenset()
    files, directories = _names_in(root, changed)
    more = {one for one in directories if _is_package(root / one, len(directories))}
    if target.kind is TargetKind.PYTHON_FILE:
        more.add(Path(target.name).stem)
    # The same set for all locations of a directory: every one of them keeps it.
    return files if more <= files else files | more


@lru_cache(maxsize=8)
def _names_in(directory: Path, changed: int) -> tuple[frozenset[str], tuple[str, ...]]:
    """Module files and directories; ``changed`` is the directory's time.

    Many locations share one directory, and it may be large.
    """
    files, directories = set(), []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith((".py", ".so", ".pyc")):
                    files.add(entry.name.split(".", 1)[0])
                elif entry.name.isidentifier() and entry.is_dir():
                    directories.append(entry.name)
    except OSError:
        return frozenset(), ()
    return frozenset(files), tuple(directories)


def _is_package(directory: Path, neighbours: int) -> bool:
    # A directory without this file gives way to any library of its name. Where there are very many,
    # looking costs more than being wrong: a fresh process is always right.
    return neighbours > _MAX_LOOKS or os.path.exists(directory / "__init__.py")  # noqa: PTH110


def _is_name(one: Any) -> bool:
    return isinstance(one, str) and len(one) <= _MAX_NAME and _NAME.fullmatch(one) is not None


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


def _imports(source: Path) -> list[tuple[str, list[str]]]:
    """Each module that is imported, as it is written, with the names that are imported from it."""
    try:
        with source.open("rb") as file:
            text = file.read(_MAX_SOURCE_BYTES)
    except OSError:
        return []
    found: list[tuple[str, list[str]]] = []
    for match in _IMPORT.finditer(text):
        plain, origin, names = match.groups()
        if origin is None:
            found += [(name, []) for name in _words(plain)]
        else:
            found.append((origin.decode("ascii", "ignore"), _words(names.lstrip(b"("))))
    return [(name, names) for name, names in found if name]


def _words(text: bytes) -> list[str]:
    """The names in ``a, b as c``."""
    parts = (part.split() for part in text.decode("ascii", "ignore").split(","))
    return [part[0] for part in parts if part and _NAME.fullmatch(part[0])]
