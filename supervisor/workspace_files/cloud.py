"""``dagster_cloud.yaml`` → location specs.

Owns what such a file means on one machine: every path of a location starts at its
``build.directory``, as in the image that a cloud would build from it; keys that only a cloud can
honour become metadata. Does not render Jinja templates: those belong to the deployment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from supervisor.specs import EnvironmentSpec, LocationSpec, Source, TargetKind
from supervisor.workspace_files.assembly import Assembly, absolute
from supervisor.workspace_files.cloud_keys import CLOUD
from supervisor.workspace_files.document import Node
from supervisor.workspace_files.shapes import Invalid, Record

__all__ = ["build_cloud_file"]

_KINDS = {
    "package_name": TargetKind.PYTHON_PACKAGE,
    "module_name": TargetKind.PYTHON_MODULE,
    "python_file": TargetKind.PYTHON_FILE,
    "autoload_defs_module_name": TargetKind.AUTOLOAD,
}
_METADATA = ("image", "agent_queue", "container_context", "git", "pex_metadata")


def build_cloud_file(node: Node, directory: Path, assembly: Assembly) -> None:
    """Registers the locations of a cloud file that stands in ``directory``."""
    record = CLOUD.read(node, "", assembly.reading)
    if isinstance(record, Invalid):
        return
    defaults = record.get("defaults")
    for item in record.get("locations"):
        name = item.node.value.get("location_name") if item.node.kind == "map" else None
        with assembly.entry(problem=item.problem, name=(name.text or None) if name else None):
            if not isinstance(item.value, Invalid):
                _location(item.value, defaults, directory, assembly)


def _location(
    location: Record, defaults: Record | None, directory: Path, assembly: Assembly
) -> None:
    layers = [layer for layer in (defaults, location) if layer is not None]
    values: dict[str, Any] = {}
    build: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for layer in layers:
        values |= layer.values
        if "build" in layer:
            build |= layer.get("build").values
        for key in _METADATA:
            if key in layer:
                metadata[key] = _merged(metadata.get(key), layer.get(key))
    if "registry" in build:
        metadata["registry"] = build["registry"]
    position = location.node.position
    sources = {key: at for layer in layers for key, at in layer.sources().items()}
    sources["target"] = Source(location.value_position("code_source"))
    source, name, _ = values["code_source"]
    if _is_template(values["location_name"], name, assembly, location):
        return
    kind = _KINDS[source]
    attribute = values.get("attribute")
    if kind is TargetKind.AUTOLOAD and attribute:
        assembly.reading.problem(
            (location if "attribute" in location else layers[0]).position("attribute"),
            location.at("attribute"),
            "attribute cannot stand beside autoload_defs_module_name: the whole package is loaded",
        )
        return
    base = (
        absolute(build["directory"], directory, assembly.environ)
        if "directory" in build
        else directory
    )
    effective = Record(location.node, location.path, values)
    target = assembly.target(kind, name, attribute, effective, base)
    executable = assembly.command(values.get("executable_path"), base)
    environment = EnvironmentSpec(executable_path=executable, origin=position, sources=sources)
    spec = LocationSpec(
        name=values["location_name"],
        target=target,
        environment=environment if executable else assembly.own_environment(target, base),
        metadata=metadata,
        form="dagster_cloud.yaml",
        origin=position,
        sources=sources,
    )
    assembly.add_location(
        spec, location.value_position("location_name"), location.at("location_name")
    )


def _is_template(name: str, target: str, assembly: Assembly, location: Record) -> bool:
    for key, text in (("location_name", name), ("code_source", target)):
        if "{{" in text or "{%" in text:
            assembly.reading.problem(
                location.value_position(key),
                location.at(key),
                "this is a template that only a cloud deployment fills in",
                expected="a value",
            )
            return True
    return False


def _merged(old: Any, new: Any) -> Any:
    """Maps merge key by key, lists one after the other, anything else is replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
    if isinstance(old, list) and isinstance(new, list):
        return [*old, *(item for item in new if item not in old)]
    return new
