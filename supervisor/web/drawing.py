"""Small graphs drawn as SVG: assets and their dependencies, the nodes of a job.

Owns the layout: nodes in layers from left to right, each behind all that it depends on, ordered so
that few edges cross. Sizes are attributes, colours come from the style sheet (the page's policy
allows no inline styles). Pure: data in, a frozen drawing out; the template escapes and writes it.
Source: the layered method of Sugiyama, Tagawa and Toda (1981), with medians for the order.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

__all__ = ["Box", "Drawing", "Node", "draw"]

_WIDTH, _HEIGHT = 168, 36
_GAP_X, _GAP_Y = 56, 14
_MARGIN = 12
_CHARACTERS = 23
_SWEEPS = 6
# With more, the edges could not be followed anyway.
_MOST_BENDS = 2000


@dataclass(frozen=True, slots=True)
class Node:
    """Something to draw. ``note`` is a second, smaller line; ``marks`` are classes of the style sheet."""

    key: str
    title: str
    note: str = ""
    link: str | None = None
    marks: str = ""


_BEND = Node("", "")


@dataclass(frozen=True, slots=True)
class Box:
    """A node in its place, in pixels; ``label`` and ``note`` are cut to fit."""

    node: Node
    x: int
    y: int
    width: int
    height: int
    label: str
    note: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Boxes, and edges as SVG paths."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    edges: tuple[str, ...]


def draw(nodes: Sequence[Node], edges: Iterable[tuple[str, str]]) -> Drawing:
    """``nodes`` in layers; ``edges`` are pairs of keys, from what comes first.

    Edges to nodes that are not there are left out; a cycle is drawn with one edge running back.
    """
    known = {node.key: node for node in nodes}
    pairs = sorted({(a, b) for a, b in edges if a in known and b in known and a != b})
    level = _levels(list(known), pairs)
    layers, chains = _with_bends(level, pairs)
    steps = [step for chain in chains for step in pairwise(chain)]
    layers = _ordered(layers, steps)
    rows = max((len(layer) for layer in layers), default=0)
    height = 2 * _MARGIN + max(rows * (_HEIGHT + _GAP_Y) - _GAP_Y, 0)
    places: dict[str, Box] = {}
    for column, layer in enumerate(layers):
        top = (height - len(layer) * (_HEIGHT + _GAP_Y) + _GAP_Y) // 2
        for row, key in enumerate(layer):
            node = known.get(key, _BEND)
            places[key] = Box(
                node,
                x=_MARGIN + column * (_WIDTH + _GAP_X),
                y=top + row * (_HEIGHT + _GAP_Y),
                width=_WIDTH,
                height=_HEIGHT,
                label=_cut(node.title),
                note=_cut(node.note),
            )
    width = 2 * _MARGIN + max(len(layers) * (_WIDTH + _GAP_X) - _GAP_X, 0)
    paths = tuple(_path([places[key] for key in chain]) for chain in chains)
    boxes = tuple(box for key, box in places.items() if key in known)
    return Drawing(width, height, boxes, paths)


def _cut(text: str) -> str:
    # The end of a key tells more than its beginning.
    return text if len(text) <= _CHARACTERS else "…" + text[-_CHARACTERS + 1 :]


def _path(chain: Sequence[Box]) -> str:
    """From the right side of the first box through the bends to the left side of the last."""
    first, last = chain[0], chain[-1]
    x, y = first.x + first.width, first.y + first.height // 2
    end = last.x - 5
    if end <= x:  # back, against the direction: around below
        low = max(first.y, last.y) + _HEIGHT + _GAP_Y // 2
        return f"M{x},{y} C{x + 30},{low} {end - 30},{low} {end},{last.y + _HEIGHT // 2}"
    found = f"M{x},{y}"
    for box in chain[1:]:
        to_x, to_y = box.x if box is not last else end, box.y + box.height // 2
        bend = (x + to_x) // 2
        found += f" C{bend},{y} {bend},{to_y} {to_x},{to_y}"
        if box is not last:
            x, y = box.x + box.width, to_y
            found += f" L{x},{y}"
    return found


def _with_bends(
    level: Mapping[str, int], pairs: Sequence[tuple[str, str]]
) -> tuple[list[list[str]], list[list[str]]]:
    """The layers, and each edge as a chain of keys with a bend in every layer that it crosses."""
    layers: list[list[str]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for key, number in level.items():
        layers[number].append(key)
    chains = []
    left = _MOST_BENDS
    for a, b in pairs:
        chain = [a]
        crossed = range(level[a] + 1, level[b]) if left > 0 else ()
        left -= len(crossed)
        for number in crossed:
            bend = f"\0{a}\0{b}\0{number}"  # no key has such a name
            layers[number].append(bend)
            chain.append(bend)
        chains.append([*chain, b])
    return layers, chains


def _levels(keys: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Each key one layer behind the last of what it depends on (Kahn's order), and what has
    nothing before it directly in front of what needs it."""
    after: dict[str, list[str]] = defaultdict(list)
    waiting = dict.fromkeys(keys, 0)
    for a, b in pairs:
        after[a].append(b)
        waiting[b] += 1
    first = [key for key in keys if not waiting[key]]
    level = dict.fromkeys(keys, 0)
    ready = deque(first)
    left = dict.fromkeys(keys)
    while left:
        if not ready:
            # A cycle: begin with the one that waits for least.
            ready.append(min(left, key=lambda key: (waiting[key], key)))
        key = ready.popleft()
        if key not in left:
            continue
        del left[key]
        for other in after[key]:
            if other in left:
                level[other] = max(level[other], level[key] + 1)
                waiting[other] -= 1
                if not waiting[other]:
                    ready.append(other)
    for key in first:
        if after[key]:
            level[key] = max(min(level[other] for other in after[key]) - 1, 0)
    return level


def _ordered(layers: list[list[str]], pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The layers with each key near the middle of its neighbours."""
    before: dict[str, list[str]] = defaultdict(list)
    after: dict[str, list[str]] = defaultdict(list)
    for a, b in pairs:
        after[a].append(b)
        before[b].append(a)
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        place = {key: row / max(len(one), 1) for one in layers for row, key in enumerate(one)}
        for layer in layers if forward else reversed(layers):
            near = before if forward else after

            layer.sort(key=partial(_middle, near=near, place=place))
            place.update({key: row / max(len(layer), 1) for row, key in enumerate(layer)})
    return layers


def _middle(
    key: str, near: Mapping[str, list[str]], place: Mapping[str, float]
) -> tuple[float, str]:
    around = sorted(place[one] for one in near.get(key, ()))
    return (around[len(around) // 2] if around else place[key], key)
