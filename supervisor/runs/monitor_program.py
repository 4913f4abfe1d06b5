"""The program that becomes a run's monitor: it finds ``monitor`` and starts it.

Apart from ``monitor`` because Python compiles a program anew each time, and each run starts one; a module
has its bytecode kept. Runs with ``-I -S``.
"""

import sys

__all__: list[str] = []

if __name__ == "__main__":
    # With -I nothing of ours is on the path. It comes behind the standard library.
    sys.path.append(__file__.rpartition("/supervisor/runs/")[0])
    # The package without what it imports by itself: a monitor's memory counts.
    sys.modules["supervisor"] = type(sys)("supervisor")
    sys.modules["supervisor"].__path__ = [sys.path[-1] + "/supervisor"]

    from supervisor.runs import monitor

    monitor.main()
