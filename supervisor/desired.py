"""What a source of desired state says: its entries, each sound or with what is wrong with it.

Owns the two shapes in which desired state travels from those who know it (workspace files now) to
the fleet. Reads nothing and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.errors import ConfigurationProblem
from supervisor.specs import LocationSpec

__all__ = ["Desired", "Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One location that a source names.

    ``problem`` is the first thing wrong with it; None when it is sound, and then ``name`` and
    ``spec`` are there. Of a broken entry there is as much as could be read: ``name`` None means that
    it may be any of those that are missing. ``places`` say where it stands, from the outermost file
    to the innermost (a workspace's file, a project's directory); ``at`` is its key path there.
    """

    name: str | None
    places: tuple[str, ...]
    spec: LocationSpec | None = None
    problem: ConfigurationProblem | None = None
    at: str = ""


@dataclass(frozen=True, slots=True)
class Desired:
    """All that a source desires now.

    ``problems`` are those of its entries and of whatever else it reads. ``outdated`` are names of
    sound entries whose process is to be loaded anew even where the spec is the same, each with the
    reason.
    """

    entries: tuple[Entry, ...] = ()
    problems: tuple[ConfigurationProblem, ...] = ()
    outdated: Mapping[str, str] = field(default_factory=dict)
