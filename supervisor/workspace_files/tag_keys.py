"""The ``tags`` of a location: how they are written, and what they become.

Owns which names a tag may have. What chooses by them is ``supervisor.cli.choosing``.
"""

from __future__ import annotations

import re
from typing import Any

from supervisor.workspace_files.document import Node
from supervisor.workspace_files.problems import Reading
from supervisor.workspace_files.scalars import Text
from supervisor.workspace_files.shapes import ListOf, MapOf, Shape, by_kind

__all__ = ["Tags"]


def _bad_tag(name: str) -> tuple[str, str] | None:
    if not name.strip() or "=" in name or re.search(r"[\x00-\x1f,]", name):
        return "cannot name a tag", name.partition("=")[0].strip()
    return None


class Tags(Shape):
    """A map of names to texts, or a list of ``name`` and ``name=value``. Gives back a dict."""

    expected = "a map of names to texts, or a list of names and name=value"
    _map = MapOf(Text("a text", empty=True, written=True), expected, check=_bad_tag)
    _list = ListOf(
        Text("a name, or name=value", check=lambda text: _bad_tag(text.partition("=")[0])), expected
    )

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if node.kind == "list":
            found = self._list.read(node, path, reading)
            return dict(one.partition("=")[::2] for one in found)
        return self._map.read(node, path, reading)

    def schema(self) -> dict[str, Any]:
        return by_kind("array", self._list.schema(), self._map.schema())
