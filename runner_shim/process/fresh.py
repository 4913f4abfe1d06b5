"""A run, a tick, or a framework's server, in a fresh process.

For what is not fit to be forked from, and where nothing that has loaded may be asked. Of a run the
monitor is forked first, and the run's process then loads the target, or is what a server has handed
over; this process itself ends as soon as the monitor has been forked.
"""

import _socket
import os
import sys

from runner_shim.process import birth, code_server, request_loop, run, ticking

__all__ = ["serve", "start", "tick"]


def serve(order, descriptor):
    """Be the server that ``order`` wants; ``descriptor`` is the line to the shim. The exit status."""
    request_loop.arm_stack_dump()
    os.set_inheritable(descriptor, False)
    os.chdir(order["target"]["working_directory"])
    code_server.end(code_server.become(order, code_server.Line(_socket.socket(fileno=descriptor))))


def tick(order, target_data, descriptor):
    """Load the target, evaluate what ``order`` names and say it to ``descriptor``; the exit status."""
    request_loop.arm_stack_dump()
    os.set_inheritable(descriptor, False)

    def load():
        from runner_shim.loading import target

        return target.load(target_data)

    code_server.end(ticking.become(order, load, descriptor))


def start(request, target_data, lifeline, handed=None):
    """Fork the monitor and the run of ``request``, which loads ``target_data`` or is what was ``handed``
    over; the exit status."""

    def load():
        from runner_shim.loading import target

        return target.load(target_data)

    def become(ends):
        request_loop.arm_stack_dump()
        run.become(ends, request, load, handed=handed)

    failed = birth.start(request, {lifeline}, become)
    if failed:
        sys.stderr.write("the run cannot be started: %s\n" % failed)
    return 1 if failed else 0
