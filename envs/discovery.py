"""Which interpreters this machine has, and which of them a version spec means.

Owns the search: PATH, the directories of pyenv, uv, mise and asdf, any extra directories, and the
Python that runs us. Shims are never run in a search (their answer depends on the directory they are
run in, and costs 0.1 s): the installations behind them are read instead. Among those that satisfy a spec the newest wins; of equals, a
base installation before a virtualenv, then the one found first. Does not install interpreters.
"""

# os.path, not pathlib, says what a path is: where we may not look, it says no, and does not raise.
# ruff: noqa: PTH110, PTH112, PTH113

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

from .errors import EnvError
from .interpreters import Interpreter, probe, remembered

__all__ = [
    "FoundInterpreter",
    "Wanted",
    "default_interpreter",
    "find_command",
    "find_interpreter",
    "installation",
    "list_interpreters",
    "parse_wanted",
]

_OR = re.compile(r"\s+or\s+")
_COMMAND: Final = re.compile(r"^(?:python|pypy|graalpy)(\d+(?:\.\d+)?)?t?$")
_RELEASE: Final = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_IMPLEMENTATION: Final = re.compile(
    r"^(?P<name>cpython|python|pypy|graalpy)?(?P<at>[@-])?(?P<rest>[^A-Za-z].*)?$"
)
_CLAUSE: Final = re.compile(r"^(===?|~=|!=|<=|>=|<|>)\s*(\d+(?:\.\d+)*)(\.\*)?$")


@dataclass(frozen=True, slots=True)
class FoundInterpreter:
    """One place where an interpreter was found, or where one should be and does not work.

    ``source`` is ``PATH``, ``pyenv``, ``uv``, ``mise``, ``asdf``, ``searched`` or ``running``;
    exactly one of ``interpreter`` and ``error`` is set.
    """

    path: Path
    source: str
    interpreter: Interpreter | None = None
    error: EnvError | None = None


def default_interpreter(environ: Mapping[str, str]) -> Interpreter:
    """The active virtualenv's interpreter (``VIRTUAL_ENV``), else the one that runs us."""
    active = environ.get("VIRTUAL_ENV")
    if active:
        try:
            return probe(Path(active) / "bin" / "python", environ=environ)
        except EnvError as error:
            hint = (
                f"VIRTUAL_ENV names it, as of an active virtualenv: `deactivate`, or {error.hint}"
            )
            raise EnvError(error.kind, error.message, hint=hint, detail=error.detail) from None
    return probe(sys.executable, environ=environ)


def find_command(name: str, *, environ: Mapping[str, str], directory: Path | None = None) -> Path:
    """The file that the command ``name`` means on ``environ``'s PATH, looking through pyenv's shims.

    Raises ``EnvError`` (``interpreter``) when there is none; its hint tells of a file of that name in ``directory``.
    """
    shims = _shims(environ)
    for entry in _path(environ):
        found = shutil.which(name, path=entry)
        if found is None:
            continue
        if entry != shims:
            return Path(found)
        behind = _behind_shim(name, environ)
        if behind is not None:
            return behind
    hint = "install it, or name the interpreter by an absolute path"
    if directory is not None and os.path.lexists(directory / name):
        hint = f"{directory / name} is meant by the path ./{name}: a name without / is a command"
    raise EnvError("interpreter", f"no command {name} is on PATH", hint=hint)


def find_interpreter(
    spec: str | None,
    *,
    environ: Mapping[str, str],
    search_dirs: Sequence[Path] = (),
) -> Interpreter:
    """The interpreter that ``spec`` means.

    ``spec`` is a version (``3.8``, ``3.8.18``, ``cpython@3.12``, ``pypy3.9``), a specifier
    (``>=3.8,<3.10``, ``~=3.8``), a command name (``python3.9``), an absolute path, several of
    these in order of preference (``3.8 or >=3.9``), or None for the default interpreter. ``search_dirs`` are looked in as PATH is. Raises ``EnvError``
    (``interpreter``) which lists what was found instead, or what ``probe`` raises for a path.
    """
    if spec is None or not spec.strip():
        return default_interpreter(environ)
    text = spec.strip()
    alternatives = _OR.split(text)
    if len(alternatives) > 1:
        for one in alternatives:
            try:
                return find_interpreter(one, environ=environ, search_dirs=search_dirs)
            except EnvError as error:
                if error.kind != "interpreter":
                    raise
        raise _nothing_matches(text, environ, search_dirs)
    if "/" in text:
        return probe(text, environ=environ)
    wanted = parse_wanted(text)
    if _COMMAND.match(text):
        try:
            return probe(find_command(text, environ=environ), environ=environ)
        except EnvError:
            if wanted is None:
                raise
    if wanted is None:
        raise EnvError(
            "interpreter",
            f"{spec!r} is no python version",
            hint="write a version (3.8), a specifier (>=3.8,<3.10), a command or an absolute path",
        )
    matching: list[tuple[tuple[int, int, int], bool, bool, int, Interpreter]] = []
    found = list_interpreters(environ=environ, search_dirs=search_dirs, hint=wanted.may_be)
    for order, item in enumerate(found):
        candidate = item.interpreter
        if candidate is not None and wanted.accepts(candidate):
            rank = (candidate.version, candidate.is_final, not candidate.is_virtualenv)
            matching.append((*rank, -order, candidate))
    if matching:
        return max(matching, key=lambda entry: entry[:4])[4]
    raise _nothing_matches(text, environ, search_dirs)


def _nothing_matches(
    text: str, environ: Mapping[str, str], search_dirs: Sequence[Path]
) -> EnvError:
    found = list_interpreters(environ=environ, search_dirs=search_dirs)
    known = [item.interpreter for item in found if item.interpreter is not None]
    versions = sorted({(one.version, one.version_text) for one in known})
    listed = ", ".join(text for _, text in versions) or "none"
    version = _RELEASE.search(text)
    install = (
        f"install it (`uv python install {version.group()}`, or `pyenv install {version.group()}`)"
        if version
        else "install one"
    )
    return EnvError(
        "interpreter",
        f"no python {text} is on this machine; found {listed}",
        hint=f"{install}, or ask for one of those found",
    )


def list_interpreters(
    *,
    environ: Mapping[str, str],
    search_dirs: Sequence[Path] = (),
    hint: Callable[[tuple[int, ...]], bool] | None = None,
) -> list[FoundInterpreter]:
    """Every interpreter found, one entry per real executable, newest first.

    ``hint`` judges a version that a file's or directory's name promises (``python3.8``,
    ``3.8.18``): False spares the probe. Python 2 and broken ones are listed with their error.
    """
    candidates: dict[str, tuple[Path, str]] = {}
    for path, source, promised in _candidates(environ, search_dirs):
        if hint is not None and promised and not hint(promised):
            continue
        candidates.setdefault(str(path), (path, source))

    def look(entry: tuple[Path, str]) -> FoundInterpreter:
        path, source = entry
        try:
            return FoundInterpreter(path, source, interpreter=probe(path, environ=environ))
        except EnvError as error:
            return FoundInterpreter(path, source, error=error)

    entries = list(candidates.values())
    cold = [entry for entry in entries if remembered(entry[0], environ=environ) is None]
    if len(cold) > 1:
        from concurrent.futures import ThreadPoolExecutor

        # A cold probe takes some 30 ms, nearly all of it waiting for the child.
        with ThreadPoolExecutor(max_workers=4) as pool:
            failed = {item.path: item for item in pool.map(look, cold) if item.error}
    else:
        failed = {}
    looked = [failed.get(entry[0]) or look(entry) for entry in entries]
    unique: dict[str, FoundInterpreter] = {}
    for item in looked:
        real = os.path.realpath(item.path)
        if item.interpreter is not None:
            # Two virtualenvs of one base are two environments, but one interpreter.
            real = str(item.interpreter.real_executable)
        known = unique.get(real)
        if known is None or (_is_virtual(known) and not _is_virtual(item)):
            unique[real] = item
    return sorted(
        unique.values(),
        key=lambda item: item.interpreter.version if item.interpreter else (0, 0, 0),
        reverse=True,
    )


def _is_virtual(item: FoundInterpreter) -> bool:
    return item.interpreter is not None and item.interpreter.is_virtualenv


def _candidates(
    environ: Mapping[str, str], search_dirs: Sequence[Path]
) -> Iterator[tuple[Path, str, tuple[int, ...]]]:
    """Paths that may be interpreters, where from, and the version that the name promises."""
    for directory in search_dirs:
        yield from _in_directory(directory, "searched")
    for entry in _path(environ):
        directory = Path(entry)
        if directory.name != "shims":
            yield from _in_directory(directory, "PATH")
    for root, source in _managers(environ):
        for home in _subdirectories(root):
            yield from installation(home, source)
    yield Path(sys.executable), "running", tuple(sys.version_info[:3])


def _in_directory(directory: Path, source: str) -> Iterator[tuple[Path, str, tuple[int, ...]]]:
    try:
        matches = [match for name in os.listdir(directory) if (match := _COMMAND.match(name))]  # noqa: PTH208
    except OSError:
        return
    for match in sorted(matches, key=lambda match: (len(match.string), match.string)):
        path = directory / match.string
        if not os.path.isfile(path) or not os.access(path, os.X_OK):
            continue
        promised = tuple(int(part) for part in (match.group(1) or "").split(".") if part)
        yield path, source, promised


def installation(home: Path, source: str) -> Iterator[tuple[Path, str, tuple[int, ...]]]:
    match = _RELEASE.search(home.name)
    promised = tuple(int(part) for part in match.groups() if part) if match else ()
    # A bare "3.12" directory is a link or a virtualenv whose patch release is not in its name, and
    # pypy's and conda's own versions say nothing of Python's.
    if not re.match(r"^(cpython-)?\d", home.name):
        promised = ()
    for name in ("python", "python3", "pypy3"):
        path = home / "bin" / name
        if os.path.exists(path):
            yield path, source, promised
            return


def _subdirectories(root: Path) -> list[Path]:
    try:
        return sorted(item for item in root.iterdir() if os.path.isdir(item))
    except OSError:
        return []


def _path(environ: Mapping[str, str]) -> list[str]:
    entries = environ.get("PATH", os.defpath).split(os.pathsep)
    return [entry.rstrip("/") or "/" for entry in dict.fromkeys(entries) if entry]


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path.home())


def _pyenv_root(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("PYENV_ROOT") or _home(environ) / ".pyenv")


def _shims(environ: Mapping[str, str]) -> str:
    return str(_pyenv_root(environ) / "shims")


def _behind_shim(name: str, environ: Mapping[str, str]) -> Path | None:
    """What pyenv's shim ``name`` leads to: in a selected version, else in the newest that has it."""
    root = _pyenv_root(environ)
    selected = environ.get("PYENV_VERSION", "").replace(":", " ").split()
    if not selected:
        try:
            selected = (root / "version").read_text(encoding="utf-8").split()
        except OSError:
            selected = []
    installed = sorted(
        _subdirectories(root / "versions"), key=lambda home: _numbers(home.name), reverse=True
    )
    order = [root / "versions" / version for version in selected if version != "system"]
    order += [home for home in installed if _RELEASE.match(home.name)]
    for home in order:
        candidate = home / "bin" / name
        if os.path.isfile(candidate):
            return candidate
    return None


def _managers(environ: Mapping[str, str]) -> list[tuple[Path, str]]:
    """Where version managers keep one directory per installation."""
    home, data = _home(environ), environ.get("XDG_DATA_HOME", "")
    base = Path(data) if data.startswith("/") else home / ".local" / "share"
    uv = environ.get("UV_PYTHON_INSTALL_DIR")
    mise = environ.get("MISE_DATA_DIR")
    asdf = environ.get("ASDF_DATA_DIR")
    return [
        (_pyenv_root(environ) / "versions", "pyenv"),
        (Path(uv) if uv else base / "uv" / "python", "uv"),
        ((Path(mise) if mise else base / "mise") / "installs" / "python", "mise"),
        ((Path(asdf) if asdf else home / ".asdf") / "installs" / "python", "asdf"),
    ]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A parsed spec: an implementation name or empty, and clauses that all must hold."""

    implementation: str
    clauses: tuple[tuple[str, tuple[int, ...]], ...]

    def accepts(self, interpreter: Interpreter) -> bool:
        name = self.implementation or "cpython"
        return interpreter.implementation == name and self._hold(interpreter.version)

    def may_be(self, promised: tuple[int, ...]) -> bool:
        """False when no version that begins with ``promised`` can satisfy this."""
        if len(promised) >= 3:
            return self._hold(promised)
        return all(
            operator not in {"==", "~="}
            or all(a == b for a, b in zip(release, promised, strict=False))
            for operator, release in self.clauses
            if operator != "~=" or len(promised) < len(release)
        )

    def _hold(self, version: tuple[int, ...]) -> bool:
        return all(_holds(version, operator, release) for operator, release in self.clauses)


def _holds(version: tuple[int, ...], operator: str, release: tuple[int, ...]) -> bool:
    """One clause. ``==`` and ``!=`` compare at the precision that was written, as people mean it."""
    prefix = version[: len(release)]
    padded = tuple(part for _, part in zip_longest(version, release, fillvalue=0))
    match operator:
        case "==":
            return prefix == release
        case "!=":
            return prefix != release
        case "~=":
            return version >= padded and version[: len(release) - 1] == release[:-1]
        case ">=":
            return version >= padded
        case "<":
            return version < padded
        case "<=":
            # <=3.9 is meant to hold for 3.9.18.
            return version <= padded or prefix == release
        case _:
            return version > padded and prefix != release


def parse_wanted(text: str) -> Wanted | None:
    match = _IMPLEMENTATION.match(text)
    if match is None:
        return None
    name = match.group("name") or ""
    rest = (match.group("rest") or "").strip()
    implementation = "" if name in {"", "python", "cpython"} else name
    if not rest:
        return Wanted(implementation, ()) if name else None
    clauses: list[tuple[str, tuple[int, ...]]] = []
    for part in rest.split(","):
        clause = _clause(part.strip())
        if clause is None:
            return None
        clauses.append(clause)
    return Wanted(implementation, tuple(clauses))


def _clause(text: str) -> tuple[str, tuple[int, ...]] | None:
    if re.fullmatch(r"\d+(\.\d+){0,2}(\.\*)?", text):
        text = "==" + text
    match = _CLAUSE.match(text)
    if match is None:
        return None
    operator, digits, _ = match.groups()
    release = tuple(int(part) for part in digits.split("."))
    if operator == "~=" and len(release) < 2:
        return None
    return ("==" if operator == "===" else operator), release
