"""Runs one of Dagster's programs in its own environment: ``python hosted.py MODULE [ARGUMENT ...]``.

Owns one thing that it does beyond ``python -m MODULE``: on SIGURG the program reads its workspace file
again, without having any location load its code again. Runs in any Python that Dagster's webserver runs in,
and imports nothing of ours. SIGURG, since it does nothing to a process that has just begun. Where a release has no such reading, SIGURG does nothing.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import traceback
from typing import Any

__all__: list[str] = []


def _listen(asked: threading.Event) -> None:
    """Have every workspace of this process read again when ``asked`` is set."""
    from dagster._core.workspace.context import (  # type: ignore[import-not-found,unused-ignore]
        WorkspaceProcessContext,
    )

    first = WorkspaceProcessContext.__init__
    refresh = WorkspaceProcessContext.refresh_workspace

    def reading(workspace: Any) -> None:
        while True:
            asked.wait()
            asked.clear()
            try:
                refresh(workspace)
            except Exception:
                traceback.print_exc()

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        first(self, *args, **kwargs)
        threading.Thread(target=reading, args=(self,), name="workspace file", daemon=True).start()

    WorkspaceProcessContext.__init__ = __init__


def _main(module: str, arguments: list[str]) -> None:
    asked = threading.Event()
    signal.signal(signal.SIGURG, lambda _number, _frame: asked.set())
    sys.path[0] = os.getcwd()  # noqa: PTH109  # as `python -m` has it
    sys.argv[:] = [module, *arguments]
    try:
        _listen(asked)
    except (ImportError, AttributeError) as error:
        print(f"a changed workspace file is not noticed here: {error}", file=sys.stderr)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2:])
