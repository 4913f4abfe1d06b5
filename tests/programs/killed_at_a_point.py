"""``supervise`` that kills itself at a point of a tick: ``python killed_at_a_point.py POINT NUMBER FILE ARGUMENTS``.

POINT is one of ``POINTS``, NUMBER the how-manieth time it is come to. FILE then holds the point, so that it is
known that it was. Before and after each step that a tick consists of is a point; ``within`` is in a
transaction that is never committed.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from supervisor.runs.journal import Journal  # noqa: E402
from supervisor.runs.store import Runs  # noqa: E402
from supervisor.runs.tick_store import TickStore  # noqa: E402
from supervisor.runs.ticking import Ticking  # noqa: E402

STEPS = {
    "evaluate": (Ticking, "evaluate"),
    "write": (TickStore, "write"),
    "launch": (Runs, "launch"),
    "begin order": (Journal, "begin"),
    "settle order": (Journal, "settle"),
}
POINTS = [f"{when} {name}" for name in STEPS for when in ("before", "after")] + ["within write"]


def arm(point, number, file):
    """Have this process killed there."""
    when, _, name = point.partition(" ")
    left = [number]

    def come():
        left[0] -= 1
        if left[0] == 0:
            Path(file).write_text(point)
            os.kill(os.getpid(), signal.SIGKILL)

    owner, attribute = STEPS[name]
    step = getattr(owner, attribute)

    async def awaited(*arguments, **named):
        if when == "before":
            come()
        if when == "within":
            store, work = arguments

            def killed(database):
                result = work(database)
                come()
                return result

            arguments = store, killed
        result = await step(*arguments, **named)
        if when == "after":
            come()
        return result

    def plain(*arguments, **named):
        if when == "before":
            come()
        result = step(*arguments, **named)
        if when == "after":
            come()
        return result

    setattr(owner, attribute, awaited if asyncio.iscoroutinefunction(step) else plain)


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    del sys.argv[1:4], sys.path[0]
    from supervisor.cli import main

    main()
