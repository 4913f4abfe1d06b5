"""One run as the supervisor knows it: its order, its state and its end.

Owns the row that clients get, in which secrets are hidden. Its journal is authoritative; this is what
was last read from it. Starts nothing and reads nothing.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from runner_shim import masking
from supervisor.errors import RequestError, UnknownRunError
from supervisor.fleet.change_signal import ChangeSignal
from supervisor.runs.journal import Journal
from supervisor.states import RunState

__all__ = ["Run", "named", "new_id"]


def new_id() -> str:
    """A UUID that sorts by time (version 7 of RFC 9562): frameworks want one, and know the run by it."""
    milliseconds = time.time_ns() // 1_000_000
    number = (
        milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    )
    return str(uuid.UUID(int=number))


@dataclass(eq=False)
class Run:
    """``order`` is as it lies in the journal. Times are Unix seconds.

    ``fresh_because`` says why it runs in a fresh process, "" when it was forked. ``limits`` are as its
    birth applied them (supervisor/processes/run_limits.py). ``told``: the framework's own records
    know how it ended; ``report_tried``: the generation that was last asked to tell them, when (monotonic)
    it is asked again, and the delay after that. ``news`` counts what was heard of it,
    ``changed`` wakes those who wait for more. ``waits`` says why it waits and at which place in the
    queue, "" and 0 when it does not.
    """

    order: Mapping[str, Any]
    journal: Journal
    state: RunState = RunState.QUEUED
    reason: str = ""
    began: float | None = None
    final: Mapping[str, Any] | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    monitor: int = 0
    fresh_because: str = ""
    adopted: bool = False
    told: bool = False
    untold_because: str = ""
    report_tried: tuple[int, float, float] | None = field(default=None, repr=False)
    news: int = 0
    size: int = 0
    retried_by: str = ""
    started: float = 0.0
    changed: ChangeSignal = field(default_factory=ChangeSignal, repr=False)
    waits: Callable[[Run], tuple[str, int]] = field(default=lambda run: ("", 0), repr=False)

    @cached_property
    def id(self) -> str:
        """Its name."""
        return str(self.order["run"])

    @cached_property
    def location(self) -> str:
        """The location whose code it runs."""
        return str(self.order["location"])

    @cached_property
    def range_id(self) -> str | None:
        """The range of partitions that it is one run of."""
        said = self.order.get("range")
        return str(said["id"]) if said else None

    @cached_property
    def created(self) -> float:
        """When it was launched; 0 where its order cannot be read."""
        return float(self.order.get("created") or 0.0)

    @cached_property
    def text(self) -> str:
        """By which it is searched for: its id, job, assets and partition, in lower case."""
        assets = self.order.get("assets") or ()
        parts = (self.id, self.order.get("job"), self.order.get("partition_key"), *assets)
        return "\n".join(str(part) for part in parts if part).lower()

    @property
    def key(self) -> tuple[float, str]:
        """By which runs are started in the order of their launches."""
        return float(self.order.get("sequence") or 0.0), self.id

    @property
    def not_before(self) -> float:
        """When it may start; 0 for at once."""
        return float(self.order.get("not_before") or 0.0)

    def tell(self) -> None:
        """Something was heard of it."""
        self.news += 1
        self.changed.tell()

    @property
    def untold(self) -> str | None:
        """The framework whose own records have yet to hear how it ended."""
        return (self.final or {}).get("untold") if not self.told else None

    @property
    def ended(self) -> bool:
        """True once it has its final record."""
        return self.final is not None

    @property
    def ended_at(self) -> float | None:
        """When it ended; None while it has not, and where that is not known it is long ago."""
        if self.final is None:
            return None
        ended = self.final.get("ended")
        return float(ended) if isinstance(ended, int | float) else 0.0

    def finished(self, final: Mapping[str, Any]) -> None:
        """Take the final record."""
        self.final = final
        try:
            self.state = RunState(str(final.get("state")))
        except ValueError:
            self.state = RunState.LOST
        self.reason = str(final.get("reason") or "")
        if isinstance(final.get("began"), float):
            self.began = final["began"]

    def row(self) -> dict[str, Any]:
        """The document ``Run`` (supervisor/protocol/documents.py)."""
        final = self.final or {}
        waits, place = self.waits(self)
        return {
            "run": self.id,
            "location": self.location,
            "job": self.order.get("job"),
            "state": self.state.value,
            "reason": self.reason or masking.masked_text(waits) or None,
            "place": place or None,
            "created": self.order.get("created"),
            "began": self.began,
            "ended": final.get("ended"),
            "generation": self.order.get("generation"),
            "tags": masking.masked(self.order.get("tags") or {}),
            "assets": self.order.get("assets"),
            "partition": self.order.get("partition_key"),
            "parent": self.range_id,
            "partitions": None,
            "op_selection": self.order.get("op_selection"),
            "timeout": self.order.get("timeout"),
            "step": final.get("step"),
            "status": final.get("status"),
            "signal": final.get("signal"),
            "limit": final.get("limit"),
            "retry_of": self.order.get("retry_of"),
            "retried_by": self.retried_by or None,
            "attempt": int(self.order.get("attempt") or 1),
            "automation": (self.order.get("automation") or {}).get("name"),
            "origin": self.order.get("origin"),
            "fresh_because": self.fresh_because or None,
            "adopted": self.adopted,
            "monitor": self.monitor or None,
        }

    def detail(self) -> dict[str, Any]:
        """The row with the order's configuration, secrets hidden, and the failure."""
        final = self.final or {}
        return {
            **self.row(),
            "fingerprint": self.order.get("fingerprint"),
            "config": masking.masked(self.order.get("config")),
            "limits": self.limits.get("limits") or {},
            "limits_by": self.limits.get("how") or {},
            "failure": final.get("failure"),
            "events": final.get("events"),
            "dropped": final.get("dropped"),
            "lost_output": final.get("lost_output"),
            "runs": [],
            "untold": self.untold,
            "untold_because": self.untold_because or None,
            "journal": str(self.journal.path),
        }


def named(runs: Mapping[str, Run], name: str) -> Run:
    """The run of that id, or of the one id that begins or ends so.

    Raises ``UnknownRunError``, and ``RequestError`` where several do.
    """
    run = runs.get(name)
    if run is not None:
        return run
    alike = [one for key, one in runs.items() if name and key.startswith(name)]
    alike = alike or [one for key, one in runs.items() if name and key.endswith(name)]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise RequestError(f"{len(alike)} runs have {name!r} in their ids: give more of it")
    raise UnknownRunError(name, hint="`supervise runs` lists those that are kept")
