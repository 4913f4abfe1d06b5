"""The ``runs`` keys of a workspace and of a location: their shapes, and the settings they become.

Owns how each is written. What it leads to is ``supervisor.runs``'; over which others it lies is
``locations``' and the fleet's.
"""

from __future__ import annotations

import re
from typing import Any

from supervisor.run_settings import (
    NONE,
    Backoff,
    Instance,
    OnStop,
    Retries,
    RunSettings,
    TagLimit,
)
from supervisor.workspace_files.document import Node
from supervisor.workspace_files.problems import Reading
from supervisor.workspace_files.scalars import Boolean, Duration, Enumeration, Number, Size, Text
from supervisor.workspace_files.shapes import (
    INVALID,
    Field,
    Invalid,
    ListOf,
    MapOf,
    Named,
    Record,
    RecordShape,
    Shape,
    by_kind,
)
from supervisor.workspace_files.variables import expand

__all__ = ["RUNS", "run_settings"]

_MOST = 1_000_000
_YEARS = 100 * 365 * 86400


class _OrNone(Shape):
    """A shape, or the word ``none``, which becomes ``NONE``."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self.expected = shape.expected = f"{shape.expected}, or none"

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if node.kind == "scalar" and _word(node, reading) == "none":
            return NONE
        return self._shape.read(node, path, reading)

    def schema(self) -> dict[str, Any]:
        return {"if": {"const": "none"}, "then": {}, "else": self._shape.schema()}


class _Age(Duration):
    """A duration with its unit: a number alone counts runs."""

    pattern = r"(\d+(\.\d+)?\s*(ms|s|m|h|d)\s*)+"
    high = _YEARS

    def __init__(self) -> None:
        super().__init__(low=1.0)
        self.expected = "an age such as 12h or 30d"

    def take(self, node: Node, path: str, reading: Reading) -> Any:
        return (
            super().take(node, path, reading)
            if isinstance(node.value, str)
            else self.wrong(node, path, reading, suggestion=self._meant_days(node))
        )

    def _meant_days(self, node: Node) -> str:
        return f"{node.text}d" if re.fullmatch(r"\d{1,5}", node.text) else ""

    def schema(self) -> dict[str, Any]:
        return self._wrap({"type": "string", "pattern": f"^({self.pattern})$"})


class _Keep(RecordShape):
    """``keep``: a number of runs, an age, ``none``, or a map of both. Gives back a dict."""

    def __init__(self) -> None:
        self._count, self._age = Number(0, _MOST), _Age()
        super().__init__(
            {
                "count": Field(self._count, "So many of the newest that have ended."),
                "age": Field(self._age, "Those that ended within this time."),
            },
            "a number of runs, an age such as 30d, none, or a map of count and age",
        )

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if node.kind == "map" and "env" not in node.value:
            record = super().read(node, path, reading)
            return record if isinstance(record, Invalid) else dict(record.values)
        if node.kind == "scalar":
            word = _word(node, reading)
            if word == "none":
                return {"count": NONE, "age": NONE}
            whole = isinstance(node.value, int) and not isinstance(node.value, bool)
            if whole or (word != node.value and word.isdecimal()):
                count = self._count.read(node, path, reading)
                return count if isinstance(count, Invalid) else {"count": count}
            if re.match(r"\d+\s*[a-z]", word) or (word != node.value and not word):
                age = self._age.read(node, path, reading)
                return age if isinstance(age, Invalid) else {"age": age}
        return self.wrong(node, path, reading)

    def schema(self) -> dict[str, Any]:
        age = {"type": "string", "pattern": f"^({self._age.pattern})$"}
        count = {"type": "integer", "minimum": 0, "maximum": _MOST}
        variable = {"$ref": "#/$defs/variable"}
        single = {"anyOf": [{"enum": ["none"]}, count, age, variable]}
        return by_kind("object", super().schema(), single)


def _word(node: Node, reading: Reading) -> str:
    """The text of a scalar, its variables replaced; an empty one for what is no text."""
    if not isinstance(node.value, str):
        return ""
    return expand(node.value, reading.environ).text if reading.expands else node.value


def _bad_tag(name: str) -> tuple[str, str] | None:
    key, equals, value = name.partition("=")
    if not key or (equals and not value):
        return "names no tag: write key, key=value, or key=* for each value apart", ""
    return None


class _TagValue(Shape):
    """The value of a tag, or Dagster's map that says: for each value. Gives back both facts."""

    expected = "a text, or {applyLimitPerUniqueValue: true}"
    _text = Text("a text", written=True)
    _each = RecordShape(
        {
            "applyLimitPerUniqueValue": Field(
                Boolean(), "Whether the limit is one for each value.", required=True
            )
        },
        expected,
    )

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if node.kind == "map" and "env" not in node.value:
            record = self._each.read(node, path, reading)
            if isinstance(record, Invalid):
                return INVALID
            return {"each": record.values["applyLimitPerUniqueValue"]}
        value = self._text.read(node, path, reading)
        return value if isinstance(value, Invalid) else {"value": value}

    def schema(self) -> dict[str, Any]:
        is_map = {"type": "object", "not": {"required": ["env"]}}
        return {"if": is_map, "then": self._each.schema(), "else": self._text.schema()}


class _TagConcurrency(Shape):
    """A map of tags to numbers, or Dagster's list. Gives back a tuple of TagLimit."""

    expected = (
        "a map of tags (key, key=value, or key=* for each value) to numbers of runs, or a list of "
        "maps with key, limit and value"
    )
    _map = MapOf(Number(0, _MOST), expected, check=_bad_tag)
    _list = ListOf(
        RecordShape(
            {
                "key": Field(Text("the key of a tag"), "The key of the tag.", required=True),
                "limit": Field(Number(0, _MOST), "How many runs at once.", required=True),
                "value": Field(_TagValue(), "Its value; without it, any."),
            },
            "a map with key, limit and value",
        ),
        expected,
    )

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if node.kind == "list":
            found = [(one.values["key"], one) for one in self._list.read(node, path, reading)]
            return tuple(
                TagLimit(key, one.get("limit"), **one.get("value", {})) for key, one in found
            )
        read = self._map.read(node, path, reading)
        return read if isinstance(read, Invalid) else tuple(_limit(*one) for one in read.items())

    def schema(self) -> dict[str, Any]:
        return by_kind("array", self._list.schema(), self._map.schema())


def _limit(tag: str, limit: int) -> TagLimit:
    key, equals, value = tag.partition("=")
    if value == "*":
        return TagLimit(key, limit, each=True)
    return TagLimit(key, limit, value if equals else None)


_RETRIES = RecordShape(
    {
        "count": Field(Number(0, 1000), "How often again."),
        "delay": Field(Duration(), "The wait before the first time.", default=0, examples=("30s",)),
        "backoff": Field(
            Enumeration(Backoff), "Whether the wait doubles each time.", default="constant"
        ),
    },
    "a number, or a map of count, delay and backoff",
    shorthand="count",
)

RUNS = Named(
    "runs",
    RecordShape(
        {
            "max_concurrent": Field(
                _OrNone(Number(0, _MOST)),
                "How many runs at once; the others wait. 0 starts none.",
                examples=(20,),
            ),
            "tag_concurrency": Field(
                _TagConcurrency(),
                "How many runs at once that have a tag.",
                examples=({"database": 2, "team=ml": 1},),
            ),
            "timeout": Field(
                _OrNone(Duration(low=0.1)),
                "How long a run may take.",
                default="none",
                examples=("6h",),
            ),
            "retries": Field(
                _RETRIES,
                "How often a run that fails is run again.",
                default=0,
                examples=({"count": 2, "delay": "30s", "backoff": "exponential"},),
            ),
            "retry_lost": Field(
                Boolean(), "Whether retries are also for runs that were lost.", default=False
            ),
            "keep": Field(
                _Keep(),
                "Which runs that have ended are kept.",
                default=500,
                examples=("30d", {"count": 500, "age": "30d"}),
            ),
            "max_disk": Field(
                _OrNone(Size()),
                "Bytes of the journals of runs; the oldest go first.",
                default="none",
                examples=("10GB",),
            ),
            "on_stop": Field(
                Enumeration(OnStop),
                "What becomes of runs when the supervisor is told to stop.",
                default="cancel",
            ),
            "run_grace": Field(
                Duration(), "How long runs may then go on before they are cancelled.", default="5s"
            ),
            "instance": Field(
                Enumeration(Instance),
                "Where Dagster records runs: the location's own instance, or the one that "
                "DAGSTER_HOME names.",
                default="own",
            ),
        },
        "a map of settings of runs",
        elsewhere={
            "max_concurrent_runs": "here it is called max_concurrent",
            "tag_concurrency_limits": "here it is called tag_concurrency",
        },
    ),
)
"""The keys under ``runs``."""


def run_settings(record: Record | None) -> RunSettings:
    """The settings that stand in ``record``."""
    if record is None:
        return RunSettings()
    said = dict(record.values)
    if "keep" in said:  # what it does not bound is not bounded
        keep = said.pop("keep")
        said |= {"keep_count": keep.get("count", NONE), "keep_age": keep.get("age", NONE)}
    if "retries" in said:
        retries: Record = said.pop("retries")
        said["retries"] = Retries(**retries.values)
    return RunSettings(**said)
