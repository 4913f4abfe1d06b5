"""What compose files and Dockerfiles say of a program: its command, where it runs, from which files.

Owns reading as much of both as a code server's set-up uses. Runs no docker, and follows no reference out
of the files: a variable or a build stage that is not there in plain text is left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

__all__ = ["Program", "compose_programs", "words_of"]


@dataclass(slots=True)
class Program:
    """A program that something starts. ``copies`` map paths inside of its container to paths here;
    ``place`` is the directory that it is built from, or that relative paths are relative to."""

    name: str
    words: list[str]
    origin: Path
    place: Path
    directory: str | None = None
    contained: bool = False
    variables: dict[str, Any] = field(default_factory=dict)
    env_files: list[Path] = field(default_factory=list)
    copies: list[tuple[PurePosixPath, Path]] = field(default_factory=list)
    python: str | None = None
    packages: list[str] = field(default_factory=list)
    requirements_file: Path | None = None

    def here(self, text: str) -> Path | None:
        """The path on this machine of a path as the program sees it; None where that is not known."""
        path = PurePosixPath(self.directory or "/") / text
        if not self.contained:
            return Path(self.place, self.directory or "", text)
        for inside, outside in sorted(self.copies, key=lambda one: -len(one[0].parts)):
            if path == inside or inside in path.parents:
                return outside / path.relative_to(inside)
        return None


def words_of(command: Any) -> list[str]:
    """A command as its words, whether it was a list or a text; those of a shell's ``-c``, too."""
    words = (
        [str(one) for one in command] if isinstance(command, list) else _split(str(command or ""))
    )
    for at, word in enumerate(words[:-1]):
        if word in ("-c", "-lc", "-ec") and " " in words[at + 1]:
            return words_of(words[at + 1].rpartition("&&")[2])
    return [word for word in words if word != "exec"]


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def compose_programs(path: Path) -> Iterator[Program]:
    """The services of the compose file at ``path``; none where it is not one."""
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return
    services = table.get("services") if isinstance(table, dict) else None
    for name, service in (services if isinstance(services, dict) else {}).items():
        if isinstance(service, dict):
            yield _service(str(name), service, path)


def _service(name: str, service: dict[str, Any], path: Path) -> Program:
    build = service.get("build")
    build = (
        {"context": build} if isinstance(build, str) else build if isinstance(build, dict) else {}
    )
    place = Path(path.parent, str(build.get("context") or "."))
    found = Program(name, [], path, place, contained=True)
    command: list[str] = []
    if build:
        dockerfile = place / str(build.get("dockerfile") or "Dockerfile")
        command = _dockerfile(dockerfile, place, found)
    own = [*words_of(service.get("entrypoint")), *words_of(service.get("command"))]
    found.words = own or command
    if service.get("working_dir"):
        found.directory = str(service["working_dir"])
    for one in _listed(service.get("volumes")):
        source, target = _volume(one)
        if source is not None and target:
            found.copies.append((PurePosixPath(target), Path(path.parent, source)))
    found.variables = _variables(service.get("environment"))
    for one in _listed(service.get("env_file")):
        text = one.get("path") if isinstance(one, dict) else one
        found.env_files.append(Path(path.parent, str(text)))
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _volume(one: Any) -> tuple[str | None, str]:
    """The directory here and its path inside; None for a volume that has a name alone."""
    if isinstance(one, dict):
        source, target = one.get("source"), str(one.get("target", ""))
        return (str(source) if source and one.get("type", "bind") == "bind" else None), target
    source, _, target = str(one).partition(":")
    return (source if source.startswith((".", "/", "~")) else None), target.partition(":")[0]


def _variables(value: Any) -> dict[str, Any]:
    """Those with a value; one that comes from the environment of compose, as ``{env: NAME}``."""
    pairs = (
        value.items()
        if isinstance(value, dict)
        else (str(one).split("=", 1) for one in _listed(value) if "=" in str(one))
    )
    found: dict[str, Any] = {}
    for name, text in pairs:
        match = re.fullmatch(r"\$\{?(\w+)\}?", str(text))
        if match:
            found[str(name)] = {"env": match[1]}
        elif text is not None and "$" not in str(text):
            found[str(name)] = str(text)
    return found


def _dockerfile(path: Path, context: Path, found: Program) -> list[str]:
    """Read the last stage into ``found``; returns the command of the image."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    entry: list[str] = []
    command: list[str] = []
    directory = PurePosixPath("/")
    for line in re.sub(r"\\\n", " ", text).splitlines():
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        match word.upper():
            case "FROM":
                image = re.search(r"python:(\d+\.\d+)", rest)
                found.python = image[1] if image else found.python
            case "WORKDIR":
                directory /= rest
            case "COPY" | "ADD":
                _copy(rest, directory, context, found)
            case "RUN":
                _installed(rest, context, found)
            case "ENTRYPOINT":
                entry = words_of(_words(rest))
            case "CMD":
                command = words_of(_words(rest))
    found.directory = str(directory)
    return [*entry, *command]


def _words(text: str) -> Any:
    if text.startswith("["):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text
    return text


def _copy(text: str, directory: PurePosixPath, context: Path, found: Program) -> None:
    words = _words(text)
    words = words if isinstance(words, list) else _split(text)
    if any(str(one).startswith("--from") for one in words):
        return
    words = [str(one) for one in words if not str(one).startswith("--")]
    if len(words) < 2:
        return
    target = directory / words[-1]
    for source in words[:-1]:
        here = context / source.lstrip("/").rstrip("*")
        if here.is_dir():
            found.copies.append((target, here))
            continue
        into = words[-1].endswith("/") or len(words) > 2 or target == directory
        found.copies.append((target / here.name if into else target, here))
        if into:
            found.copies.append((target, here.parent))


def _installed(text: str, context: Path, found: Program) -> None:
    """The packages and the requirements file that ``pip install`` names."""
    for part in re.split(r"&&|;", text):
        words = _split(part.strip())
        if "install" not in words or not any(one in ("pip", "pip3", "uv") for one in words):
            continue
        rest = iter(words[words.index("install") + 1 :])
        for word in rest:
            if word in ("-r", "--requirement", "--requirements"):
                file = context / Path(next(rest, "")).name
                found.requirements_file = file if file.is_file() else found.requirements_file
            elif word in ("-c", "-i", "--index-url", "--extra-index-url", "-f", "-t", "--target"):
                next(rest, None)
            elif re.match(r"[A-Za-z]", word) and word not in ("pip", "setuptools", "wheel", "uv"):
                found.packages.append(word)
