"""A stand-in for the daemon: runs until it is asked to end, and says so."""

import signal
import sys

from dagster._core.workspace.context import WorkspaceProcessContext


def end(_number: int, _frame: object) -> None:
    print("the daemon ends", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, end)
workspace = WorkspaceProcessContext(sys.argv[sys.argv.index("--workspace") + 1])
print("the daemon runs", flush=True)
while True:
    signal.pause()
