"""Merges the desired state of several sources: which entry each name gets, and what keeps running unchanged.

Owns the rules, and nothing else. They are:

* A name belongs to the place that it runs from; while nothing runs by it, to the first place that
  names it. An entry of the same name elsewhere is refused.
* A broken entry changes nothing: the location of its name keeps running. So does a location that its
  place names twice.
* A location that no source names any more is removed, unless a broken entry may be its new form: one whose
  name cannot be read or is taken, in the same place, or one with another name and the same target.

Pure: no processes, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from supervisor.desired import Entry
from supervisor.errors import ConfigurationProblem
from supervisor.specs import LocationSpec, SourcePosition

__all__ = ["Claim", "Merged", "merge"]


@dataclass(frozen=True, slots=True)
class Claim:
    """``entry`` of the source that is called ``source``."""

    source: str
    entry: Entry

    @property
    def place(self) -> tuple[str, ...]:
        """Where it stands: no two sources share a place."""
        return (self.source, *self.entry.places)


@dataclass(slots=True)
class Merged:
    """``claims`` are what should run, by name, all of them sound, in the order of the sources.

    ``kept`` are names of those that go on as they were because their entry is refused, ``missing``
    those that go on though no entry names them; each with the problem that is the reason.
    ``problems`` are those that no source can know of: names that two sources claim.
    """

    claims: dict[str, Claim] = field(default_factory=dict)
    kept: dict[str, ConfigurationProblem] = field(default_factory=dict)
    missing: dict[str, ConfigurationProblem] = field(default_factory=dict)
    problems: list[ConfigurationProblem] = field(default_factory=list)

    def specs(self) -> Iterator[LocationSpec]:
        """What should run, in order."""
        return (one.entry.spec for one in self.claims.values() if one.entry.spec is not None)


def merge(before: Mapping[str, Claim], claims: Iterable[Claim]) -> Merged:
    """What should run, where ``before`` runs and the sources make ``claims``."""
    merged = Merged()
    named: dict[str, list[Claim]] = {}
    broken: list[Claim] = []
    for claim in claims:
        if claim.entry.problem is not None:
            broken.append(claim)
        if claim.entry.name is not None:
            named.setdefault(claim.entry.name, []).append(claim)
    for name, rivals in named.items():
        broken += _settle(name, rivals, before.get(name), merged)
    for name, held in before.items():
        if name not in named:
            because = next((one for one in broken if _may_be(held, one, before)), None)
            if because is not None and because.entry.problem is not None:
                merged.claims[name] = held
                merged.missing[name] = because.entry.problem
    return merged


def _settle(name: str, rivals: list[Claim], held: Claim | None, merged: Merged) -> list[Claim]:
    """Whose the name is; returns the others, without a name: each may be what was renamed."""
    owner = rivals[0] if held is None else held
    own = [one for one in rivals if one.place == owner.place]
    if not own:  # it has moved to another place
        owner = rivals[0]
        own = [one for one in rivals if one.place == owner.place]
    problem = own[0].entry.problem
    if len(own) > 1:
        problem = problem or next((one.entry.problem for one in own if one.entry.problem), None)
        problem = problem or _taken(own[1], own[0])
    if problem is None:
        merged.claims[name] = own[0]
    elif held is not None:
        merged.claims[name] = held
        merged.kept[name] = problem
    others: list[Claim] = []
    told = {owner.source}
    for rival in rivals:
        if rival.source not in told:
            told.add(rival.source)
            merged.problems.append(_taken(rival, own[0]))
        if rival is not own[0]:
            problem = rival.entry.problem or _taken(rival, own[0])
            others.append(replace(rival, entry=replace(rival.entry, name=None, problem=problem)))
    return others


def _may_be(held: Claim, broken: Claim, before: Mapping[str, Claim]) -> bool:
    """True when the broken entry may be what became of ``held``, which is named no more."""
    entry, was = broken.entry, held.entry
    if broken.source != held.source or entry.name in before:
        return False
    if entry.name is None:
        return entry.places[-1] in was.places
    if entry.spec is None or was.spec is None or was.spec.target is None:
        return False
    return entry.spec.target == was.spec.target


def _taken(rival: Claim, owner: Claim) -> ConfigurationProblem:
    name = rival.entry.name
    return ConfigurationProblem(
        _position(rival),
        rival.entry.at,
        f'the location name "{name}" is taken already, at {_position(owner)}',
        "names that differ",
    )


def _position(claim: Claim) -> SourcePosition:
    spec = claim.entry.spec
    if spec is not None and spec.origin is not None:
        return spec.origin
    return SourcePosition(claim.entry.places[-1] if claim.entry.places else claim.source)
