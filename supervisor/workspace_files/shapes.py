"""Shapes: what may stand at a place in a file, said once for the validator and for JSON Schema.

Owns the vocabulary in which ``keys`` describes the files. A shape reads a node and gives plain
data back; what is wrong it tells the ``Reading`` and goes on, so that all problems of a file come
at once. Does not know any key of any file, to touch the file system or to raise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from supervisor.errors import ConfigurationProblem
from supervisor.nearest import near
from supervisor.specs import Source, SourcePosition
from supervisor.workspace_files.document import Node, shorten
from supervisor.workspace_files.problems import Reading
from supervisor.workspace_files.variables import has_variables

__all__ = [
    "INVALID",
    "AnyMap",
    "Choice",
    "FalseOr",
    "Field",
    "Invalid",
    "Item",
    "ListOf",
    "MapOf",
    "Named",
    "OneOrMore",
    "Record",
    "RecordShape",
    "Shape",
    "by_kind",
    "either",
]


class Invalid:
    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final = Invalid()
"""What a shape gives back when it found no usable value; the problem is told already."""


@dataclass(slots=True)
class Record:
    """A map that was read: its valid values by key, and where it and its keys stand."""

    node: Node
    path: str
    values: dict[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def written(self, key: str) -> bool:
        """True when the key stands in the file, valid or not."""
        return self.node.kind == "map" and key in self.node.keys

    def position(self, key: str) -> SourcePosition:
        return self.node.keys.get(key, self.node.position)

    def value_position(self, key: str) -> SourcePosition:
        child = self.node.value.get(key) if self.node.kind == "map" else None
        return child.position if child is not None else self.position(key)

    def sources(self, prefix: str = "") -> dict[str, Source]:
        """Where each value comes from, by key behind ``prefix``; of a value that is a map, each of its own."""
        found: dict[str, Source] = {}
        for key, value in self.values.items():
            child = self.node.value.get(key) if self.node.kind == "map" else None
            if isinstance(value, Record):
                found |= value.sources(f"{prefix}{key}.")
            elif isinstance(value, dict) and child is not None and child.kind == "map":
                for name, one in child.value.items():
                    found[f"{prefix}{key}.{name}"] = _source(one)
            else:
                found[prefix + key] = (
                    Source(self.value_position(key)) if child is None else _source(child)
                )
        return found

    def at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


def _source(node: Node) -> Source:
    hidden = node.kind == "map" or (node.kind == "scalar" and has_variables(node.text))
    return Source(node.position, hidden=hidden)


@dataclass(slots=True)
class Item:
    """A part of a collection whose parts stand alone. ``value`` is INVALID when there is none."""

    value: Any
    node: Node
    path: str
    problem: ConfigurationProblem | None


def either(words: Sequence[str], conjunction: str = "or") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


def by_kind(kind: str, schema: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema: what is of this type is as ``schema`` says, anything else as ``other``.

    With ``anyOf`` a validator could only say that a value is none of them.
    """
    return {"if": {"type": kind}, "then": schema, "else": other}


# ``{env: NAME}``, in JSON Schema.
_INDIRECTION: dict[str, Any] = {
    "required": ["env"],
    "maxProperties": 1,
    "properties": {"env": {"type": "string"}},
}


class Shape(ABC):
    """What may stand at one place."""

    expected: str

    @abstractmethod
    def read(self, node: Node, path: str, reading: Reading) -> Any:
        """The value of ``node``, or INVALID after telling ``reading`` why."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema."""

    def apart(self, node: Node, path: str, reading: Reading) -> Item:
        """``read`` in a scope of its own."""
        with reading.apart() as scope:
            value = self.read(node, path, reading)
        return Item(value, node, path, scope.problem)

    def wrong(self, node: Node, path: str, reading: Reading, *, suggestion: str = "") -> Invalid:
        is_nothing = node.kind == "scalar" and node.value is None
        reading.problem(
            node.position,
            path,
            "there is no value here" if is_nothing else f"{node.describe()} does not fit here",
            expected=self.expected,
            suggestion=suggestion,
        )
        return INVALID


class ListOf(Shape):
    """A list of one shape. Gives back the list of valid values; ``apart``: of an Item for each."""

    def __init__(
        self, item: Shape, expected: str, *, empty: bool = True, apart: bool = False
    ) -> None:
        self.item = item
        self._empty = empty
        self._apart = apart
        self.expected = expected

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if node.kind != "list" or not (node.value or self._empty):
            return self.wrong(node, path, reading)
        reading.blame(node.flaw)
        read = self.item.apart if self._apart else self.item.read
        values = [read(child, f"{path}[{i}]", reading) for i, child in enumerate(node.value)]
        return [value for value in values if not isinstance(value, Invalid)]

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array", "items": self.item.schema()}
        return schema if self._empty else {**schema, "minItems": 1}


class FalseOr(Shape):
    """A shape, or ``false`` for none of it. Gives back an empty list for ``false``."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self.expected = f"{shape.expected}, or false"

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if node.kind == "scalar":
            return [] if node.value is False else self.wrong(node, path, reading)
        return self._shape.read(node, path, reading)

    def schema(self) -> dict[str, Any]:
        return by_kind("array", self._shape.schema(), {"const": False})


class OneOrMore(Shape):
    """One value or a list of them. Gives back a list of (value, position)."""

    def __init__(self, item: Shape, expected: str) -> None:
        self.item = item
        self.expected = expected

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        reading.blame(node.flaw)
        children = node.value if node.kind == "list" else [node]
        pairs = []
        for index, child in enumerate(children):
            at = f"{path}[{index}]" if node.kind == "list" else path
            value = self.item.read(child, at, reading)
            if not isinstance(value, Invalid):
                pairs.append((value, child.position))
        return pairs

    def schema(self) -> dict[str, Any]:
        item = self.item.schema()
        return by_kind("array", {"type": "array", "items": item}, item)


class MapOf(Shape):
    """A map from free names to one shape. Gives back a dict of the valid values; ``apart``: of an
    Item for each name.

    ``check`` gives back what is wrong with a name, or None; ``pattern`` tells editors which it accepts.
    """

    def __init__(
        self,
        item: Shape,
        expected: str,
        *,
        check: Callable[[str], tuple[str, str] | None] | None = None,
        pattern: str = "",
        apart: bool = False,
    ) -> None:
        self.item, self._pattern = item, pattern
        self._check = check
        self._apart = apart
        self.expected = expected

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if node.kind != "map":
            return self.wrong(node, path, reading)
        reading.blame(node.flaw)
        values = {}
        for key, child in node.value.items():
            bad = self._check(key) if self._check else None
            if bad:
                name = f'the name "{shorten(key)}"' if key else "an empty name"
                reading.problem(node.keys[key], path, f"{name} {bad[0]}", suggestion=bad[1])
            read = self.item.apart if self._apart else self.item.read
            value = read(child, f"{path}.{shorten(key)}", reading)
            if not isinstance(value, Invalid) and not bad:
                values[key] = value
        return values

    def schema(self) -> dict[str, Any]:
        names = {"propertyNames": {"pattern": self._pattern}} if self._pattern else {}
        return {"type": "object", **names, "additionalProperties": self.item.schema()}


class AnyMap(Shape):
    """A map of anything, kept as plain data and never interpreted."""

    expected = "a map of names to values"

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        reading.blame(node.first_flaw())
        return node.plain() if node.kind == "map" else self.wrong(node, path, reading)

    def schema(self) -> dict[str, Any]:
        return {"type": "object"}


class Named(Shape):
    """A shape that JSON Schema defines once, under ``name`` in ``$defs``."""

    def __init__(self, name: str, shape: Shape) -> None:
        self.name = name
        self.shape = shape
        self.expected = shape.expected

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        return self.shape.read(node, path, reading)

    def schema(self) -> dict[str, Any]:
        return {"$ref": f"#/$defs/{self.name}"}


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record. ``about`` is one sentence for editors and documents; ``default`` and ``examples``
    are as they are written in a file."""

    shape: Shape
    about: str
    required: bool = False
    default: Any = None
    examples: tuple[Any, ...] = ()

    def schema(self) -> dict[str, Any]:
        """The shape's, with what an editor shows of the key."""
        found = {**self.shape.schema(), "description": self.about}
        if self.default is not None:
            found["default"] = self.default
        return found | ({"examples": list(self.examples)} if self.examples else {})


def _is_indirection(node: Node) -> bool:
    """``{env: NAME}`` for a single value, as against a map whose key ``env`` holds variables."""
    return node.kind == "map" and set(node.value) == {"env"} and node.value["env"].kind == "scalar"


class RecordShape(Shape):
    """A map with known keys. Gives back a Record, or INVALID when a required key is unusable.

    A misspelled key is a problem, and read as the one that was meant: so what is broken is known by
    its name, and all its problems come at once.

    ``shorthand`` names the key for which a single value may stand instead of the map. ``elsewhere``
    tells where a key belongs that people write here by mistake. ``ignored_by`` names the program whose
    table this is where it ignores keys that it does not know: then they are warned of, but for those
    that are nearly one that it knows. ``rules`` of the JSON Schema are what the fields do not say.
    """

    def __init__(
        self,
        fields: Mapping[str, Field],
        expected: str,
        *,
        shorthand: str | None = None,
        elsewhere: Mapping[str, str] | None = None,
        title: str = "",
        ignored_by: str = "",
        rules: Mapping[str, Any] | None = None,
    ) -> None:
        self.fields = dict(fields)
        self.expected = expected
        self._shorthand = shorthand
        self._elsewhere = dict(elsewhere or {})
        self._title = title
        self._ignored_by = ignored_by
        self._rules = rules or {}

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        short = self._shorthand
        if short and (node.kind == "scalar" or _is_indirection(node)):
            value = self.fields[short].shape.read(node, path, reading)
            return value if isinstance(value, Invalid) else Record(node, path, {short: value})
        if node.kind != "map":
            return self.wrong(node, path, reading)
        reading.blame(node.flaw)
        record = Record(node, path, {})
        usable = True
        meant = set()
        for key, child in node.value.items():
            known = self.fields.get(key)
            goal = key
            if known is None:
                goal = self._unknown(key, record, reading)
                known = self.fields.get(goal)
                meant.add(goal)
            if known is None:
                continue
            value = known.shape.read(child, record.at(key), reading)
            if not isinstance(value, Invalid):
                record.values[goal] = value
            elif known.required:
                usable = False
        for key, known in self.fields.items():
            if known.required and key not in node.value:
                if key not in record.values:
                    usable = False
                if key not in meant:  # its misspelling is told already
                    reading.problem(
                        node.position,
                        path,
                        f"the key {key} is missing",
                        expected=f"{key}: {known.shape.expected}",
                    )
        return record if usable else INVALID

    def _unknown(self, key: str, record: Record, reading: Reading) -> str:
        """Tells about a key that is not one of ours; gives back the one that was meant."""
        position, at = record.position(key), record.at(shorten(key))
        ignored = f"{at} is ignored, as {self._ignored_by} does" if self._ignored_by else ""
        if key in self._elsewhere:
            if ignored:
                reading.warn(position, f"{ignored}: {self._elsewhere[key]}")
            else:
                message = f"{key} does not belong here: {self._elsewhere[key]}"
                reading.problem(position, at, message)
            return ""
        meant = near(key, [name for name in self.fields if name not in record.node.value])
        if ignored and not meant:
            reading.warn(position, f"{ignored}: it knows {either(list(self.fields), 'and')}")
            return ""
        reading.problem(
            position,
            at,
            f"unknown key {shorten(key)}",
            expected=either(list(self.fields)),
            suggestion=meant,
        )
        return meant

    def schema(self) -> dict[str, Any]:
        properties = {key: known.schema() for key, known in self.fields.items()}
        schema: dict[str, Any] = {"type": "object"}
        if self._title:
            schema["title"] = self._title
        schema |= {"properties": properties, "additionalProperties": False, **self._rules}
        required = [key for key, known in self.fields.items() if known.required]
        if required:
            schema["required"] = required
        if not self._shorthand:
            return schema
        # Not one of several that might be meant: then what is wrong is told by its key.
        return {
            "if": {"type": "object", "not": _INDIRECTION},
            "then": schema,
            "else": self.fields[self._shorthand].shape.schema(),
        }


class Choice(Shape):
    """A map with exactly one of some keys, a misspelled one read as what was meant.

    Gives back (key, value, position of the key).
    """

    def __init__(
        self, fields: Mapping[str, Field], what: str, *, elsewhere: Mapping[str, str] | None = None
    ) -> None:
        self.fields = dict(fields)
        self._what = what
        self._elsewhere = dict(elsewhere or {})
        self.expected = f"a map with one of {either(list(self.fields))}"

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if node.kind != "map":
            return self.wrong(node, path, reading)
        reading.blame(node.flaw)
        chosen = [key for key in node.value if key in self.fields]
        meant: dict[str, str] = {}
        for key in node.value:
            at = f"{path}.{shorten(key)}" if path else shorten(key)
            if key in self._elsewhere:
                message = f"{key} does not belong here: {self._elsewhere[key]}"
                reading.problem(node.keys[key], at, message)
            elif key not in self.fields:
                suggestion = near(key, self.fields) if not chosen else ""
                reading.problem(
                    node.keys[key],
                    at,
                    f"unknown key {shorten(key)}",
                    expected=f"one of {either(list(self.fields))}",
                    suggestion=suggestion,
                )
                if suggestion:
                    meant[key] = suggestion
        if not node.value:
            reading.problem(
                node.position, path, f"this names no {self._what}", expected=self.expected
            )
        for extra in chosen[1:]:
            reading.problem(
                node.keys[extra],
                path,
                f"{extra} is a second {self._what} beside {chosen[0]}",
                expected="one; start another list item for the other",
            )
        keys = chosen or list(meant)
        kinds = [meant.get(key, key) for key in keys]
        values = [
            self.fields[kind].shape.read(node.value[key], f"{path}.{key}" if path else key, reading)
            for key, kind in zip(keys, kinds, strict=True)
        ]
        if len(keys) != 1 or isinstance(values[0], Invalid):
            return INVALID
        return kinds[0], values[0], node.keys[keys[0]]

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {key: known.schema() for key, known in self.fields.items()},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }
