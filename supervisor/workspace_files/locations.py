"""``workspace.yaml`` (every form since Dagster 0.7, and our own keys) → location specs.

Owns the meaning of the keys in ``keys.WORKSPACE``: defaults, merging, names, environments.
Reads in two steps, because a location may use an environment that another file defines:
``declare`` takes the environments of a file, ``build`` its locations. Refuses other kinds of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.errors import ConfigurationProblem
from supervisor.run_settings import RunSettings
from supervisor.specs import (
    EnvironmentSpec,
    Limits,
    LocationSpec,
    RemoteEndpoint,
    RestartSpec,
    Source,
    SourcePosition,
    TargetKind,
)
from supervisor.workspace_files.assembly import Assembly, absolute, default_name
from supervisor.workspace_files.document import Node
from supervisor.workspace_files.keys import WORKSPACE, WORKSPACE_LIST
from supervisor.workspace_files.notify_keys import notifications
from supervisor.workspace_files.run_keys import run_settings
from supervisor.workspace_files.shapes import Invalid, Record
from supervisor.workspace_files.variables import expand

__all__ = ["WorkspaceFile"]

_MAIN_KEY = {
    TargetKind.PYTHON_FILE: "relative_path",
    TargetKind.PYTHON_MODULE: "module_name",
    TargetKind.PYTHON_PACKAGE: "package_name",
    TargetKind.AUTOLOAD: "module_name",
}
_PLAIN_KEYS = (
    "load_timeout",
    "stop_timeout",
    "ping_interval",
    "ping_timeout",
    "kill",
    "history",
    "start_method",
    "verify",
)
_ENVIRONMENT_KEYS = (
    *("executable_path", "python", "requirements", "requirements_file", "project"),
    *("extras", "groups"),
)


@dataclass(slots=True)
class _Place:
    """Where a location stands: the position of its selector and its key path."""

    position: SourcePosition
    at: str


class WorkspaceFile:
    """One workspace file on its way into an Assembly."""

    def __init__(self, node: Node, path: Path, assembly: Assembly) -> None:
        self._assembly = assembly
        self._reading = assembly.reading
        self._file = str(path)
        self._base = path.parent
        self._node = node
        # What is wrong outside the locations and the environments concerns all locations.
        with assembly.reading.expanding():
            whole = WORKSPACE.apart(node, "", assembly.reading)
        self._problem = whole.problem
        record = whole.value
        self._record = None if isinstance(record, Invalid) else record
        self._defaults: Record | None = record.get("defaults") if self._record else None

    @property
    def has_locations(self) -> bool:
        """True when the file says what to load, be it nothing (``load_from: []``)."""
        return self._record is None or any(
            self._record.written(key) for key in ("load_from", "repository")
        )

    @property
    def sound(self) -> bool:
        """True when nothing is wrong outside its locations and environments."""
        return self._problem is None

    def declare(self) -> None:
        """Registers the environments of this file under their names."""
        if self._record is None:
            return
        names = self._node.value.get("environments")
        for name, position in (names.keys if names is not None else {}).items():
            first = self._assembly.environment_names.setdefault(name, position)
            if first is not position:
                with self._reading.apart() as scope:
                    self._reading.problem(
                        position,
                        f"environments.{name}",
                        f'the environment name "{name}" is taken already, at {first}',
                        expected="names that differ",
                    )
                self._flaw(name, scope.problem)
        for name, item in self._record.get("environments", {}).items():
            self._flaw(name, item.problem)
            if isinstance(item.value, Invalid):
                continue
            with self._reading.apart() as scope:
                spec = self._assembly.environment(item.value, self._base, name=name)
            self._flaw(name, scope.problem)
            self._assembly.environments.setdefault(name, spec)

    def _flaw(self, name: str, problem: ConfigurationProblem | None) -> None:
        if problem is not None:
            self._assembly.flawed.setdefault(name, problem)

    def build(self) -> None:
        """Registers the locations of this file, and what it says of runs."""
        if self._record is not None and "runs" in self._record:
            with self._reading.apart() as scope:
                self._assembly.add_runs(self._record.get("runs"))
            self._problem = self._problem or scope.problem
        if self._record is not None and "notify" in self._record:
            self._assembly.notify += notifications(self._record.get("notify"), self._base)
        if self._record is not None and "dagster" in self._record:
            with self._reading.apart() as scope:
                self._assembly.add_face(self._record.get("dagster"), self._base)
            self._problem = self._problem or scope.problem
        with self._assembly.entry(self._file, problem=self._problem):
            if self._record is not None:
                self._build(self._record)

    def _build(self, record: Record) -> None:
        unknown = set(self._node.value) - set(
            WORKSPACE.fields
        )  # told already, likely a misspelling
        if not self.has_locations and not record.written("environments") and not unknown:
            self._reading.problem(
                self._node.position,
                "",
                "the key load_from is missing",
                expected=f"load_from: {WORKSPACE_LIST.expected}",
            )
        if record.written("repository"):
            with self._assembly.entry():
                self._legacy(record)
        for key in ("scheduler", "partitions"):
            if record.written(key):
                self._assembly.warn(
                    record.position(key), f"the {key} block of Dagster 0.7 is ignored; remove it"
                )
        if "defaults" in record and "environment" in record.values["defaults"]:
            defaults: Record = record.values["defaults"]
            name = defaults.get("environment")
            with self._reading.apart():  # it concerns those that have no other
                self._assembly.reference(
                    name, defaults.value_position("environment"), defaults.at("environment")
                )
        for item in record.get("load_from", ()):
            with self._assembly.entry(problem=item.problem, name=self._name(item.node)):
                if not isinstance(item.value, Invalid):
                    selector, value, position = item.value
                    self._location(selector, value, _Place(position, value.path))

    def _location(self, selector: str, record: Record, place: _Place) -> None:
        if selector == "grpc_server":
            self._remote(record, place)
        elif selector == "python_environment":
            inner, target, _ = record.get("target")
            environment = self._environment(record, "name")
            self._started(TargetKind(inner), target, record, environment, selector, place)
        else:
            environment = self._environment(record, "environment")
            self._started(TargetKind(selector), record, record, environment, selector, place)

    def _legacy(self, record: Record) -> None:
        position = record.position("repository")
        self._assembly.warn(
            position,
            "the repository block of Dagster 0.7 is deprecated; write load_from with python_file "
            "or python_module and attribute",
        )
        block: Record | None = record.get("repository")
        if block is None:
            return
        if ("module" in block) == ("file" in block):
            if not block.written("module") or not block.written("file"):
                message = "this names neither a module nor a file"
            else:
                message = "this names a module and a file"
            self._reading.problem(
                position, "repository", message, expected="one of module or file, and fn"
            )
            return
        kind = TargetKind.PYTHON_MODULE if "module" in block else TargetKind.PYTHON_FILE
        target = block.get("module") or block.get("file")
        fields = {_MAIN_KEY[kind]: target, "attribute": block.get("fn")}
        legacy = Record(block.node, "repository", fields)
        place = _Place(position, "repository")
        empty = Record(block.node, "repository", {})
        environment = self._environment(empty, "environment")
        self._started(kind, legacy, empty, environment, "repository", place)

    def _started(
        self,
        kind: TargetKind,
        target: Record,
        outer: Record,
        environment: EnvironmentSpec | None,
        form: str,
        place: _Place,
    ) -> None:
        """A location that we start: ``target`` holds Dagster's keys, ``outer`` ours."""
        attribute = target.get("attribute")
        key = _MAIN_KEY[kind]
        main = target.values[key]
        sources = {"target" if one == key else one: at for one, at in target.sources().items()}
        name = target.get("location_name") or default_name(kind, main, attribute)
        loaded = self._assembly.target(kind, main, attribute, target, self._base)
        spec = LocationSpec(
            name=name,
            target=loaded,
            environment=environment or self._assembly.own_environment(loaded, self._base),
            form=form,
            origin=place.position,
            **self._settings(outer, sources),
        )
        where = (
            target.value_position("location_name") if "location_name" in target else place.position
        )
        self._assembly.add_location(spec, where, place.at)

    def _environment(self, record: Record, key: str) -> EnvironmentSpec | None:
        """The environment a location names, describes, or gets from the defaults; None without any."""
        own = [name for name in _ENVIRONMENT_KEYS if record.written(name)]
        if record.written(key) and own:
            self._reading.problem(
                record.position(own[0]),
                record.path,
                f"{own[0]} cannot stand beside {key}: the environment of that name says it already",
                expected=f"{key} or {own[0]}",
            )
        if key in record:
            return self._assembly.reference(
                record.get(key), record.value_position(key), record.at(key)
            )
        if own:
            return self._assembly.environment(record, self._base)
        if self._defaults is not None and "environment" in self._defaults:
            defaults = self._defaults
            return self._assembly.reference(
                defaults.get("environment"),
                defaults.value_position("environment"),
                defaults.at("environment"),
            )
        return None

    def _settings(self, record: Record, target: Mapping[str, Source]) -> dict[str, Any]:
        """Our own keys, the defaults' below the location's; maps merge key by key.

        ``target`` says where those of the target come from.
        """
        layers = [layer for layer in (self._defaults, record) if layer is not None]
        settings: dict[str, Any] = {"env": {}, "metadata": {}, "tags": {}}
        sources: dict[str, Source] = {}
        if not any(layer.written("env_file") for layer in layers):
            settings["env"] |= self._assembly.dotenv(self._base)
            sources |= self._assembly.variable_sources(self._base / ".env", discovered=True)
        restart: dict[str, Any] = {}
        limits: dict[str, Any] = {}
        runs = RunSettings()
        for layer in layers:
            for text, position in layer.get("env_file", ()):
                path = absolute(text, self._base, self._assembly.environ)
                found = self._assembly.env_file(path, position, layer.at("env_file"))
                settings["env"] |= found
                sources |= self._assembly.variable_sources(path)
            sources |= layer.sources()
            settings["env"] |= layer.get("env", {})
            settings["metadata"] |= layer.get("metadata", {})
            settings["tags"] |= layer.get("tags", {})
            for key in _PLAIN_KEYS:
                if key in layer:
                    settings[key] = layer.get(key)
            if "preload" in layer:
                settings["preload"] = tuple(layer.get("preload"))
            if "restart" in layer:
                restart |= layer.get("restart").values
            if "limits" in layer:
                limits |= layer.get("limits").values
            runs = run_settings(layer.get("runs")).over(runs)
            if "notify" in layer:
                settings["notify"] = notifications(layer.get("notify"), self._base)
        settings["sources"] = sources | dict(target)
        settings["runs"] = runs
        settings["restart"] = RestartSpec(**restart)
        settings["limits"] = Limits(**limits)
        merged: RestartSpec = settings["restart"]
        if merged.max_delay < merged.initial_delay:
            at_fault = record if record.written("restart") else layers[0]
            self._reading.problem(
                at_fault.position("restart"),
                at_fault.at("restart"),
                f"initial_delay of {merged.initial_delay:g} s is longer than max_delay of "
                f"{merged.max_delay:g} s",
                expected="a longer max_delay",
            )
        return settings

    def _remote(self, record: Record, place: _Place) -> None:
        if record.written("port") == record.written("socket"):
            both = (
                "a port and a socket" if record.written("port") else "neither a port nor a socket"
            )
            self._reading.problem(
                place.position, place.at, f"this names {both}", expected="one of port or socket"
            )
            return
        if "port" not in record and "socket" not in record:
            return
        remote = RemoteEndpoint(
            host=record.get("host", "localhost"),
            port=record.get("port"),
            socket=record.get("socket"),
            ssl=record.get("ssl", False),
        )
        spec = LocationSpec(
            name=record.get("location_name") or str(remote),
            target=None,
            remote=remote,
            metadata=record.get("additional_metadata", {}),
            form="grpc_server",
            origin=place.position,
            sources=record.sources(),
        )
        self._assembly.add_location(spec, place.position, place.at)

    def _name(self, node: Node) -> str | None:
        """The ``location_name`` that stands in an item that could not be read, or in a map of it."""
        if node.kind != "map":
            return None
        own = node.value.get("location_name")
        if own is not None:
            found = expand(own.text, self._assembly.environ)
            return None if found.problems else found.text or None
        inner = (self._name(child) for child in node.value.values())
        return next((name for name in inner if name is not None), None)
