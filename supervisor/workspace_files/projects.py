"""``[tool.dagster]``, ``[tool.dg]`` and ``dg.toml`` → location specs.

Owns the meaning of the tables in ``project_keys``: default
modules and names, a project's own interpreter and ``.env``, the projects of a workspace, each read
from its own file. Where Dagster reads such a table and finds nothing, this says so.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from supervisor.errors import ConfigurationProblem
from supervisor.nearest import near
from supervisor.specs import EnvironmentSpec, LocationSpec, Source, SourcePosition, TargetKind
from supervisor.workspace_files.assembly import Assembly, absolute, is_directory
from supervisor.workspace_files.document import DocumentError, Node, read_text, shorten
from supervisor.workspace_files.project_keys import DAGSTER_TABLE, DG_TABLE
from supervisor.workspace_files.shapes import Invalid, Record
from supervisor.workspace_files.toml import TomlDocument

__all__ = ["build_toml_file"]

_INTERPRETER_VARIABLE = "DG_PROJECT_PYTHON_EXECUTABLE"
_METADATA = ("image", "agent_queue", "registry_modules")


def build_toml_file(document: TomlDocument, path: Path, assembly: Assembly) -> None:
    """Registers the locations of a pyproject.toml or dg.toml.

    A file with a ``tool`` table is read as a pyproject.toml, any other as a dg.toml. Where both
    ``[tool.dagster]`` and ``[tool.dg]`` stand, as in projects that ``dg`` once scaffolded, the
    former names the modules and the latter gives the interpreter.
    """
    dg_prefix = ("tool", "dg") if _is_pyproject(document, path) else ()
    dagster = document.node("tool", "dagster") if dg_prefix else None
    dg = document.node(*dg_prefix)
    if dagster is not None:
        if dg is not None and dg.kind == "map" and "project" in dg.value:
            environment, env = _project_environment(path.parent, assembly)
        else:
            environment, env = assembly.virtualenv(path.parent), assembly.dotenv(path.parent)
        if dg is not None and dg.kind == "map" and "workspace" in dg.value:
            assembly.warn(
                dg.keys["workspace"],
                "[tool.dg.workspace] is not read, because [tool.dagster] in this file is",
            )
        _dagster(dagster, path, environment, env, assembly)
    elif dg is not None:
        _dg(dg, path, ".".join(dg_prefix), assembly, inside_workspace=False)
    else:
        assembly.reading.problem(
            SourcePosition(str(path)),
            "",
            "the file names no code location",
            expected="a table [tool.dagster], or [tool.dg] with project or workspace",
        )


def _is_pyproject(document: TomlDocument, path: Path) -> bool:
    return path.name == "pyproject.toml" or "tool" in document.data


def _dagster(
    node: Node,
    path: Path,
    environment: EnvironmentSpec,
    env: dict[str, str],
    assembly: Assembly,
) -> None:
    record = DAGSTER_TABLE.read(node, "tool.dagster", assembly.reading)
    if isinstance(record, Invalid):
        return
    if record.written("module_name") == record.written("modules"):
        both = record.written("modules")
        assembly.reading.problem(
            record.position("modules") if both else node.position,
            "tool.dagster",
            "this names a module_name and modules" if both else "this names no module",
            expected="one of module_name or modules",
        )
        return
    name = "code_location_name"
    location_name = record.get(name)
    modules: list[tuple[str, SourcePosition, str, ConfigurationProblem | None]] = []
    if "module_name" in record:
        position = record.position("module_name")
        modules.append((record.get("module_name"), position, "tool.dagster.module_name", None))
    for item in record.get("modules", ()):
        entry = item.value
        if isinstance(entry, Invalid):
            with assembly.entry(problem=item.problem):
                continue
        if entry.get("type") != "module":
            with assembly.entry():
                assembly.reading.problem(
                    entry.value_position("type"),
                    entry.at("type"),
                    f'the type "{shorten(entry.get("type"))}" is not known',
                    expected="module, the only type there is",
                    suggestion=near(entry.get("type"), ["module"]),
                )
                continue
        modules.append((entry.get("name"), entry.value_position("name"), entry.path, item.problem))
    if location_name and len(modules) > 1:
        assembly.reading.problem(
            record.position(name),
            f"tool.dagster.{name}",
            f'{len(modules)} modules cannot share the name "{shorten(location_name)}"',
            expected="code_location_name with one module only; use a workspace.yaml to name several",
        )
        return
    for module, position, at, problem in modules:
        spec = LocationSpec(
            name=location_name or module,
            target=assembly.target(
                TargetKind.PYTHON_MODULE, module, None, Record(node, at, {}), path.parent
            ),
            environment=environment,
            env=env,
            form="tool.dagster",
            origin=position,
            sources={
                "target": Source(position),
                **({"location_name": Source(record.value_position(name))} if location_name else {}),
                **assembly.variable_sources(path.parent / ".env", discovered=True),
            },
        )
        with assembly.entry(problem=problem):
            assembly.add_location(spec, position, at)


def _dg(node: Node, path: Path, prefix: str, assembly: Assembly, *, inside_workspace: bool) -> None:
    reading = assembly.reading
    record = DG_TABLE.read(node, prefix, reading)
    if isinstance(record, Invalid):
        return
    kind = record.get("directory_type")
    if kind is not None and kind not in ("project", "workspace"):
        reading.problem(
            record.value_position("directory_type"),
            record.at("directory_type"),
            f'the directory type "{shorten(kind)}" is not known',
            expected="project or workspace",
            suggestion=near(kind, ("project", "workspace")),
        )
        return
    tables = [key for key in ("project", "workspace") if record.written(key)]
    wanted = [kind] if kind else tables
    for table in tables:
        if kind and table != kind:
            reading.problem(
                record.position(table),
                record.at(table),
                f"this table is not used, because directory_type is {kind}",
                expected=f"a table {record.at(kind)}",
            )
    if len(wanted) > 1:
        reading.problem(
            record.position("workspace"),
            record.at("workspace"),
            "this is a project and a workspace",
            expected="one of the tables project or workspace",
        )
    elif not wanted or wanted[0] not in tables:
        reading.problem(
            node.position,
            prefix,
            "this names no code location",
            expected=f"a table {record.at(wanted[0] if wanted else 'project')}"
            + ("" if wanted else f" or {record.at('workspace')}"),
        )
    elif wanted[0] == "project":
        if "project" in record:
            _project(record.get("project"), path, assembly)
    elif inside_workspace:
        reading.problem(
            record.position("workspace"),
            record.at("workspace"),
            "a workspace cannot be a project of another workspace",
        )
    elif "workspace" in record:
        _workspace(record.get("workspace"), path, assembly)


def _workspace(record: Record, path: Path, assembly: Assembly) -> None:
    if not record.written("projects"):
        assembly.reading.problem(
            record.node.position,
            record.path,
            "this workspace names no projects",
            expected='projects = [{path = "..."}]',
        )
    for item in record.get("projects", ()):
        entry = item.value
        if isinstance(entry, Invalid):
            with assembly.entry(problem=item.problem):
                continue
        directory = absolute(entry.get("path"), path.parent, assembly.environ)
        with assembly.entry(str(directory), problem=item.problem):
            _listed(directory, entry, path, assembly)


def _listed(directory: Path, entry: Record, path: Path, assembly: Assembly) -> None:
    """A project that the workspace ``path`` lists."""
    position, at = entry.value_position("path"), entry.at("path")
    found = _project_file(directory)
    if found is None:
        missing = (
            "has no pyproject.toml or dg.toml" if is_directory(directory) else "does not exist"
        )
        assembly.reading.problem(position, at, f"the project {directory} {missing}")
        return
    assembly.add_file(found)
    try:
        document = TomlDocument(read_text(found), str(found))
        prefix = ("tool", "dg") if _is_pyproject(document, found) else ()
        node = document.node(*prefix)
    except DocumentError as error:
        assembly.document_problems(error.problems)
        return
    if node is None:
        assembly.reading.problem(
            SourcePosition(str(found)),
            "",
            f"the project has no table [tool.dg.project], but {path} lists it",
        )
        return
    _dg(node, found, ".".join(prefix), assembly, inside_workspace=True)


def _project_file(directory: Path) -> Path | None:
    for name in ("dg.toml", "pyproject.toml"):
        if os.path.lexists(directory / name):
            return directory / name
    return None


def _project(record: Record, path: Path, assembly: Assembly) -> None:
    directory = path.parent
    root = record.get("root_module")
    environment, env = _project_environment(directory, assembly)
    if record.get("autoload_defs"):
        kind, key, module = TargetKind.AUTOLOAD, "defs_module", f"{root}.defs"
    else:
        kind = TargetKind.PYTHON_MODULE
        key, module = "code_location_target_module", f"{root}.definitions"
    module = record.get(key, module)
    position = record.node.position
    said = record.sources()
    sources = {"target": said[key if key in said else "root_module"]}
    if "code_location_name" in said:
        sources["location_name"] = said["code_location_name"]
    sources |= {f"metadata.{one}": said[one] for one in _METADATA if one in said}
    spec = LocationSpec(
        name=record.get("code_location_name") or directory.name,
        target=assembly.target(kind, module, None, record, directory),
        environment=environment,
        env=env,
        metadata={key: record.get(key) for key in _METADATA if key in record},
        form="dg project",
        origin=position,
        sources=sources | assembly.variable_sources(directory / ".env", discovered=True),
    )
    assembly.add_location(spec, position, record.at("code_location_name"))


def _project_environment(
    directory: Path, assembly: Assembly
) -> tuple[EnvironmentSpec, dict[str, str]]:
    """The project's interpreter (``.env``'s variable, else its ``.venv``) and its ``.env``."""
    env: dict[str, str] = {}
    env_file = directory / ".env"
    if env_file.is_file():
        env = dict(assembly.env_file(env_file, SourcePosition(str(env_file)), ""))
    own = env.pop(_INTERPRETER_VARIABLE, None)
    if own:
        executable = assembly.command(own, directory)
        said = assembly.variable_sources(env_file, discovered=True)[f"env.{_INTERPRETER_VARIABLE}"]
        source = replace(said, hidden=False)
    else:
        return assembly.virtualenv(directory, own=True), env
    return EnvironmentSpec(executable_path=executable, sources={"executable_path": source}), env
