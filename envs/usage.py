"""Which environments live processes run in.

Owns one question to the process table. A virtualenv's interpreter is a link to its base, so the
executable alone does not tell: the command line, ``VIRTUAL_ENV`` and the mapped libraries do. Only
processes that this user may look at can be judged. Does not end any.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["used_prefixes"]


def used_prefixes(prefixes: Sequence[Path]) -> dict[Path, int]:
    """For each of ``prefixes`` that a live process runs in, the id of one such process."""
    if not prefixes:
        return {}
    import psutil

    used: dict[Path, int] = {}
    marks = {str(prefix) + os.sep: prefix for prefix in prefixes}
    for process in psutil.process_iter():
        if len(used) == len(marks):
            break
        traces = _traces(process)
        for mark, prefix in marks.items():
            if prefix not in used and any(trace.startswith(mark) for trace in traces):
                used[prefix] = process.pid
    return used


def _traces(process: object) -> list[str]:
    """Paths that ``process`` depends on; empty for one that is gone or not ours."""
    import psutil

    assert isinstance(process, psutil.Process)
    traces: list[str] = []
    for look in (process.exe, process.cwd):
        try:
            traces.append(look())
        except (psutil.Error, OSError):
            continue
    try:
        traces += process.cmdline()[:2]
        virtual = process.environ().get("VIRTUAL_ENV", "")
        if virtual:
            traces.append(virtual + os.sep)
    except (psutil.Error, OSError):
        pass
    try:
        maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return traces
    traces += {line[line.index("/") :] for line in maps.splitlines() if "/" in line}
    return traces
