"""What a declaration of a control method is made of: scopes, parameters, and the method itself.

Owns these shapes and the parameters that several methods have. The declarations are ``supervisor.protocol.methods``.
Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from supervisor import nearest
from supervisor.errors import InvalidParameterError
from supervisor.protocol import parameters
from supervisor.roles import Role
from supervisor.states import RUN_STATES

__all__ = [
    "SENDABLE", "Method", "Parameter", "Scope", "flag", "mapping", "moment", "run_states",
    "seconds", "text", "texts", "timeout", "whole",
]  # fmt: skip


class Scope(StrEnum):
    """What a method concerns, and so which locations a client must be allowed."""

    LOCATION = "location"
    """That of the parameter ``location``; where that may be absent, all that the client may see."""
    LOCATIONS = "locations"
    """Those of the parameter ``locations``; where it is empty, all that the client may see."""
    RUN = "run"
    """That of the run or range which the parameter ``run`` or ``parent`` names."""
    SUPERVISOR = "supervisor"
    """The whole supervisor: the client must be allowed all locations."""
    CLIENT = "client"
    """The client itself."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: ``check(name, value)`` returns the value or raises ``InvalidParameterError``.

    One that is not required has ``default`` where it is absent or null. ``kind`` names its type in
    the documentation, ``schema`` is its JSON Schema.
    """

    name: str
    sentence: str
    kind: str
    schema: Mapping[str, Any]
    check: Callable[[str, Any], Any]
    required: bool = False
    default: Any = None


@dataclass(frozen=True, slots=True)
class Method:
    """One method; ``result`` names the document of ``supervisor.protocol.documents`` that answers it.

    A streaming one answers with any number of such documents. ``frames`` names what follows the
    answer as raw bytes. ``hold`` is how many seconds the supervisor may keep the answer back for a
    reason of its own; ``waits`` says that it does so for the parameter ``timeout``. ``scope`` is stated
    where no parameter says what it concerns.
    """

    name: str
    sentence: str
    role: Role
    result: str
    parameters: tuple[Parameter, ...] = ()
    is_order: bool = False
    streaming: bool = False
    frames: tuple[str, ...] = ()
    hold: float = 0.0
    waits: bool = False
    scope: Scope | None = None

    @property
    def scopes(self) -> frozenset[Scope]:
        """What it concerns: each is enforced. Empty where no rule is stated, which a test refuses."""
        found = {_BY_PARAMETER.get(one.name) for one in self.parameters} | {self.scope}
        return frozenset(one for one in found if one is not None)

    @property
    def over_http(self) -> bool:
        """True where ``POST /api/v1/methods/NAME`` serves it: one JSON document."""
        return not self.streaming and not self.frames

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its parameters, as one object."""
        properties = {}
        for one in self.parameters:
            kind = {**one.schema, "description": one.sentence}
            properties[one.name] = kind if one.required else {"anyOf": [kind, {"type": "null"}]}
        return {
            "type": "object",
            "properties": properties,
            "required": [one.name for one in self.parameters if one.required],
            "additionalProperties": False,
        }

    def read(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The value of each parameter; raises ``InvalidParameterError`` for what is not declared."""
        known = {one.name: one for one in self.parameters}
        for name in params:
            if name not in known:
                raise InvalidParameterError(
                    f"{self.name!r} has no parameter {str(name)[:100]!r}",
                    hint=f"it has {', '.join(known) or 'none'}",
                )
        values = {}
        for one in self.parameters:
            value = params.get(one.name)
            if value is None and not one.required:
                values[one.name] = one.default
            else:
                values[one.name] = one.check(one.name, value)
        return values


_BY_PARAMETER = {
    "location": Scope.LOCATION,
    "locations": Scope.LOCATIONS,
    "run": Scope.RUN,
    "parent": Scope.RUN,
}

SENDABLE: Mapping[str, Any] = {
    "type": "string",
    "maxLength": parameters.LONGEST_TEXT,
    "pattern": "^[^\\u0000]*$",
}


def text(name: str, sentence: str, *, required: bool = False) -> Parameter:
    return Parameter(name, sentence, "text", SENDABLE, parameters.text, required)


def run_states(name: str, value: Any) -> list[str]:
    found = parameters.texts(name, value)
    for one in found:
        if one not in RUN_STATES:
            raise InvalidParameterError(
                f"no run is ever {one[:100]!r}", hint=nearest.hint(one[:100], RUN_STATES)
            )
    return found


def texts(name: str, sentence: str) -> Parameter:
    schema = {"type": "array", "items": SENDABLE}
    return Parameter(name, sentence, "list of texts", schema, parameters.texts, default=[])


def whole(
    name: str,
    sentence: str,
    least: int = 0,
    most: int = parameters.MOST,
    default: int | None = None,
) -> Parameter:
    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    if default is not None:
        schema["default"] = default
    bounds = f"integer from {least}" + (f" to {most:,}" if most != parameters.MOST else "")

    def check(name: str, value: Any) -> int:
        return parameters.whole(name, value, least, most)

    return Parameter(name, sentence, bounds, schema, check, default=default)


def timeout(sentence: str, default: float) -> Parameter:
    schema = {"type": "number", "minimum": 0, "maximum": parameters.MOST_SECONDS}
    return Parameter("timeout", sentence, "seconds", schema, parameters.seconds, default=default)


def flag(name: str, sentence: str) -> Parameter:
    return Parameter(name, sentence, "boolean", {"type": "boolean"}, parameters.flag, default=False)


def mapping(name: str, sentence: str, values: Mapping[str, Any]) -> Parameter:
    schema = {"type": "object", "additionalProperties": values}
    return Parameter(name, sentence, "map", schema, parameters.mapping)


def seconds(name: str, sentence: str, default: float | None = None) -> Parameter:
    schema = {"type": "number", "minimum": 0, "maximum": parameters.MOST_SECONDS}
    return Parameter(name, sentence, "seconds", schema, parameters.seconds, default=default)


def moment(name: str, sentence: str, default: float | None = None) -> Parameter:
    """A time."""
    schema = {"type": "number", "minimum": 0, "maximum": parameters.MOST_MOMENT}
    return Parameter(name, sentence, "Unix seconds", schema, parameters.moment, default=default)
