"""Code servers of Dagster, and the draft of a workspace that runs what they serve.

Owns what is looked for: ``dagster api grpc`` and ``dagster code-server start`` in compose files (and the
Dockerfiles that they build), Procfiles and systemd units; the ``grpc_server`` entries of workspace.yaml give
the names. What only the deployment knows is told in a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from supervisor.drafts.containers import Program, compose_programs, words_of
from supervisor.drafts.draft import Draft, DraftEnvironment, DraftLocation, below, unique
from supervisor.drafts.finding import environment_keys, location_of_spec
from supervisor.errors import ConfigurationError, ConfigurationProblem
from supervisor.specs import RemoteEndpoint, SourcePosition, WorkspaceSpec
from supervisor.workspace_files import Selection, resolve

__all__ = ["converted"]

_COMPOSE: Final = ("compose*.y*ml", "docker-compose*.y*ml")
_DEEPER: Final = ("", "*/", "*/*/")
_OPTIONS: Final = {
    "-f": "file", "--python-file": "file", "-m": "module", "--module-name": "module",
    "--package-name": "package", "--autoload-defs-module-name": "autoload", "-a": "attribute",
    "--attribute": "attribute", "-d": "directory", "--working-directory": "directory", "-h": "host",
    "--host": "host", "-p": "port", "--port": "port", "-s": "socket", "--socket": "socket",
    "--location-name": "name",
}  # fmt: skip


def converted(root: Path, environ: Mapping[str, str]) -> Draft:
    """The draft of a workspace file in ``root`` that runs what the code servers found there serve.

    Raises ``ConfigurationError`` where none is found.
    """
    draft = Draft()
    workspace = _workspace(root, environ)
    remotes = [one for one in workspace.locations if one.remote] if workspace else []
    taken = set[str]()
    used: list[RemoteEndpoint] = []
    for program in _programs(root):
        served = _served(program.words)
        if served is None:
            continue
        port, socket = served.get("port"), served.get("socket")
        entry = next(
            (
                one
                for one in remotes
                if one.remote is not None
                and one.remote not in used
                and (one.remote.host == program.name or _same_place(one.remote, port, socket))
            ),
            None,
        )
        if entry is not None and entry.remote is not None:
            used.append(entry.remote)
        named = entry is not None and entry.name != str(entry.remote)
        name = entry.name if entry is not None and named else served.get("name") or program.name
        draft.locations.append(_location(program, served, unique(name, taken), root, draft))
    for one in workspace.locations if workspace else ():
        if one.target is not None:
            draft.locations.append(location_of_spec(one, root, unique(one.name, taken)))
        elif one.remote is not None and one.remote not in used:
            draft.locations.append(_remote(one.remote, unique(one.name, taken)))
    if not draft.locations:
        place = SourcePosition(str(root))
        raise ConfigurationError(
            [ConfigurationProblem(place, "", "no code server of Dagster was found here")],
            hint="looked for `dagster api grpc` and `dagster code-server start` in compose files, "
            "Dockerfiles, Procfiles and *.service, and for grpc_server in workspace.yaml; "
            "`supervise init` alone looks for files with definitions",
        )
    draft.notes.append("converted from code servers: they and their ports are not needed any more")
    return draft


def _workspace(root: Path, environ: Mapping[str, str]) -> WorkspaceSpec | None:
    for name in ("workspace.yaml", "workspace.yml"):
        if (root / name).is_file():
            return resolve(Selection(files=(root / name,)), cwd=root, environ=environ)
    return None


def _same_place(remote: RemoteEndpoint, port: str | None, socket: str | None) -> bool:
    if remote.socket is not None:
        return remote.socket == socket
    return remote.host in ("localhost", "127.0.0.1") and str(remote.port) == port


def _programs(root: Path) -> Iterator[Program]:
    def files(*patterns: str) -> list[Path]:
        found = {one for depth in _DEEPER for name in patterns for one in root.glob(depth + name)}
        return sorted(found)

    for path in files(*_COMPOSE):
        yield from compose_programs(path)
    for path in files("Procfile*"):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, colon, command = line.partition(":")
            if colon and not line.startswith("#"):
                yield Program(name.strip(), words_of(command), path, path.parent)
    for path in files("*.service"):
        yield _unit(path)


def _unit(path: Path) -> Program:
    found = Program(path.stem, [], path, path.parent)
    text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8", errors="replace"))
    for line in text.splitlines():
        key, _, value = line.partition("=")
        match key.strip():
            case "ExecStart":
                found.words = words_of(value.strip().lstrip("-@:+!"))
            case "WorkingDirectory":
                found.directory = value.strip().lstrip("-")
            case "Environment":
                pairs = (one.partition("=") for one in words_of(value))
                found.variables |= {name: text for name, _, text in pairs}
            case "EnvironmentFile":
                found.env_files.append(path.parent / value.strip().lstrip("-"))
    return found


def _served(words: list[str]) -> dict[str, str] | None:
    """What a code server's command line says to load; None for another program's."""
    for at, word in enumerate(words):
        if Path(word).name == "dagster" and tuple(words[at + 1 : at + 3]) in (
            ("api", "grpc"),
            ("code-server", "start"),
        ):
            break
    else:
        return None
    found: dict[str, str] = {"interpreter": ""}
    if "/bin/" in word:
        found["interpreter"] = str(Path(word).parent / "python")
    rest = iter(words[at + 3 :])
    for word in rest:
        option, equals, value = word.partition("=")
        if option in _OPTIONS:
            found[_OPTIONS[option]] = value if equals else next(rest, "")
    return found


def _location(
    program: Program, served: Mapping[str, str], name: str, root: Path, draft: Draft
) -> DraftLocation:
    notes = [f"from {program.name} in {below(program.origin, root)}"]

    def here(text: str, what: str) -> str:
        found = program.here(text)
        if found is None:
            notes.append(f"{what} {text} is a path inside of its image: name the one here")
            return text
        if not found.exists():
            notes.append(f"{what} {below(found, root)} is not there")
        return below(found, root)

    selector, keys = "python_module", dict[str, Any]()
    if "file" in served:
        selector, keys = "python_file", {"relative_path": here(served["file"], "the file")}
    elif "package" in served:
        selector, keys = "python_package", {"package_name": served["package"]}
    elif "autoload" in served:
        selector, keys = "autoload_defs_module", {"module_name": served["autoload"]}
    else:
        keys = {"module_name": served.get("module", "module")}
        if "module" not in served:
            notes.append("its command names no module, file or package: say which it is")
    if "attribute" in served:
        keys["attribute"] = served["attribute"]
    if "directory" in served or program.directory:
        directory = here(served.get("directory", program.directory or "."), "the directory")
        if directory != ".":
            keys["working_directory"] = directory
    keys["location_name"] = name
    variables = {
        key: value for key, value in program.variables.items() if key != "DAGSTER_CURRENT_IMAGE"
    }
    if variables:
        keys["env"] = variables
    if program.env_files:
        keys["env_file"] = [below(one, root) for one in program.env_files]
    if served.get("interpreter") and not program.contained:
        keys["executable_path"] = served["interpreter"]
    else:
        environment = _environment(program, name, root, draft)
        if environment is not None:
            keys["environment"] = environment
        else:
            where = "in its image" if program.contained else "for it"
            notes.append(f"what is installed {where} is not known: say its environment")
    return DraftLocation(name, selector, keys, notes)


def _environment(program: Program, name: str, root: Path, draft: Draft) -> str | None:
    """The environment that its Dockerfile makes, or that its directory holds."""
    keys: dict[str, Any]
    if program.requirements_file is not None:
        keys = {"requirements_file": below(program.requirements_file, root)}
        notes = list[str]()
    else:
        keys, notes = environment_keys(program.place, root)
    if program.packages and "project" not in keys:
        keys["requirements"] = list(dict.fromkeys(program.packages))
    if not keys:
        return None
    if program.python and "python" not in keys:
        keys = {"python": program.python, **keys}
    known = next((one for one in draft.environments if one.keys == keys), None)
    if known is None:
        known = DraftEnvironment(
            unique(name, {one.name for one in draft.environments}), keys, notes
        )
        draft.environments.append(known)
    return known.name


def _remote(remote: RemoteEndpoint, name: str) -> DraftLocation:
    keys: dict[str, Any] = {"host": remote.host}
    if remote.port is not None:
        keys["port"] = remote.port
    else:
        keys["socket"] = remote.socket
    keys["location_name"] = name
    notes = ["what serves it was not found here: it stays where it is, and is listed"]
    return DraftLocation(name, "grpc_server", keys, notes)
