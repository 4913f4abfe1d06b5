"""What a run that did not succeed has done: the part of an order that goes on from there.

Owns the reading of its events for that. Reads files, and so is for a thread.
"""

from __future__ import annotations

from typing import Any

from supervisor.runs.run import Run

__all__ = ["from_failure_of"]


def from_failure_of(run: Run) -> dict[str, Any]:
    """``from_failure`` of the order (runner_shim/execution) that goes on where ``run`` ended.

    What an earlier run has done that ``run`` itself went on with counts, too.
    """
    before = run.order.get("from_failure") or {}
    succeeded = dict.fromkeys(before.get("succeeded") or ())
    after, events = 0, None
    while events is None or events:
        events, after = run.journal.events(after)
        for one in events:
            if one.get("type") == "STEP_SUCCESS" and one.get("step"):
                succeeded[one["step"]] = None
    return {
        "run": run.id,
        "root": before.get("root") or run.id,
        "directory": str(run.journal.path),
        "succeeded": list(succeeded),
    }
