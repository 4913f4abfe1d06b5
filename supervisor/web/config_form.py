"""The configuration of a launch as a form: a field for each that the schemas in a snapshot have.

Owns which fields there are, their names, and the configuration that the texts of a sent form stand for. A
text that does not fit its type is passed on as it is: the supervisor says what is expected there. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["ConfigError", "Entry", "config_of", "entries_of_asset", "entries_of_job"]

MOST_ENTRIES = 300
"""Fields of a form; what has more is configured as JSON."""

_KINDS = {
    "str": "text", "string": "text", "stringsource": "text", "path": "text",
    "int": "whole", "integer": "whole", "intsource": "whole",
    "float": "number", "number": "number",
    "bool": "truth", "boolean": "truth", "boolsource": "truth",
}  # fmt: skip
_DEEPEST = 20


class ConfigError(Exception):
    """The text that should be JSON is none, or no map; the text says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A field of the form at ``path`` of the configuration.

    ``kind`` says how its text is read: text, whole, number, truth, or json for all other types.
    """

    path: tuple[str, ...]
    section: str
    type: str
    kind: str
    required: bool
    default: str | None
    description: str

    @property
    def key(self) -> str:
        """The path as problems name it."""
        return ".".join(self.path)

    @property
    def name(self) -> str:
        """The name of its input."""
        return f"c.{self.key}"


def entries_of_job(
    job: Mapping[str, Any], resources: Iterable[Mapping[str, Any]]
) -> tuple[Entry, ...]:
    """The fields of a job (docs/snapshot.md), with those of the ``resources`` that it needs."""
    ops = "solids" if job.get("kind") == "pipeline" else "ops"
    found: list[Entry] = []
    if job.get("config"):
        found += _entries(job["config"], ("config",), "config of the job")
    else:
        found += _of_graph(job.get("graph"), (), ops)
    needed = set(job.get("resource_keys") or ()) | set(_resources(job.get("graph")))
    return tuple([*found, *_of_resources(resources, needed)][:MOST_ENTRIES])


def entries_of_asset(
    assets: Iterable[Mapping[str, Any]], resources: Iterable[Mapping[str, Any]]
) -> tuple[Entry, ...]:
    """The fields of ``assets``, as ``entries_of_job``."""
    found: list[Entry] = []
    needed: set[str] = set()
    for one in assets:
        op = one.get("op")
        name = op if isinstance(op, str) and op else str(one["name"])
        found += _entries(one.get("config") or (), ("ops", name, "config"), f"asset {one['name']}")
        keys = one.get("resource_keys")
        needed.update(str(key) for key in keys if key) if isinstance(keys, list) else None
    return tuple([*found, *_of_resources(resources, needed)][:MOST_ENTRIES])


def config_of(entries: Sequence[Entry], sent: Mapping[str, str], more: str) -> dict[str, Any]:
    """The configuration that the texts ``sent`` by name and the JSON ``more`` stand for.

    What is empty is left out. Raises ``ConfigError``.
    """
    config: dict[str, Any] = {}
    if more.strip():
        try:
            config = json.loads(more)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"it is no JSON: {error}") from None
        if not isinstance(config, dict):
            raise ConfigError("a map is expected: {…}")
    for one in entries:
        text = sent.get(one.name, "")
        if text == "":
            continue
        place = config
        for name in one.path[:-1]:
            inner = place.setdefault(name, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"it has something else than a map on the way to {one.key}")
            place = inner
        place[one.path[-1]] = _value(one.kind, text)
    return config


def _value(kind: str, text: str) -> Any:
    if kind == "text":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _of_graph(graph: Any, path: tuple[str, ...], ops: str, depth: int = 0) -> Iterator[Entry]:
    nodes = graph.get("nodes") if isinstance(graph, Mapping) else None
    for node in nodes or () if depth < _DEEPEST else ():
        here = (*path, ops, node["name"])
        section = " / ".join([*here[1::2]])
        if node.get("graph") and not node.get("config"):
            yield from _of_graph(node["graph"], here, ops, depth + 1)
        else:
            yield from _entries(node.get("config") or (), (*here, "config"), f"op {section}")


def _resources(graph: Any, depth: int = 0) -> Iterator[str]:
    nodes = graph.get("nodes") if isinstance(graph, Mapping) else None
    for node in nodes or () if depth < _DEEPEST else ():
        yield from node.get("resource_keys") or ()
        yield from _resources(node.get("graph"), depth + 1)


def _of_resources(resources: Iterable[Mapping[str, Any]], needed: set[str]) -> Iterator[Entry]:
    for one in resources:
        if one["name"] in needed:
            path = ("resources", one["name"], "config")
            yield from _entries(one.get("config") or (), path, f"resource {one['name']}")


def _entries(
    fields: Iterable[Mapping[str, Any]], path: tuple[str, ...], section: str
) -> Iterator[Entry]:
    for one in fields:
        here = (*path, one["name"]) if one["name"] else path
        if one.get("fields"):
            yield from _entries(one["fields"], here, section)
            continue
        kind = _KINDS.get(str(one.get("type", "")).rstrip("?").lower(), "json")
        default = one.get("default")
        yield Entry(
            path=here,
            section=section,
            type=str(one.get("type", "")),
            kind=kind,
            required=bool(one.get("required")),
            default=None if default is None else str(default),
            description=str(one.get("description", "")),
        )
