"""What an environment is made from, reduced to one hash: equal inputs, equal key, no rebuild.

Owns which files and settings count. Only what decides the result does: the interpreter, the
platform, the requirements with every file that they include, the project's own declarations and
lock, and the index settings. Secrets in index URLs enter the hash and are kept nowhere. Starts no
process, and writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from .errors import EnvError
from .interpreters import Interpreter
from .model import EnvironmentRequest
from .projects import locked_root, project_plan, read_toml
from .scripts import lock_of_script, read_script

__all__ = [
    "environment_key",
    "requirement_words",
    "requirements_digest",
    "working_directory",
]

_SCHEMA: Final = 2  # raise it when the way in which environments are built changes

_UV_SETTINGS: Final = (
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"),
    *("UV_INDEX_STRATEGY", "UV_RESOLUTION", "UV_PRERELEASE", "UV_EXCLUDE_NEWER"),
    *("UV_CONSTRAINT", "UV_OVERRIDE", "UV_BUILD_CONSTRAINT", "UV_REQUIRE_HASHES", "UV_NO_BINARY"),
    *("UV_NO_BINARY_PACKAGE", "UV_NO_BUILD", "UV_NO_BUILD_PACKAGE", "UV_TORCH_BACKEND"),
    *("UV_NO_CONFIG", "UV_CONFIG_FILE", "UV_NO_SOURCES"),
)
_PIP_SETTINGS: Final = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_PRE"),
    *("PIP_CONSTRAINT", "PIP_NO_BINARY", "PIP_ONLY_BINARY", "PIP_CONFIG_FILE"),
)
_PROJECT_FILES: Final = (
    *("pyproject.toml", "setup.py", "setup.cfg", "uv.lock", "poetry.lock", "requirements.txt"),
)
_INCLUDE: Final = re.compile(r"^(?:-r|--requirements?|-c|--constraints?)(?:\s+|=|(?=\S))(.+)$")
_LOCAL: Final = re.compile(r"^(?:-e\s+|--editable[\s=]+)?(?:[\w.\-\[\], ]+@\s*)?(?:file://)?(.+)$")
_PATH_OPTIONS: Final = {"-e", "--editable", "-r", "--requirement", "-c", "--constraint"}
_MOST_FILES: Final = 1000  # includes that include each other end somewhere


def environment_key(
    request: EnvironmentRequest,
    base: Interpreter,
    *,
    environ: Mapping[str, str],
    directory: Path,
    installer: str,
) -> str:
    """32 hexadecimal digits; another value for anything that could make another environment.

    ``directory`` is what relative paths within ``request.requirements`` are relative to. Raises ``EnvError`` (``requirements``) for a file
    that cannot be read.
    """
    requirements = sorted({line.strip() for line in request.requirements if line.strip()})
    where = working_directory(request, directory)
    inputs: list[Any] = [
        _SCHEMA,
        base.key,
        base.platform,
        base.libc,
        installer,
        requirements,
        [list(_local_files(line, directory)) for line in requirements],
        _settings(environ, where, installer),
    ]
    for line in requirements:
        include = _INCLUDE.match(line)
        if include and "://" not in line:
            inputs.append(list(_requirement_files(directory / include.group(1).strip())))
    if request.requirements_file is not None:
        inputs.append(list(_requirement_files(request.requirements_file)))
    if request.project is not None:
        if project_plan(request.project) == "requirements":
            inputs.append(list(_requirement_files(request.project / "requirements.txt")))
        inputs.append(str(request.project))
        inputs += [_digest(request.project / name) for name in _PROJECT_FILES]
        inputs += [sorted(request.extras), sorted(request.groups)]
        root = locked_root(request.project)
        inputs.append(None if root is None else _digest(root / "uv.lock"))
    if request.script is not None:
        locked = _digest(lock_of_script(request.script))
        inputs += [str(request.script.parent), read_script(request.script).text, locked]
    if request.lock is not None:
        inputs.append(_digest(request.lock))
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:32]


def requirements_digest(request: EnvironmentRequest, directory: Path) -> str:
    """12 hexadecimal digits of what a lock of ``request``'s requirements is made from: them, and the
    requirements files. Raises ``EnvError``."""
    inputs: list[Any] = [sorted({line.strip() for line in request.requirements if line.strip()})]
    for line in inputs[0]:
        include = _INCLUDE.match(line)
        if include and "://" not in line:
            inputs.append(list(_requirement_files(directory / include.group(1).strip())))
    if request.requirements_file is not None:
        inputs.append(list(_requirement_files(request.requirements_file)))
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:12]


def working_directory(request: EnvironmentRequest, directory: Path) -> Path:
    """Where the installer runs, as the team would run it: beside the script, in the project, else beside the
    requirements file (paths in it are relative to there), else in ``directory``."""
    if request.script is not None:
        return request.script.parent
    if request.project is not None:
        return request.project
    if request.requirements_file is not None:
        return request.requirements_file.parent
    return directory


def requirement_words(requirement: str, directory: Path) -> list[str]:
    """One of ``request.requirements`` as command line words, its relative path made absolute."""
    text = requirement.strip()
    text = re.sub(r"^(-e|--editable)[\s=]+", r"\1 ", text)
    option, _, value = text.partition(" ") if text.startswith("-") else ("", "", text)
    value = value.strip()
    if value.startswith(("./", "../")) or value == "." or option in _PATH_OPTIONS:
        # Extras (./lib[fast]) stay at the end of the path, where they are.
        value = value if "://" in value else os.path.normpath(directory / value)
    return [word for word in (option, value) if word]


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise EnvError("requirements", f"{path} cannot be read: {error.strerror}") from error


def _requirement_files(first: Path) -> Iterator[list[Any]]:
    """Each requirements file reached from ``first``, with its digest, in reading order."""
    queue: list[tuple[Path, Path | None]] = [(first, None)]
    seen: set[Path] = set()
    while queue and len(seen) < _MOST_FILES:
        path, included_by = queue.pop(0)
        if path in seen:
            continue
        seen.add(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            where = f" (included by {included_by})" if included_by else ""
            raise EnvError(
                "requirements",
                f"the requirements file {path}{where} cannot be read: "
                f"{(error.strerror or str(error)).lower()}",
                hint="a relative path is relative to the file that names it",
            ) from error
        yield [path.name, hashlib.sha256(data).hexdigest()]
        text = data.decode("utf-8", "replace").replace("\\\n", " ")
        for raw in text.splitlines():
            line = re.sub(r"(^|\s)#.*$", "", raw).strip()
            include = _INCLUDE.match(line)
            if include and "://" not in include.group(1):
                named = include.group(1).strip().strip("\"'")
                queue.append((Path(os.path.normpath(path.parent / named)), path))
            elif line:
                yield from _local_files(line, path.parent)


def _local_files(line: str, directory: Path) -> Iterator[list[Any]]:
    """What a requirement that is a path on this machine is made of: it may change in place."""
    match = _LOCAL.match(line.split(" #")[0].split(" --")[0].strip())
    if match is None or "://" in match.group(1):
        return
    named = re.sub(r"\[[^\]]*\]$", "", match.group(1).split(";")[0].strip())
    if "/" not in named and not named.endswith((".whl", ".tar.gz", ".zip")) and named != ".":
        return
    path = Path(os.path.normpath(directory / Path(named).expanduser()))
    if path.is_dir():
        yield [str(path), *(_digest(path / name) for name in _PROJECT_FILES)]
    elif path.exists():
        yield [str(path), _digest(path)]


def _settings(environ: Mapping[str, str], directory: Path, installer: str) -> list[Any]:
    """Where packages come from, and the policies by which versions are chosen."""
    home = Path(environ.get("HOME") or Path.home())
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    if installer == "pip":
        files = [config / "pip" / "pip.conf", home / ".pip" / "pip.conf", Path("/etc/pip.conf")]
        found = [environ.get(name) for name in _PIP_SETTINGS]
        return [found, [_digest(path) for path in files]]
    found = [environ.get(name) for name in _UV_SETTINGS]
    files = [config / "uv" / "uv.toml", Path("/etc/uv/uv.toml")]
    for name in ("UV_CONFIG_FILE", "UV_CONSTRAINT", "UV_OVERRIDE"):
        files += [directory / part for part in environ.get(name, "").split()]
    return [found, [_digest(path) for path in files], _uv_configuration(directory)]


def _uv_configuration(directory: Path) -> Any:
    """The uv.toml or [tool.uv] that uv finds from ``directory`` upwards; only that table counts."""
    for parent in (directory, *directory.parents):
        if (parent / "uv.toml").is_file():
            return _digest(parent / "uv.toml")
        declaration = parent / "pyproject.toml"
        if declaration.is_file():
            try:
                table = read_toml(declaration)
            except EnvError:
                continue  # not ours to judge: it is the workspace's neighbourhood, not the request
            settings = table.get("tool", {}).get("uv")
            if settings is not None:
                return json.dumps(settings, sort_keys=True, default=str)
    return None
