"""Which locations a command is about: by name, by pattern, by tag, by state.

Owns the rule and the options. A name that a location has is that location; any other with ``*``, ``?`` or
``[`` in it is a pattern. What is chosen by a pattern or a tag does not have to take an order: what is served
elsewhere is left out of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar

import click

from supervisor.cli.options import TAG_COMPLETION
from supervisor.errors import UnknownLocationError
from supervisor.nearest import hint, listed, near
from supervisor.protocol.parameters import text
from supervisor.states import STATES

if TYPE_CHECKING:
    from supervisor.protocol.documents import LocationStatus

__all__ = ["Choice", "is_pattern", "state_option", "tag_option"]

F = TypeVar("F", bound=Callable[..., Any])


def tag_option(function: F) -> F:
    """``--tag``, as the parameter ``tags``."""
    return click.option(
        "--tag",
        "tags",
        multiple=True,
        metavar="NAME[=VALUE]",
        help="Only locations with this tag; several must all be there.",
        **TAG_COMPLETION,
    )(function)


def state_option(function: F) -> F:
    """``--state``, as the parameter ``states``."""
    return click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice(sorted(STATES)),
        metavar="STATE",
        help="Only locations in this state; of several, in any of them.",
    )(function)


def is_pattern(name: str) -> bool:
    """True for what may stand for several names."""
    return any(one in name for one in "*?[")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was given: ``names`` and patterns (none: all), ``tags`` that all must be there, ``states``."""

    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    states: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names or self.tags or self.states)

    @property
    def needs_look(self) -> bool:
        """True when what is meant depends on what there is."""
        return bool(self.tags or self.states or any(is_pattern(one) for one in self.names))

    def of(
        self, locations: Sequence[LocationStatus], *, order: bool = False
    ) -> list[LocationStatus]:
        """Those that are meant, in their own order.

        Raises UnknownLocationError for a name, a pattern or a tag that no location has, and
        InvalidParameterError for one that is no text. For an ``order`` what is served elsewhere is meant only
        where it is named.
        """
        for word in (*self.names, *self.tags):
            text("a location", word)
        known = {one["name"]: one for one in locations}
        named = [one for one in self.names if one in known]
        for name in self.names:
            if name not in known and not is_pattern(name):
                raise UnknownLocationError(name, hint=hint(name, list(known)))
            if name not in known and not any(fnmatchcase(one, name) for one in known):
                there_are = listed(list(known)) if known else None
                message = f"no code location matches {name!r}"
                raise UnknownLocationError(name, message, hint=there_are)
        for tag in self.tags:
            if not any(_has(one, tag) for one in locations):
                message = f"no code location has the tag {tag!r}"
                raise UnknownLocationError(tag, message, hint=_tags_hint(tag, locations))
        found = [one for one in locations if self._means(one, named, order)]
        if order and self and not found:
            message = "all of these are served elsewhere"
            raise UnknownLocationError("", message, hint="orders are for what is started here")
        return found

    def _means(self, one: LocationStatus, named: Sequence[str], order: bool) -> bool:
        name = one["name"]
        if name not in named:
            if order and one["remote"]:
                return False
            patterns = [other for other in self.names if other not in named]
            if self.names and not any(fnmatchcase(name, other) for other in patterns):
                return False
        if not all(_has(one, tag) for tag in self.tags):
            return False
        return not self.states or one["state"] in self.states


def _has(one: LocationStatus, tag: str) -> bool:
    name, equals, value = tag.partition("=")
    own = one.get("tags") or {}  # a supervisor of an older version sends none
    return name in own and (not equals or own[name] == value)


def _tags_hint(tag: str, locations: Iterable[LocationStatus]) -> str:
    found = {
        f"{name}={value}" if value else name
        for one in locations
        for name, value in (one.get("tags") or {}).items()
    }
    if not found:
        return "no location has tags; a workspace file gives them with the key tags"
    meant = near(tag, sorted(found))
    return f"did you mean {meant}?" if meant else listed(sorted(found))
