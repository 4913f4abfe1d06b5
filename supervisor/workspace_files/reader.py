"""Files or flags → one WorkspaceSpec and its entries, with all their problems at once.

Owns the order of reading, which reader a file is for, and the whole that the parts make up.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.desired import Desired
from supervisor.errors import ConfigurationProblem
from supervisor.specs import LocationSpec, Source, SourcePosition, TargetKind, WorkspaceSpec
from supervisor.workspace_files.assembly import Assembly, default_name
from supervisor.workspace_files.cloud import build_cloud_file
from supervisor.workspace_files.discovery import COMMAND_LINE, locate
from supervisor.workspace_files.document import DocumentError, Node, parse_yaml, read_text
from supervisor.workspace_files.keys import ATTRIBUTE, MODULE, PATH
from supervisor.workspace_files.locations import WorkspaceFile
from supervisor.workspace_files.problems import Reading
from supervisor.workspace_files.projects import build_toml_file
from supervisor.workspace_files.shapes import Invalid, Record, Shape
from supervisor.workspace_files.toml import TomlDocument
from supervisor.workspace_files.tool_table import ToolTables

if TYPE_CHECKING:
    from supervisor.workspace_files import Selection

__all__ = ["read_workspace"]


def read_workspace(
    selection: Selection, *, cwd: Path, environ: Mapping[str, str]
) -> tuple[WorkspaceSpec, Desired]:
    """See ``supervisor.workspace_files.reread``."""
    sources = locate(selection, cwd=cwd)
    reading = Reading(environ)
    reading.warnings += sources.notes
    tables = ToolTables(reading, sources.directory)
    assembly = Assembly(reading, tables)
    if sources.files:
        sound = _read_files(sources.files, assembly)
    else:
        sound = True
        _read_flags(selection, sources.directory, assembly)
    assembly.check_names()
    specs = (one.spec for one in assembly.entries if one.problem is None)
    spec = WorkspaceSpec(
        title=sources.title,
        key=sources.key,
        directory=sources.directory,
        locations=tuple(one for one in specs if one is not None),
        files=tuple(assembly.files),
        awaited=(*assembly.awaited, *tables.looked_at),
        environments=tuple(assembly.environments.values()),
        warnings=tuple(reading.warnings),
        runs=assembly.runs if sound else None,
        notify=assembly.notify if sound else None,
        face=assembly.face if sound else None,
        face_sources=assembly.face_sources,
        runs_sources=assembly.runs_sources,
    )
    problems = _sorted(reading.problems, assembly.files)
    return spec, Desired(tuple(assembly.entries), tuple(problems))


def _sorted(problems: list[ConfigurationProblem], files: list[Path]) -> list[ConfigurationProblem]:
    order = {str(path): index for index, path in enumerate(files)}
    return sorted(
        problems,
        key=lambda p: (order.get(p.position.file, len(order)), p.position.line, p.position.column),
    )


def _read_files(files: tuple[Path, ...], assembly: Assembly) -> bool:
    """True when all that concerns the whole workspace could be read."""
    workspaces: list[WorkspaceFile] = []
    others = 0
    for path in files:
        assembly.add_file(path)
        with assembly.entry(str(path)):
            try:
                text = read_text(path)
                if path.suffix == ".toml":
                    build_toml_file(TomlDocument(text, str(path)), path, assembly)
                    others += 1
                    continue
                node, flaws = parse_yaml(text, str(path))
            except DocumentError as error:
                assembly.document_problems(error.problems)
                assembly.incomplete = error.problems[0]
                continue
            with assembly.reading.apart():  # each concerns the part that it is in
                assembly.reading.flaws(flaws)
            if node is None or node.value is None:
                assembly.reading.problem(
                    SourcePosition(str(path), 1, 1),
                    "",
                    "the file is empty",
                    expected="load_from: and a list of locations ([] for none)",
                )
                others += 1
            elif _is_cloud(node, path):
                build_cloud_file(node, path.parent, assembly)
                others += 1
            else:
                workspaces.append(WorkspaceFile(node, path, assembly))
    for workspace in workspaces:
        workspace.declare()
    for workspace in workspaces:
        workspace.build()
    if not (assembly.reading.problems or others or any(w.has_locations for w in workspaces)):
        for path in files:
            with assembly.entry(str(path)):
                assembly.reading.problem(
                    SourcePosition(str(files[0]), 1, 1),
                    "",
                    "no file says what to load"
                    if len(files) > 1
                    else "the key load_from is missing",
                    expected="load_from: and a list of locations ([] for none)",
                )
    return assembly.incomplete is None and all(one.sound for one in workspaces)


def _is_cloud(node: Node, path: Path) -> bool:
    keys = set(node.value) if node.kind == "map" else set()
    if keys & {"load_from", "repository", "environments"}:
        return False
    return "locations" in keys or path.name.startswith("dagster_cloud.")


def _read_flags(selection: Selection, cwd: Path, assembly: Assembly) -> None:
    position = SourcePosition(COMMAND_LINE)

    def text(value: str, shape: Shape, flag: str) -> str | None:
        read = shape.read(Node("scalar", value, position, value), flag, assembly.reading)
        return None if isinstance(read, Invalid) else read

    record = Record(Node("map", {}, position), "", {})
    directory = selection.working_directory
    if directory is not None and text(directory, PATH, "-d") is not None:
        record.values["working_directory"] = directory
    attribute = selection.attribute
    if attribute is not None:
        attribute = text(attribute, ATTRIBUTE, "-a")
    targets = (
        ("-f", TargetKind.PYTHON_FILE, PATH, selection.python_files),
        ("-m", TargetKind.PYTHON_MODULE, MODULE, selection.modules),
        ("--package-name", TargetKind.PYTHON_PACKAGE, MODULE, selection.packages),
        ("--autoload-defs-module", TargetKind.AUTOLOAD, MODULE, selection.autoload_modules),
    )
    for flag, kind, shape, names in targets:
        for name in names:
            with assembly.entry(COMMAND_LINE):
                if text(str(name), shape, flag) is None:
                    continue
                target = assembly.target(kind, str(name), attribute, record, cwd)
                spec = LocationSpec(
                    name=default_name(kind, target.name, attribute),
                    target=target,
                    environment=assembly.own_environment(target, cwd),
                    env=assembly.dotenv(cwd),
                    form=flag,
                    origin=position,
                    sources={
                        "target": Source(position),
                        **(
                            {"working_directory": Source(position)}
                            if "working_directory" in record
                            else {}
                        ),
                        **({"attribute": Source(position)} if attribute else {}),
                        **assembly.variable_sources(cwd / ".env", discovered=True),
                    },
                )
                assembly.add_location(spec, position, flag)
