"""The limits of a run, as data: its birth applies them, its monitor tells which one was met.

Owns their shape, the cgroups of a run, which are named after it so that any supervisor finds them, and
the question whether a run may have a limit that its location has not. The run is placed by its own
birth (runner_shim/process/birth.py), before user code runs, because its process has no id before.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from envs.sizes import size
from supervisor.processes.limits import CGROUP, RLIMIT, UNENFORCED, Cgroups
from supervisor.specs import Limits

__all__ = ["NAMES", "RunLimits", "merged", "shown"]

NAMES = ("memory", "cpu", "processes", "open_files")
"""The limits that a run can have of its own."""

_TOLD = {
    "memory": "{} memory limit",
    "cpu": "limit of {} cores",
    "processes": "limit of {} processes and threads",
    "open_files": "limit of {} open files",
}


def shown(name: str, value: float) -> str:
    """``512 MiB`` for memory, the number for the others."""
    return size(value) if name == "memory" else f"{value:g}"


def merged(limits: Limits, own: Mapping[str, Any]) -> Limits:
    """``limits`` of a location, with the ``own`` ones of a run."""
    return replace(limits, **{name: own[name] for name in NAMES if own.get(name) is not None})


class RunLimits:
    """Makes the limits of runs.

    ``descriptors`` is the soft limit of open files where a run and its location set none.
    """

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups
        self._made: set[str] = set()
        self.descriptors: int | None = None

    def refusal(self, name: str, limits: Limits, own: Mapping[str, Any]) -> str:
        """Why a run of the location ``name`` with ``limits`` cannot have its ``own``, or "".

        What an rlimit enforces a process can only lower: a run starts with its location's.
        """
        for what in NAMES:
            wanted, given = own.get(what), getattr(limits, what)
            if wanted is None or self.how(what) != RLIMIT:
                continue
            whose = f"the {shown(what, given or 0)} of {name}"
            if what == "open_files" and given is None:
                given = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
                whose = f"the {given} that the supervisor may have itself"
                if given == resource.RLIM_INFINITY:
                    continue
            if given is not None and wanted > given:
                return (
                    f"{what}={shown(what, wanted)} is more than {whose}, and a run can only have "
                    f"less{self._why(what)}"
                )
        return ""

    def how(self, name: str) -> str:
        """What enforces that limit of a run here."""
        return CGROUP if name in self._cgroups.available() else _without_cgroup(name)

    def make(self, run: str, limits: Limits, *, leave: bool) -> dict[str, Any]:
        """The limits of the run ``run``, its cgroups made.

        ``leave``: what it is forked from is in cgroups of its own, which its monitor has to leave.
        """
        groups = self._cgroups.make(_title(run), limits)
        if groups:
            self._made.add(run)
        values = {name: getattr(limits, name) for name in NAMES}
        values = {name: value for name, value in values.items() if value is not None}
        how = {name: CGROUP if name in groups else _without_cgroup(name) for name in values}
        return {
            "limits": values,
            "how": how,
            "told": {name: _TOLD[name].format(shown(name, one)) for name, one in values.items()},
            "groups": [str(one) for one in dict.fromkeys(groups.values())],
            "outside": [str(one) for one in self._cgroups.own()] if leave else [],
            "rlimits": self._rlimits(limits, how),
            "nice": limits.nice,
        }

    def remove(self, run: str, limits: Mapping[str, Any]) -> None:
        """Remove the cgroups of a run that has ended, where its monitor has not.

        ``limits`` are as its birth applied them; an earlier supervisor may have made them.
        """
        if run in self._made or limits.get("groups"):
            self._made.discard(run)
            self._cgroups.remove(_title(run))

    def _rlimits(self, limits: Limits, how: Mapping[str, str]) -> list[list[int]]:
        found = []
        if how.get("memory") == RLIMIT and limits.memory is not None:
            found.append([resource.RLIMIT_AS, limits.memory, limits.memory])
        if limits.processes is not None and how["processes"] != CGROUP:
            found.append([resource.RLIMIT_NPROC, limits.processes, limits.processes])
        if limits.open_files is not None:
            found.append([resource.RLIMIT_NOFILE, limits.open_files, limits.open_files])
        elif self.descriptors is not None:
            found.append([resource.RLIMIT_NOFILE, self.descriptors, -1])
        return found

    def _why(self, name: str) -> str:
        why = self._cgroups.why_not.get(name)
        return f": {why}" if why else ""


def _without_cgroup(name: str) -> str:
    if name == "cpu" or (name == "processes" and os.geteuid() == 0):
        return UNENFORCED  # the kernel does not count the processes of root
    return RLIMIT


def _title(run: str) -> str:
    return f"run-{run}"
