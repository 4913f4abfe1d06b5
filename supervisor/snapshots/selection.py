"""Selections: which assets of a snapshot, or which ops of a job, a text like ``report,+raw`` names.

One grammar for every framework. Terms are separated by commas, and what any of them names is selected:

* ``report`` is the asset or op of that name, ``*`` is all of them.
* ``+report`` adds all that it depends on, ``report+`` all that depend on it; ``2+report`` and
  ``report+2`` add two layers. ``*report`` and ``report*`` mean the same as ``+``.
* ``group:finance``, ``kind:sql``, ``owner:team@example.com``, ``tag:team`` and ``tag:team=ml`` are those
  with that attribute; ``key:raw/*`` those whose name fits, ``*`` being any text.

Pure: no I/O, no clock. What cannot be meant raises ``SelectionError``, which names the term.
"""

from __future__ import annotations

import fnmatch
import heapq
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Node", "SelectionError", "asset_nodes", "in_order", "made_here", "op_nodes", "select"]

_ATTRIBUTES = ("group", "kind", "key", "owner", "tag")
# [depth]+ or * before, the name or attribute:value, + or * [depth] after.
_TERM = re.compile(r"(?:(\d*)\+|(\*))?(.+?)(?:\+(\d*)|(\*))?")
_ALL = -1


class SelectionError(Exception):
    """``term`` of a selection names nothing, or cannot be read; ``reason`` says why.

    ``unknown`` is the name that no node has, where that is the reason, or the value that none of ``known`` is:
    for near misses.
    """

    def __init__(
        self, term: str, reason: str, unknown: str = "", known: tuple[str, ...] = ()
    ) -> None:
        super().__init__(term, reason)
        self.known = known
        self.term = term
        self.reason = reason
        self.unknown = unknown

    def __str__(self) -> str:
        return f"{self.term!r} {self.reason}"


@dataclass(frozen=True, slots=True)
class Node:
    """What can be selected: an asset or an op, and the names of those that it depends on.

    ``attributes`` has the values of ``group``, ``kind``, ``owner`` and ``tag`` (``key`` and
    ``key=value`` of each tag).
    """

    name: str
    upstream: tuple[str, ...] = ()
    attributes: Mapping[str, frozenset[str]] = field(default_factory=dict)


def asset_nodes(definitions: Iterable[Mapping[str, Any]]) -> dict[str, Node]:
    """The assets among the definitions of a snapshot (docs/snapshot.md), by name.

    Dependencies on assets of other locations are left out: they cannot be selected here. So are
    assets that are not ``made_here``.
    """
    assets = {
        one["name"]: one for one in definitions if one.get("kind") == "asset" and made_here(one)
    }
    return {
        name: Node(
            name,
            tuple(key for key in one.get("dependencies", ()) if key in assets),
            {
                "group": frozenset([one.get("group", "default")]),
                "kind": frozenset([*one.get("kinds", ()), *_present(one.get("compute_kind"))]),
                "owner": frozenset(one.get("owners", ())),
                "tag": _tags(one),
            },
        )
        for name, one in assets.items()
    }


def made_here(asset: Mapping[str, Any]) -> bool:
    """False for a source and for what is external or only observed: no run can make it."""
    return not asset.get("is_source") and asset.get("execution_type") in (None, "materialization")


def op_nodes(graph: Mapping[str, Any]) -> dict[str, Node]:
    """The nodes of a job's ``graph`` (docs/snapshot.md), by name; nested graphs count as one."""
    found = {}
    for one in graph.get("nodes", ()):
        ports = [port for given in one.get("inputs", ()) for port in given.get("from", ())]
        # "node.output": an output's name has no dot.
        upstream = {port.rpartition(".")[0] or port for port in [*ports, *one.get("after", ())]}
        found[one["name"]] = Node(one["name"], tuple(sorted(upstream)), {"tag": _tags(one)})
    return found


def select(text: str, nodes: Mapping[str, Node]) -> tuple[str, ...]:
    """The names of those of ``nodes`` that ``text`` selects, in the order of ``nodes``.

    Raises ``SelectionError`` for a term that cannot be read or selects nothing.
    """
    downstream: defaultdict[str, list[str]] = defaultdict(list)
    for node in nodes.values():
        for name in node.upstream:
            downstream[name].append(node.name)
    chosen: set[str] = set()
    for term in text.split(","):
        chosen |= _of_term(term.strip(), nodes, downstream)
    return tuple(name for name in nodes if name in chosen)


def in_order(names: Iterable[str], nodes: Mapping[str, Node]) -> tuple[str, ...]:
    """``names`` as they run: each after those of them that it depends on; else in their order."""
    names = tuple(names)
    left = {name: {one for one in nodes[name].upstream if one != name} for name in names}
    for name in names:
        left[name] &= left.keys()
    followers: defaultdict[str, list[str]] = defaultdict(list)
    for name, upstream in left.items():
        for other in upstream:
            followers[other].append(name)
    place = {name: number for number, name in enumerate(names)}
    ready = [place[name] for name in names if not left[name]]
    found = []
    while ready:
        name = names[heapq.heappop(ready)]
        found.append(name)
        for other in followers[name]:
            left[other].discard(name)
            if not left[other]:
                heapq.heappush(ready, place[other])
    return (*found, *(name for name in names if left[name]))  # what goes in a circle is last


def _of_term(term: str, nodes: Mapping[str, Node], downstream: Mapping[str, list[str]]) -> set[str]:
    if not term:
        raise SelectionError(term, "is an empty term: write names separated by single commas")
    if term == "*":
        return set(nodes)
    # A name may look like anything: it is taken as it stands where there is one.
    if term in nodes:
        return {term}
    attribute, colon, _ = term.lstrip("0123456789+*").partition(":")
    read = _TERM.fullmatch(term)
    assert read is not None  # .+? takes any text
    before, all_before, body, after, all_after = read.groups()
    if colon and attribute in _ATTRIBUTES and all_after:
        body, all_after = body + "*", None  # a pattern's own
    found = _named(term, body, nodes)
    result = set(found)
    if before is not None or all_before:
        result |= _reached(found, _depth(before), lambda name: nodes[name].upstream)
    if after is not None or all_after:
        result |= _reached(found, _depth(after), lambda name: downstream.get(name, ()))
    return result


def _named(term: str, body: str, nodes: Mapping[str, Node]) -> set[str]:
    if body in nodes:
        return {body}
    attribute, colon, value = body.partition(":")
    if colon and attribute in _ATTRIBUTES:
        value = value.strip("\"'")
        if attribute == "key":
            pattern = re.compile(fnmatch.translate(value.replace("[", "[[]")))
            found = {name for name in nodes if pattern.match(name)}
        else:
            found = {
                name
                for name, node in nodes.items()
                if value in node.attributes.get(attribute, frozenset())
            }
        if not found:
            none = frozenset[str]()
            known = {one for node in nodes.values() for one in node.attributes.get(attribute, none)}
            reason = f"selects nothing: nothing has {attribute} {value!r}"
            raise SelectionError(term, reason, value if known else "", tuple(sorted(known)))
        return found
    if body.startswith(("+", "*")) or body.endswith(("+", "*")):
        raise SelectionError(term, "cannot be read: write 2+name for two layers, +name for all")
    raise SelectionError(term, f"selects nothing: there is no {body!r}", body)


def _reached(found: set[str], depth: int, following: Any) -> set[str]:
    reached: set[str] = set()
    layer = found
    while layer and depth:
        layer = {name for one in layer for name in following(one)} - reached
        reached |= layer
        depth -= 1
    return reached


def _depth(written: str | None) -> int:
    return int(written) if written else _ALL


def _present(value: Any) -> list[str]:
    return [value] if value else []


def _tags(one: Mapping[str, Any]) -> frozenset[str]:
    tags = one.get("tags") or {}
    return frozenset([*tags, *(f"{key}={value}" for key, value in tags.items())])
