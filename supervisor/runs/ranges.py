"""Ranges of partitions: one run for each key, under an id that they share.

Owns the row of a range: the states of all of its runs. A range has no record of its own: each run's order names
it, so that it is adopted, and pruned, as its runs are. Launches nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.errors import RequestError
from supervisor.runs.run import Run, new_id
from supervisor.states import RunState

__all__ = ["Range", "all_ranges", "find", "orders"]

# The state of a range whose runs are in several: the first of these, while some live and at the end.
_LIVING = (RunState.CANCELLING, RunState.RUNNING, RunState.STARTING, RunState.QUEUED)
_ENDED = (RunState.FAILURE, RunState.TIMED_OUT, RunState.LOST, RunState.CANCELLED, RunState.SUCCESS)


def orders(order: Mapping[str, Any], keys: Sequence[str]) -> list[dict[str, Any]]:
    """The orders of a new range of ``order``, one for each of the partitions ``keys``."""
    shared = {"id": new_id(), "first": keys[0], "last": keys[-1], "count": len(keys)}
    return [{**order, "partition_key": key, "range": shared} for key in keys]


@dataclass(frozen=True, slots=True)
class Range:
    """The runs of a range that are kept, in the order of their launch."""

    runs: tuple[Run, ...]

    @property
    def id(self) -> str:
        """Its name."""
        return str(self.runs[0].range_id)

    @property
    def ended(self) -> bool:
        """True once all of its runs have."""
        return all(one.ended for one in self.runs)

    @property
    def state(self) -> RunState:
        """The state that stands for all of them."""
        states = {one.state for one in self.runs}
        if self.ended:
            return next(one for one in _ENDED if one in states)
        return next(one for one in _LIVING if one in states)

    @property
    def text(self) -> str:
        """By which it is searched for: its id, and what its first run is."""
        return f"{self.id}\n{self.runs[0].text}"

    @property
    def created(self) -> float:
        """When the first of them was launched."""
        return min(one.created for one in self.runs)

    @property
    def news(self) -> int:
        """Counts what was heard of them."""
        return sum(one.news for one in self.runs)

    def row(self) -> dict[str, Any]:
        """The document ``RunRow``: what all have, and how many are in which state."""
        first, said = self.runs[0], self.runs[0].order["range"]
        began = [one.began for one in self.runs if one.began is not None]
        ends = [one.final.get("ended") for one in self.runs if one.final is not None]
        counts = Counter(one.state.value for one in self.runs)
        total = int(said["count"])
        reason = ", ".join(
            f"{number} {state.replace('_', ' ')}" for state, number in counts.items()
        )
        if len(self.runs) < total:
            reason += f", {total - len(self.runs)} not kept"
        alone = (
            "step",
            "status",
            "signal",
            "limit",
            "fresh_because",
            "monitor",
            "place",
            "retried_by",
        )
        return {
            **first.row(),
            **dict.fromkeys(alone),
            "run": self.id,
            "state": self.state.value,
            "reason": reason,
            "created": self.created,
            "began": min(began, default=None),
            "ended": max(filter(None, ends), default=None) if self.ended else None,
            "partition": f"{said['first']}..{said['last']}",
            "parent": None,
            "partitions": {"count": total, "states": dict(counts)},
            "adopted": any(one.adopted for one in self.runs),
        }

    def detail(self) -> dict[str, Any]:
        """The document ``RunDetail``, with the row of each run."""
        return {
            **self.runs[0].detail(),
            **self.row(),
            **dict.fromkeys(
                ("failure", "events", "dropped", "lost_output", "untold", "untold_because")
            ),
            "runs": [one.row() for one in self.runs],
        }


def all_ranges(runs: Iterable[Run]) -> dict[str, Range]:
    """The ranges among ``runs``, by id; of a run and what repeats it the last counts."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if run.range_id is not None and not run.retried_by:
            found.setdefault(run.range_id, []).append(run)
    return {name: Range(tuple(sorted(some, key=_launched))) for name, some in found.items()}


def find(runs: Iterable[Run], name: str) -> Range | None:
    """The range of that id, or of the one id that begins or ends so."""
    ranges = all_ranges(runs)
    if name in ranges:
        return ranges[name]
    alike = [one for key, one in ranges.items() if name and key.startswith(name)]
    alike = alike or [one for key, one in ranges.items() if name and key.endswith(name)]
    if len(alike) > 1:
        raise RequestError(f"{len(alike)} ranges have {name!r} in their ids: give more of it")
    return alike[0] if alike else None


def _launched(run: Run) -> tuple[float, str]:
    return run.created, run.id
