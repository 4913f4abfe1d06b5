"""A run in a fresh process: the monitor is forked first, and the run's process then loads the target.

For what is not fit to be forked from, and where nothing that has loaded may be asked. This process
itself ends as soon as the monitor has been forked.
"""

import sys

from runner_shim.process import birth, request_loop, run

__all__ = ["start"]


def start(request, target_data, lifeline):
    """Fork the monitor and the run of ``request``, which loads ``target_data``; the exit status."""

    def load():
        from runner_shim.loading import target

        return target.load(target_data)

    def become(ends):
        request_loop.arm_stack_dump()
        run.become(ends, request, load)

    failed = birth.start(request, {lifeline}, become)
    if failed:
        sys.stderr.write("the run cannot be started: %s\n" % failed)
    return 1 if failed else 0
