"""The effective workspace: each setting with its value and where that comes from.

Owns which settings there are to show, and what of them is hidden. Values are plain data in one unit
(seconds, bytes, numbers of runs), None for none. Reads nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

from runner_shim import masking
from supervisor.face_settings import FaceSettings
from supervisor.run_settings import DEFAULTS, NONE, RunSettings
from supervisor.specs import EnvironmentSpec, LocationSpec, Source, SourcePosition, WorkspaceSpec

__all__ = [
    "Setting",
    "face_settings",
    "location_settings",
    "run_settings",
    "workspace_environments",
]

_PLAIN = (
    "load_timeout",
    "stop_timeout",
    "ping_interval",
    "ping_timeout",
    "history",
    "kill",
    "start_method",
    "preload",
    "verify",
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting by its ``key``, such as ``restart.policy``.

    ``origin`` is ``file``, ``discovered``, ``workspace`` (what it says for all its locations) or ``default``.
    """

    key: str
    value: Any
    origin: str
    position: SourcePosition | None = None

    def as_data(self) -> dict[str, Any]:
        """``value``, ``from`` and ``at``, which is the place or None."""
        at = None if self.position is None else str(self.position)
        return {"value": self.value, "from": self.origin, "at": at}


def _setting(key: str, value: Any, sources: Mapping[str, Source], at: str = "") -> Setting:
    source = sources.get(at or key)
    while source is None and "." in at:  # the map that it is in was given as one value
        at = at.rpartition(".")[0]
        source = sources.get(at)
    if source is None:
        return Setting(key, _plain(value), "default")
    origin = "discovered" if source.discovered else "file"
    return Setting(key, _plain(value), origin, source.position)


def _plain(value: Any) -> Any:
    if value == NONE and isinstance(value, float):
        return None
    if isinstance(value, float) and value == int(value):
        return int(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return masking.masked(value)


def location_settings(
    spec: LocationSpec, workspace: RunSettings, *, variables: bool = True
) -> list[Setting]:
    """The settings of a location; what looks like a secret, or does not stand in a workspace file, is hidden,
    and without ``variables`` the value of each variable.

    ``workspace`` are the settings of runs that lie below its own.
    """
    return list(_location(spec, workspace, variables))


def _location(spec: LocationSpec, workspace: RunSettings, variables: bool) -> Iterator[Setting]:
    sources = spec.sources
    yield _setting("location_name", spec.name, sources)
    if spec.remote is not None:
        for key in ("host", "port", "socket", "ssl"):
            if (value := getattr(spec.remote, key)) is not None:
                yield _setting(key, value, sources)
    if spec.target is not None:
        yield _setting(spec.target.kind.value, spec.target.name, sources, "target")
        if spec.target.attribute is not None:
            yield _setting("attribute", spec.target.attribute, sources)
        yield _setting("working_directory", spec.target.working_directory, sources)
        yield from _environment_of(spec)
        yield from _variables(spec, variables)
        for key in _PLAIN:
            yield _setting(key, getattr(spec, key), sources)
        for group in ("restart", "limits"):
            values = getattr(spec, group)
            for one in fields(values):
                yield _setting(
                    f"{group}.{one.name}", getattr(values, one.name), sources, f"{group}.{one.name}"
                )
        yield from _runs(spec.runs, sources, "runs.", workspace)
        for number, receiver in enumerate(spec.notify or ()):
            told = f"{receiver}: {', '.join(receiver.events)}"
            yield _setting(f"notify[{number}]", told, sources, "notify")
    for key, value in masking.masked(dict(spec.tags)).items():
        yield _setting(f"tags.{key}", value, sources, f"tags.{key}")
    shown = masking.masked(dict(spec.metadata))
    prefix = "metadata" if spec.remote is None else "additional_metadata"
    for key, value in shown.items():
        at = f"{prefix}.{key}"
        yield _setting(f"metadata.{key}", value, sources, at)


def _environment_of(spec: LocationSpec) -> Iterator[Setting]:
    environment = spec.environment
    if environment.name is not None:
        at = "environment" if "environment" in spec.sources else "name"
        yield _setting("environment", environment.name, spec.sources, at)
        return
    found = [Setting(f"environment.{one.key}", one.value, one.origin, one.position)
             for one in _environment(environment) if one.value not in (None, [], {}, False)]  # fmt: skip
    yield from found or [Setting("environment", "default", "default")]


def _environment(spec: EnvironmentSpec) -> Iterator[Setting]:
    for one in fields(spec):
        if one.name not in ("name", "lacks", "origin", "sources"):
            yield _setting(one.name, getattr(spec, one.name), spec.sources)


def _variables(spec: LocationSpec, shown: bool) -> Iterator[Setting]:
    for name, value in spec.env.items():
        source = spec.sources.get(f"env.{name}")
        hidden = not shown or source is None or source.hidden or masking.is_secret_name(name)
        yield _setting(f"env.{name}", masking.HIDDEN if hidden and value else value, spec.sources)


def run_settings(spec: WorkspaceSpec, most: int) -> list[Setting]:
    """The settings of runs of the whole workspace; ``most`` is how many at once where it does not say."""
    return list(_runs(spec.runs or RunSettings(), spec.runs_sources, "", None, most))


def face_settings(spec: WorkspaceSpec) -> list[Setting]:
    """What is said of Dagster's own programs; [] where that is nothing."""
    said = spec.face or FaceSettings()
    listen = None if said.listen is None else str(said.listen)
    values = {"serve": said.serves, "listen": listen, "instance": said.instance}
    found = [_setting(key, value, spec.face_sources) for key, value in values.items()]
    return found if spec.face_sources else []


def _runs(
    own: RunSettings,
    sources: Mapping[str, Source],
    prefix: str,
    below: RunSettings | None,
    most: float = math.inf,
) -> Iterator[Setting]:
    for one in fields(own):
        name = one.name
        key = {"keep_count": "keep.count", "keep_age": "keep.age"}.get(name, name)
        said = getattr(own, name)
        origin = "default"
        if said is None and below is not None and name not in ("max_concurrent", "tag_concurrency"):
            said = getattr(below, name)
            origin = "default" if said is None else "workspace"
        if said is None:
            said = most if name == "max_concurrent" else getattr(DEFAULTS, name)
        if name == "tag_concurrency":
            parts = [("", {str(limit): limit.limit for limit in said})]
        elif name == "retries":
            parts = [(f".{one.name}", getattr(said, one.name)) for one in fields(said)]
        else:
            parts = [("", said)]
        for part, value in parts:
            found = _setting(prefix + key + part, value, sources, prefix + key + part)
            yield found if origin == "default" else Setting(found.key, found.value, origin)


def workspace_environments(spec: WorkspaceSpec) -> dict[str, list[Setting]]:
    """The named environments, each with what the workspace says of it."""
    return {
        one.name or "": [setting for setting in _environment(one) if setting.origin != "default"]
        for one in spec.environments
    }
