"""Runs that earlier supervisors have left, read from their journals, with the state of each.

Owns the reading of a whole directory of journals. Decides nothing about a run. All blocks, so it is
called in threads.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from supervisor import procfs
from supervisor.runs.journal import Journal
from supervisor.runs.retention import is_left_behind
from supervisor.runs.run import Run

__all__ = ["Standing", "namespace", "read_runs", "standing"]

_log = logging.getLogger(__name__)


class Standing(NamedTuple):
    """How it stands with a run, by its journal; ``monitor`` as ``Journal.monitor``."""

    begun: Mapping[str, Any] | None
    monitor: int
    asked: Mapping[str, Any] | None
    final: Mapping[str, Any] | None


def standing(journal: Journal) -> Standing | None:
    """``final`` is read last: without one, nothing that was read before has ended meanwhile.

    None where that cannot be known now, as without descriptors.
    """
    try:
        pid = journal.monitor()
    except OSError as error:
        _log.warning("%s: its lock cannot be asked: %s", journal.path, error.strerror)
        return None
    return Standing(journal.begun(), pid, journal.cancelled(), journal.final())


def read_runs(directory: Path) -> list[Run]:
    """The runs in ``directory``; what was never made wholly, or not removed wholly, is removed."""
    try:
        paths = sorted(directory.iterdir())
    except OSError:
        return []
    return [run for path in paths if (run := _read(path)) is not None]


def _read(path: Path) -> Run | None:
    if is_left_behind(path):
        shutil.rmtree(path, ignore_errors=True)
        return None
    journal = Journal(path)
    order = journal.order()
    run = Run(order or {"run": path.name, "location": "?", "job": None}, journal)
    if run.id != path.name:
        return None
    final = journal.final()
    if final is not None:
        run.finished(final)
        run.retried_by = journal.retried_by()
    run.limits = (journal.begun() or {}).get("limits") or {}
    # Made here, and kept by the run: those of ten thousand take too long in the event loop.
    _ = run.text, run.location, run.created, run.range_id
    return run


def namespace() -> str:
    """Which container this is, as far as processes go: the kernel gives numbers of namespaces away
    again, so it is also known by when its process 1 was started."""
    with contextlib.suppress(OSError, IndexError):
        number = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  # below /proc
        started = procfs.read("/proc/1/stat").rpartition(b")")[2].split()[19].decode()
        return f"{number} {started}"
    return ""
