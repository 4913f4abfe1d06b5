"""TOML text → nodes with positions.

Owns finding the line of a key: ``tomllib`` keeps no positions, so a scan over the lines notes where
each table and key begins. A value inside an inline table or array stands, for messages, at the
nearest key above it that begins a line. Does not know what any table means.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from supervisor.errors import ConfigurationProblem
from supervisor.specs import SourcePosition
from supervisor.workspace_files.document import MAX_DEPTH, DocumentError, Node

__all__ = ["TomlDocument"]

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"(\s*)({_DOTTED})\s*=")

_Path = tuple[str | int, ...]


class TomlDocument:
    """A parsed TOML file. Raises DocumentError for text that is not TOML."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except RecursionError:
            raise self._error(0, 0, "this is nested too deeply") from None
        except ValueError as error:  # TOMLDecodeError is one; so is a number too long to convert
            match = re.search(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
            reason = str(error)[: match.start()] if match else "a value cannot be converted"
            end = (text.count("\n") + 1, 1)
            line, column = (int(match[1]), int(match[2])) if match and match[1] else end
            message = f"this is not valid TOML: {reason[:1].lower()}{reason[1:]}"
            raise self._error(line, column, message) from None
        self._places = _scan(text)

    def _error(self, line: int, column: int, message: str) -> DocumentError:
        position = SourcePosition(self._file, line, column)
        return DocumentError(ConfigurationProblem(position, "", message))

    def node(self, *path: str) -> Node | None:
        """The table at ``path`` as a node, or None when there is none."""
        data: Any = self.data
        for key in path:
            if not isinstance(data, dict) or key not in data:
                return None
            data = data[key]
        return self._node(data, path)

    def _place(self, path: _Path) -> SourcePosition:
        while path and path not in self._places:
            path = path[:-1]
        return SourcePosition(self._file, *self._places.get(path, (1, 1)))

    def _node(self, data: Any, path: _Path) -> Node:
        place = self._place(path)
        if len(path) > MAX_DEPTH:
            raise self._error(place.line, place.column, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(data, list):
            items = [self._node(child, (*path, i)) for i, child in enumerate(data)]
            return Node("list", items, place)
        if isinstance(data, dict):
            keys = {key: self._place((*path, key)) for key in data}
            children = {key: self._node(child, (*path, key)) for key, child in data.items()}
            return Node("map", children, place, keys=keys)
        if isinstance(data, bool):
            return Node("scalar", data, place, "true" if data else "false")
        if isinstance(data, str | int | float):
            if isinstance(data, str) and "\0" in data:
                raise self._error(
                    place.line, place.column, "character U+0000 cannot be used in any value"
                )
            return Node("scalar", data, place, str(data))
        return Node("scalar", data, place, data.isoformat())


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))


def _scan(text: str) -> dict[_Path, tuple[int, int]]:
    """Line and column of every table and key that begins a line; a first guess is kept."""
    places: dict[_Path, tuple[int, int]] = {}
    counts: dict[_Path, int] = {}
    table: _Path = ()
    quotes = ""  # the kind of multi-line text we are in

    def note(path: _Path, place: tuple[int, int]) -> None:
        for length in range(1, len(path) + 1):
            places.setdefault(path[:length], place)

    for number, line in enumerate(text.splitlines(), start=1):
        if quotes:
            if line.count(quotes) % 2:
                quotes = ""
            continue
        header = _HEADER.match(line)
        key = None if header else _KEY.match(line)
        if header:
            table = _resolve(_split(header[2]), counts)
            if header[1] == "[[":
                index = counts.get(table, -1) + 1
                counts[table] = index
                table = (*table, index)
            note(table, (number, header.start(1) + 1))
        elif key:
            note((*table, *_split(key[2])), (number, key.start(2) + 1))
        for kind in ('"""', "'''"):
            if line.count(kind) % 2:
                quotes = kind
    return places


def _resolve(parts: tuple[str, ...], counts: dict[_Path, int]) -> _Path:
    """A header's path, with the index of the last element of each array of tables above it."""
    path: _Path = ()
    for index, part in enumerate(parts):
        path = (*path, part)
        if path in counts and index < len(parts) - 1:
            path = (*path, counts[path])
    return path
