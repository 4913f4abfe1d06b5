"""Scalar shapes: text, number, true or false, one of some words, duration, size.

Owns how each is written, what it becomes, and what was probably meant when it is written wrongly.
``{env: VARIABLE}`` can stand for any of them but a literal true or false, and in a workspace file of our
own ``${VARIABLE}`` in any. The value of a variable is never shown: it may be a secret.
"""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from supervisor.nearest import near
from supervisor.workspace_files.document import UNUSABLE, Node, shorten
from supervisor.workspace_files.problems import Reading
from supervisor.workspace_files.shapes import INVALID, Invalid, Shape, by_kind, either
from supervisor.workspace_files.variables import expand, has_variables

__all__ = ["Boolean", "Duration", "Enumeration", "Number", "Scalar", "Size", "Text"]


MAX_FIGURE = 40
"""Characters of a number, duration or size; nothing sensible is longer."""


class Scalar(Shape):
    """A single value, which ``{env: VARIABLE}`` can stand for unless ``literal``."""

    literal = False

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if node.kind == "map" and "env" in node.value and not self.literal:
            return self._indirect(node, path, reading)
        if node.kind != "scalar":
            return self.wrong(node, path, reading)
        if reading.expands and isinstance(node.value, str) and has_variables(node.value):
            return self._expanded(node, path, reading)
        return self.take(node, path, reading)

    def _expanded(self, node: Node, path: str, reading: Reading) -> Any:
        found = expand(node.value, reading.environ)
        for message, expected, suggestion in found.problems:
            reading.problem(node.position, path, message, expected=expected, suggestion=suggestion)
        if found.problems:
            return INVALID
        if not found.variables:
            meant = Node("scalar", found.text, node.position, found.text)
            return self.take(meant, path, reading)
        value = self.parse(found.text)
        if isinstance(value, Invalid):
            many = "s" if len(found.variables) > 1 else ""
            reading.problem(
                node.position,
                path,
                f"the environment variable{many} {either(found.variables, 'and')} "
                f"give{'' if many else 's'} a value that cannot be used here",
                expected=self.expected,
            )
        return value

    def _indirect(self, node: Node, path: str, reading: Reading) -> Any:
        variable = node.value["env"]
        if len(node.value) > 1 or not isinstance(variable.value, str) or not variable.value:
            reading.problem(
                node.position,
                path,
                "this does not name one environment variable",
                expected="{env: NAME} and nothing else",
            )
            return INVALID
        name = variable.value
        if name not in reading.environ:
            reading.problem(
                variable.position,
                f"{path}.env",
                f"the environment variable {shorten(name, 200)} is not set",
                suggestion=near(name, reading.environ),
            )
            return INVALID
        value = self.parse(reading.environ[name])
        if isinstance(value, Invalid):
            reading.problem(
                variable.position,
                f"{path}.env",
                f"the environment variable {shorten(name, 200)} holds a value that cannot be used here",
                expected=self.expected,
            )
        return value

    @abstractmethod
    def take(self, node: Node, path: str, reading: Reading) -> Any:
        """The value of a scalar node, or INVALID after telling why."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """The value that ``text`` (of an environment variable) stands for, or INVALID."""

    def _wrap(self, schema: dict[str, Any]) -> dict[str, Any]:
        if schema.get("type") != "string" and "string" not in schema.get("type", ()):
            schema = {"anyOf": [schema, {"$ref": "#/$defs/variable"}]}
        return schema if self.literal else by_kind("object", {"$ref": "#/$defs/env"}, schema)


class Text(Scalar):
    """A text. ``check`` gives back what is wrong with it, or an empty text.

    ``written`` takes numbers, true and false too, as they are written: ``3.10`` stays ``3.10``. ``pattern``
    says to editors what ``check`` accepts, as a regular expression of ECMAScript.
    """

    def __init__(
        self,
        expected: str = "a text",
        *,
        empty: bool = False,
        written: bool = False,
        check: Callable[[str], tuple[str, str] | None] | None = None,
        pattern: str = "",
    ) -> None:
        self.expected = expected
        self._pattern = pattern
        self._empty = empty
        self._written = written
        self._check = check

    def take(self, node: Node, path: str, reading: Reading) -> Any:
        value = node.value
        if value is not None and not isinstance(value, str) and self._written:
            value = node.text
        if not isinstance(value, str):
            quoted = f'"{node.text}" in quotes' if value is not None and len(node.text) < 60 else ""
            return self.wrong(node, path, reading, suggestion=quoted)
        if not value and not self._empty:
            return self.wrong(node, path, reading)
        bad = self._check(value) if self._check else None
        if UNUSABLE.search(value):
            bad = ("holds a character that cannot be used in any value", "")
        if bad:
            reading.problem(
                node.position,
                path,
                f"{node.describe()} {bad[0]}",
                expected=self.expected,
                suggestion=bad[1],
            )
            return INVALID
        return value

    def parse(self, text: str) -> Any:
        if (
            (not text and not self._empty)
            or UNUSABLE.search(text)
            or (self._check and self._check(text))
        ):
            return INVALID
        return text

    def schema(self) -> dict[str, Any]:
        text: dict[str, Any] = {
            "type": ["string", "number", "boolean"] if self._written else "string"
        }
        if not self._empty:
            text["minLength"] = 1
        if self._pattern:  # where a variable stands, the text is not known
            text["pattern"] = rf"{self._pattern}|\$\{{"
        return self._wrap(text)


class Number(Scalar):
    """A number between ``low`` and ``high``, both included; whole unless ``fraction``."""

    def __init__(
        self, low: float, high: float, *, fraction: bool = False, above: bool = False
    ) -> None:
        self._low, self._high, self._fraction, self._above = low, high, fraction, above
        kind = "a number" if fraction else "a whole number"
        self.expected = (
            f"{kind} above {low:g}" if above else f"{kind} from {_figure(low)} to {_figure(high)}"
        )

    def _fits(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self._fraction and not isinstance(value, int):
            return False
        return self._low <= value <= self._high and not (self._above and value == self._low)

    def take(self, node: Node, path: str, reading: Reading) -> Any:
        if self._fits(node.value):
            return node.value
        suggestion = ""
        if isinstance(node.value, str) and not isinstance(self.parse(node.value), Invalid):
            suggestion = f"{node.value} without quotes"
        return self.wrong(node, path, reading, suggestion=suggestion)

    def parse(self, text: str) -> Any:
        if len(text) > MAX_FIGURE:
            return INVALID
        try:
            value = (float if self._fraction else int)(text)
        except ValueError:
            return INVALID
        return value if self._fits(value) else INVALID

    def schema(self) -> dict[str, Any]:
        lowest = "exclusiveMinimum" if self._above else "minimum"
        number: dict[str, Any] = {
            "type": "number" if self._fraction else "integer",
            lowest: self._low,
        }
        if not math.isinf(self._high):
            number["maximum"] = self._high
        return self._wrap(number)


def _figure(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


class Boolean(Scalar):
    """true or false, literally."""

    literal = True
    expected = "true or false"

    def take(self, node: Node, path: str, reading: Reading) -> Any:
        return node.value if isinstance(node.value, bool) else self.wrong(node, path, reading)

    def parse(self, text: str) -> Any:
        return {"true": True, "false": False}.get(text, INVALID)

    def schema(self) -> dict[str, Any]:
        return self._wrap({"type": "boolean"})


class Enumeration(Scalar):
    """One of the values of a StrEnum."""

    def __init__(self, kind: type[StrEnum]) -> None:
        self._kind = kind
        self._words = [member.value for member in kind]
        self.expected = either(self._words)

    def take(self, node: Node, path: str, reading: Reading) -> Any:
        if node.value in self._words:
            return self._kind(node.value)
        return self.wrong(node, path, reading, suggestion=near(node.text, self._words))

    def parse(self, text: str) -> Any:
        return self._kind(text) if text in self._words else INVALID

    def schema(self) -> dict[str, Any]:
        return self._wrap({"enum": list(self._words)})


class _Quantity(Scalar):
    """A number, or a text of number and unit."""

    units: Mapping[str, float]
    pattern: str
    low: float
    high: float

    def parse(self, text: str) -> Any:
        total = 0.0
        if len(text) > MAX_FIGURE or not re.fullmatch(self.pattern, text.strip()):
            return INVALID
        for number, unit in re.findall(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text):
            total += float(number) * self.units[unit]
        return self.finish(total)

    def finish(self, value: float) -> Any:
        return value if self.low <= value <= self.high else INVALID

    def take(self, node: Node, path: str, reading: Reading) -> Any:
        value: Any = INVALID
        if isinstance(node.value, str):
            value = self.parse(node.value)
        elif isinstance(node.value, int | float) and not isinstance(node.value, bool):
            value = self.finish(node.value)
        if isinstance(value, Invalid):
            return self.wrong(node, path, reading, suggestion=self._meant(node))
        return value

    def _meant(self, node: Node) -> str:
        """``5 mins`` → ``5m``, ``512`` → ``512MiB``."""
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", node.text[:MAX_FIGURE])
        if not match:
            return ""
        meant = match[1] + self.unit(match[2].lower())
        return "" if isinstance(self.parse(meant), Invalid) else meant

    @abstractmethod
    def unit(self, word: str) -> str:
        """The unit that ``word`` probably means."""

    def schema(self) -> dict[str, Any]:
        number: dict[str, Any] = {"type": "number", "minimum": self.low, "maximum": self.high}
        text = {"type": "string", "pattern": f"^({self.pattern})$"}
        return self._wrap({"anyOf": [number, text]})


class Duration(_Quantity):
    """Seconds: ``90``, ``1.5``, ``60s``, ``2m``, ``1m30s``, ``500ms``. At most 30 days."""

    units = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
    pattern = r"\d+(\.\d+)?|(\d+(\.\d+)?\s*(ms|s|m|h|d)\s*)+"
    high = 30 * 86400

    def __init__(self, *, low: float = 0.0) -> None:
        self.low = low
        least = f" of at least {low:g} s" if low else ""
        self.expected = f"a duration{least}, such as 60s, 2m, 500ms or a number of seconds"

    def unit(self, word: str) -> str:
        return "ms" if word.startswith(("ms", "mil")) else word[:1]

    def finish(self, value: float) -> Any:
        return super().finish(float(value) if value <= self.high else math.inf)


class Size(_Quantity):
    """Bytes: ``512MiB``, ``1GB``, or a whole number. At least 1 MiB."""

    units = {"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
    units |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
    pattern = r"\d+(\.\d+)?\s*(B|[kKMGT]B|[KMGT]iB)?"
    expected = "a size of at least 1MiB, such as 512MiB, 1GB or a number of bytes"
    low = 2**20
    high = 2**50

    def unit(self, word: str) -> str:
        return f"{word[:1].upper() or 'M'}iB"

    def finish(self, value: float) -> Any:
        return int(value) if self.low <= value <= self.high else INVALID
