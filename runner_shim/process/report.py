"""Reports the end of a run to a framework's own records, where the run could not do so itself.

Owns a short process of the team's environment, started by the run's monitor or by a supervisor: its exit
status is 0 once the records know, its last line of errors says why they do not. It loads no target. What
is told, and how, is the adapter's.
"""

import os
import signal
import sys

__all__ = ["start"]


def start(report, target):
    """Tell what ``report`` says: ``framework``, ``order``, ``state``, ``reason``, ``seconds``.

    It ends after so many seconds, whatever the framework waits for. ``target`` has the working directory.
    """
    signal.alarm(max(1, int(report["seconds"])))  # the default action ends the process
    directory = target["working_directory"]
    try:
        os.chdir(directory)
    except OSError:
        pass  # its records need not be there
    sys.path.insert(0, directory)
    from runner_shim.frameworks import registry

    for entry in registry.entries():
        adapter = entry.adapter()
        if adapter.name == report["framework"] and adapter.report is not None:
            try:
                adapter.report(report["order"], report["state"], report["reason"])
            except Exception as error:
                sys.stderr.write("%s: %s\n" % (type(error).__name__, " ".join(str(error).split())))
                return 1
    return 0
