"""Runs one of Dagster's programs in its own environment: ``python hosted.py MODULE [ARGUMENT ...]``.

Owns three things that it does beyond ``python -m MODULE``. On SIGURG the program looks at once for what it
would else find by its polls: another workspace file, and locations that have another server. No location is
made to load its code again. SIGURG, since it does nothing to a process that has just begun. Programs that start
together open their instance one after the other: two that make its tables at the same time break them for good
(alembic: "more than one head"). And a location without a server, as before its first load, is no warning: the
supervisor tells of it, and the page shows it.

Runs in any Python that Dagster's webserver runs in, and imports nothing of ours. Where a release is made otherwise,
it does less, or nothing. An environment without the programs is told in one line.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import runpy
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any

__all__: list[str] = []


def _listen(asked: threading.Event) -> None:
    """Have every workspace of this process look when ``asked`` is set."""
    from dagster._core.workspace.context import (  # type: ignore[import-not-found,unused-ignore]
        WorkspaceProcessContext,
    )

    first = WorkspaceProcessContext.__init__

    def looking(workspace: Any) -> None:
        while True:
            asked.wait()
            asked.clear()
            try:
                _look(workspace)
            except Exception:
                traceback.print_exc()

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        first(self, *args, **kwargs)
        threading.Thread(target=looking, args=(self,), name="workspace", daemon=True).start()

    WorkspaceProcessContext.__init__ = __init__


def _look(workspace: Any) -> None:
    """Read the workspace file again where it names other locations, else those with another server."""
    try:
        wanted = {one.location_name: one for one in workspace._origins}
        entries = workspace.get_current_workspace().code_location_entries
        known = {name: entry.origin for name, entry in entries.items()}
    except AttributeError:
        wanted, known, entries = {}, None, {}
    if wanted != known:
        workspace.refresh_workspace()
        return
    for name, entry in entries.items():
        try:
            now = entry.origin.create_client().get_server_id(timeout=2)
        except Exception:  # noqa: S112  # it is away: the program's own poll goes on
            continue
        if getattr(entry.code_location, "server_id", None) != now:
            workspace.refresh_code_location(name)


def _wait_quietly() -> None:
    """Have nothing warned of locations whose socket is not there."""
    from dagster._core.workspace import context  # type: ignore[import-not-found,unused-ignore]

    first, within = context.WorkspaceProcessContext._load_location, threading.local()

    class Warnings:
        """The module, for the one that loads locations."""

        def __getattr__(self, name: str) -> Any:
            return getattr(warnings, name)

        def warn(self, *args: Any, **kwargs: Any) -> None:
            if not getattr(within, "unserved", False):
                warnings.warn(*args, **{"stacklevel": 2, **kwargs})

    def _load_location(self: Any, origin: Any, *args: Any, **kwargs: Any) -> Any:
        path = getattr(origin, "socket", None)
        within.unserved = isinstance(path, str) and not os.path.exists(path)  # noqa: PTH110
        try:
            return first(self, origin, *args, **kwargs)
        finally:
            within.unserved = False

    context.WorkspaceProcessContext._load_location = _load_location
    context.warnings = Warnings()


def _open_alone() -> None:
    """Have the instance opened by one program at a time, on whichever way it is opened."""
    from dagster._core.instance import (  # type: ignore[import-not-found,unused-ignore]
        DagsterInstance,
    )

    try:
        from dagster._core.instance import (  # type: ignore[import-not-found,unused-ignore]
            factory,
        )

        opened = factory.create_instance_from_ref
    except (ImportError, AttributeError):
        DagsterInstance.from_ref = staticmethod(_alone(DagsterInstance.from_ref))
    else:  # every way ends there, that of DagsterInstance.from_ref, too
        factory.create_instance_from_ref = _alone(opened)


def _alone(first: Callable[..., Any]) -> Callable[..., Any]:
    def opened(*args: Any, **kwargs: Any) -> Any:
        path = os.path.join(os.environ["DAGSTER_HOME"], ".opening")  # noqa: PTH118
        with open(path, "a") as lock:  # noqa: PTH123
            fcntl.flock(lock, fcntl.LOCK_EX)
            return first(*args, **kwargs)

    return opened


def _main(module: str, arguments: list[str]) -> None:
    asked = threading.Event()
    signal.signal(signal.SIGURG, lambda _number, _frame: asked.set())
    sys.path[0] = os.getcwd()  # noqa: PTH109  # as `python -m` has it
    sys.argv[:] = [module, *arguments]
    for name in ("dagster", module.partition(".")[0]):
        if importlib.util.find_spec(name) is None:
            package = name.replace("_", "-")
            sys.exit(f"ImportError: {package} is not installed in {sys.prefix}: install it there")
    for change in (_open_alone, _wait_quietly, lambda: _listen(asked)):
        try:
            change()
        except (ImportError, AttributeError) as error:
            print(f"this dagster is run as it is: {error}", file=sys.stderr)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2:])
