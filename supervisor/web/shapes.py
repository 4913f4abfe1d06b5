"""Definitions as the pages may rely on them, whatever a shim sent.

Owns the fields that pages take apart, each declared once with its shape and its place, and one check.
The supervisor looks at the frame of a snapshot (kind, name, keys) and passes on the
rest as it came from user code's process; here every field that a page takes apart has the shape that
docs/snapshot.md promises, or is left out. Fields that are only printed stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["FIELDS", "LAUNCHED", "LISTED", "PLACED", "Field", "checked", "is_external"]

_DEEPEST = 20


def checked(definition: Mapping[str, Any], only: Collection[str] | None = None) -> dict[str, Any]:
    """``definition`` without the fields that have not their shape; ``only`` those, where given."""
    found: dict[str, Any] = {}
    for name, value in definition.items():
        if only is not None and name not in only:
            continue
        field = FIELDS.get(name)
        kept = value if field is None else field.shape(value)
        if kept is not None:
            found[name] = kept
    return found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> list[str] | None:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else None


def _map(value: Any) -> dict[str, Any] | None:
    return {str(key): one for key, one in value.items()} if isinstance(value, Mapping) else None


def _tags(value: Any) -> dict[str, str] | None:
    found = _map(value)
    return None if found is None else {key: str(one) for key, one in found.items()}


def _text_or_texts(value: Any) -> str | list[str] | None:
    return value if isinstance(value, str) else _texts(value)


def _config(value: Any, depth: int = 0) -> list[dict[str, Any]] | None:
    if not isinstance(value, list):
        return None
    found = []
    for one in value:
        if not isinstance(one, Mapping):
            continue
        field: dict[str, Any] = {
            key: str(one[key]) for key in ("name", "type", "default", "description") if key in one
        }
        field |= {"required": bool(one.get("required")), "name": field.get("name", "")}
        inner = _config(one.get("fields"), depth + 1) if depth < _DEEPEST else None
        found.append({**field, "fields": inner} if inner else field)
    return found


def _ports(value: Any) -> list[dict[str, Any]] | None:
    if not isinstance(value, list):
        return None
    found = []
    for one in value:
        if isinstance(one, Mapping):
            port: dict[str, Any] = {
                key: str(one[key]) for key in ("type", "description") if key in one
            }
            port |= {"name": str(one.get("name", "")), "from": _texts(one.get("from")) or []}
            found.append({**port, "dynamic": True} if one.get("dynamic") else port)
    return found


def _graph(value: Any, depth: int = 0) -> dict[str, Any] | None:
    nodes = value.get("nodes") if isinstance(value, Mapping) else None
    if not isinstance(nodes, list):
        return None
    found = []
    for one in nodes:
        if not isinstance(one, Mapping) or not isinstance(one.get("name"), str):
            continue
        node: dict[str, Any] = {
            "name": one["name"],
            "kind": str(one.get("kind", "op")),
            "inputs": _ports(one.get("inputs")) or [],
            "outputs": _ports(one.get("outputs")) or [],
            "after": _texts(one.get("after")) or [],
            "resource_keys": _texts(one.get("resource_keys")) or [],
            "description": _text(one.get("description")) or "",
        }
        for name, kept in (
            ("definition", _text(one.get("definition"))),
            ("tags", _tags(one.get("tags"))),
            ("config", _config(one.get("config"))),
            ("graph", _graph(one.get("graph"), depth + 1) if depth < _DEEPEST else None),
        ):
            if kept:
                node[name] = kept
        found.append(node)
    return {"nodes": found}


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a definition that a page takes apart.

    ``listed``: a row of a list has it. ``placed``: the page of a definition has a place for it, and
    does not print it among the others.
    """

    shape: Callable[[Any], Any]
    listed: bool = False
    placed: bool = True


FIELDS: Mapping[str, Field] = {
    "kind": Field(_text, listed=True),
    "name": Field(_text, listed=True),
    "repository": Field(_text, listed=True),
    "description": Field(_text, listed=True),
    "tags": Field(_tags, listed=True),
    "owners": Field(_texts, listed=True),
    "metadata": Field(_map),
    "markdown": Field(_texts),
    "lazy": Field(bool, listed=True),
    "graph": Field(_graph),
    "config": Field(_config),
    "dependencies": Field(_texts),
    "group": Field(_text, listed=True, placed=False),
    "is_source": Field(bool, placed=False),
    "execution_type": Field(_text, placed=False),
    "cron_schedule": Field(_text_or_texts),
    "execution_timezone": Field(_text),
    "default_status": Field(_text, placed=False),
    "job": Field(_text),
    "jobs": Field(_texts),
    "asset_key": Field(_texts),
    "kinds": Field(_texts, placed=False),
    "compute_kind": Field(_text, placed=False),
    "asset": Field(_text),
    "check": Field(_text),
    "blocking": Field(bool),
    "additional_assets": Field(_texts),
    "resource_keys": Field(_texts, placed=False),
    "nested": Field(_texts, placed=False),
}
"""The fields that pages take apart (docs/snapshot.md); all others are printed as they are."""

LISTED = frozenset(name for name, field in FIELDS.items() if field.listed)
PLACED = frozenset(name for name, field in FIELDS.items() if field.placed)
LAUNCHED = frozenset({"job", "pipeline"})
"""The kinds that schedules and sensors launch."""


def is_external(definition: Mapping[str, Any]) -> bool:
    """True for an asset that is known here and made elsewhere."""
    return bool(definition.get("is_source")) or definition.get("execution_type") == "external"
