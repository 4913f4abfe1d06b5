"""Resource limits of a shim, set from outside: by a cgroup where one can be had, else by rlimits.

Owns the finding of writable cgroups, one cgroup for each limited shim, the rlimits, and the telling
of which limit killed a process. Limits are set before the first line of user code runs, and from
outside, so that they are the same for fresh and for forked processes. Decides no limit.

cgroup v2 is used where our own cgroup, or the one above it, was delegated to us (systemd:
``Delegate=yes``, ``DelegateSubgroup=``; a container's own tree): writable, with the controllers in
it, and without processes of others. cgroup v1, where
a machine still has it, needs root. Sources: kernel documentation, admin-guide/cgroup-v2.rst and
cgroup-v1/; systemd, CGROUP_DELEGATION.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from envs.sizes import size
from supervisor import procfs
from supervisor.processes import pid1
from supervisor.specs import Limits

__all__ = ["CGROUP", "RLIMIT", "UNENFORCED", "Cgroups", "Confinement", "confine"]

CGROUP = "cgroup"
RLIMIT = "rlimit"
UNENFORCED = "not enforced"

_PERIOD = 100_000  # microseconds; the kernel's default
_PREFIX = "workspace-supervisor-"
_LEAF = _PREFIX + "itself"
_CONTROLLERS = {"memory": "memory", "cpu": "cpu", "processes": "pids"}


def _quota(cores: float) -> int:
    return max(int(cores * _PERIOD), 1000)  # the kernel takes no less than a millisecond


# What is written into which file for a limit; files that a kernel does not have are passed over
# when they are not the first.
_V2: Mapping[str, Callable[[float], list[tuple[str, str]]]] = {
    "memory": lambda value: [
        ("memory.max", str(int(value))),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "1"),
    ],
    "cpu": lambda value: [("cpu.max", f"{_quota(value)} {_PERIOD}")],
    "processes": lambda value: [("pids.max", str(int(value)))],
}
_V1: Mapping[str, Callable[[float], list[tuple[str, str]]]] = {
    "memory": lambda value: [
        ("memory.limit_in_bytes", str(int(value))),
        ("memory.memsw.limit_in_bytes", str(int(value))),
    ],
    "cpu": lambda value: [
        ("cpu.cfs_quota_us", str(_quota(value))),
        ("cpu.cfs_period_us", str(_PERIOD)),
    ],
    "processes": lambda value: [("pids.max", str(int(value)))],
}
_OOM_EVENTS = ("memory.events", "memory.oom_control")


@dataclass(slots=True, eq=False)
class Confinement:
    """The limits of one process: ``how`` maps each that was asked for to what enforces it."""

    how: dict[str, str] = field(default_factory=dict)
    _limits: Limits = field(default_factory=Limits)
    _groups: list[Path] = field(default_factory=list)
    _released: bool = False

    def fatal(self) -> str:
        """The limit that killed a process of it (``512 MiB memory limit``), or ""."""
        for group in self._groups:
            for name in _OOM_EVENTS:
                with contextlib.suppress(OSError, ValueError):
                    for line in (group / name).read_text().splitlines():
                        event, _, count = line.partition(" ")
                        if event == "oom_kill" and int(count) and self._limits.memory:
                            return f"{size(self._limits.memory)} memory limit"
        return ""

    def release(self) -> None:
        """Give its cgroups back; those in which something still lives stay for now."""
        self._released = True
        self._groups = [group for group in self._groups if not _removed(group)]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where cgroups of one controller are made, and in which dialect they are written to.

    ``own`` is the cgroup that this process is in.
    """

    directory: Path
    own: Path
    dialect: Mapping[str, Callable[[float], list[tuple[str, str]]]]


class Cgroups:
    """The cgroups that can be had; looked for when the first one is needed.

    ``proc`` is the directory of this process in proc(5). ``why_not`` says why there is none of a
    kind, by limit.
    """

    def __init__(self, proc: Path = Path("/proc/self")) -> None:
        self._proc = proc
        self._places: dict[str, _Place] | None = None
        self._numbers = itertools.count(1)
        self._made: list[Confinement] = []
        self.why_not: dict[str, str] = {}

    def confine(self, pid: int, limits: Limits, confinement: Confinement) -> None:
        """Put ``pid`` into cgroups for those of its limits for which there are any."""
        if not _wanted(limits):
            return
        self._tidy()
        made = self.make(f"{os.getpid()}-{next(self._numbers)}", limits)
        if made:
            confinement._groups = list(dict.fromkeys(made.values()))
            self._made.append(confinement)
        for name, group in made.items():
            try:
                (group / "cgroup.procs").write_text(str(pid))
            except ProcessLookupError:
                return  # it has ended already
            except OSError as error:
                self._refused(name, group, error)
            else:
                confinement.how[name] = CGROUP

    def make(self, title: str, limits: Limits) -> dict[str, Path]:
        """Make the cgroups ``title`` with those of ``limits`` for which there are any.

        Returns the directory of each by the limit. They stay until ``remove``.
        """
        made: dict[str, Path] = {}
        for name, value in _wanted(limits).items():
            place = self.available().get(name)
            if place is None:
                continue
            group = place.directory / f"{_PREFIX}{title}"
            try:
                group.mkdir(exist_ok=True)
                for number, (file, text) in enumerate(place.dialect[name](value)):
                    with contextlib.suppress(*([OSError] if number else [])):
                        (group / file).write_text(text)
            except OSError as error:
                self._refused(name, group, error)
                if group not in made.values():
                    _removed(group)
            else:
                made[name] = group
        return made

    def remove(self, title: str) -> None:
        """Remove the cgroups ``title``, but for those in which something still lives."""
        for place in self.available().values():
            _removed(place.directory / f"{_PREFIX}{title}")

    def own(self) -> list[Path]:
        """The cgroups of this process, of those kinds in which others are made."""
        return list(dict.fromkeys(place.own for place in self.available().values()))

    def _refused(self, name: str, group: Path, error: OSError) -> None:
        self.why_not[name] = f"{group}: {(error.strerror or '').lower()}"

    def close(self) -> None:
        """Remove what is empty."""
        for one in self._made:
            one.release()
        self._tidy()

    def _tidy(self) -> None:
        # Only what was given back: the others may still tell what killed their process.
        for one in self._made:
            if one._released:
                one.release()
        self._made = [one for one in self._made if one._groups or not one._released]

    def available(self) -> Mapping[str, _Place]:
        """Where there are cgroups, by the limit that they enforce."""
        if self._places is None:
            self._places = {}
            try:
                self._look(self._places)
            except (OSError, ValueError) as error:
                self.why_not = dict.fromkeys(_CONTROLLERS, f"cgroups cannot be read: {error}")
            for place in self._places.values():
                for old in place.directory.glob(f"{_PREFIX}[0-9]*"):
                    # Of a supervisor that was killed; one that lives has yet to put a process into it.
                    owner = old.name.removeprefix(_PREFIX).partition("-")[0]
                    if owner == str(os.getpid()) or not os.path.lexists(f"/proc/{owner}"):
                        _removed(old)
        return self._places

    def _look(self, places: dict[str, _Place]) -> None:
        own: dict[str, str] = {}
        for line in (self._proc / "cgroup").read_text().splitlines():
            _number, names, path = line.split(":", 2)
            own.update(dict.fromkeys(names.split(","), path))  # v2 is the one without a name
        mounts = _mounts((self._proc / "mountinfo").read_text())
        here = _directory(own.get(""), mounts.get(""))
        unified = here if here is None else _delegated_above(here) or here
        for name, controller in _CONTROLLERS.items():
            if controller in own:
                directory = _directory(own[controller], mounts.get(controller))
                if directory is not None and os.access(directory, os.W_OK):
                    places[name] = _Place(directory, directory, _V1)
                else:
                    self.why_not[name] = f"the cgroup of the {controller} controller is not ours"
            elif unified is None:
                self.why_not[name] = "there are no cgroups"
            else:
                reason = self._delegated(unified, controller)
                if reason:
                    self.why_not[name] = reason
                else:
                    leaf = unified / _LEAF
                    inner = here if here != unified else leaf if leaf.is_dir() else unified
                    places[name] = _Place(unified, inner or unified, _V2)

    @staticmethod
    def _delegated(unified: Path, controller: str) -> str:
        """Have ``controller`` in the children of ``unified``; why that cannot be, or ""."""
        if controller not in (unified / "cgroup.controllers").read_text().split():
            return f"the cgroup {unified} has no {controller} controller"
        enabled = unified / "cgroup.subtree_control"
        if controller in enabled.read_text().split() and os.access(unified, os.W_OK):
            return ""
        if not os.access(enabled, os.W_OK) or not os.access(unified, os.W_OK):
            return f"the cgroup {unified} is not delegated to us (systemd: Delegate=yes)"
        strangers = [pid for pid in _processes(unified) if not _is_ours(pid)]
        if strangers:
            return f"the cgroup {unified} holds processes of others, such as pid {strangers[0]}"
        try:
            # One with processes of its own cannot hand controllers on: they move into a leaf.
            leaf = unified / _LEAF
            leaf.mkdir(exist_ok=True)
            for pid in _processes(unified):
                (leaf / "cgroup.procs").write_text(str(pid))
            enabled.write_text(f"+{controller}")
        except OSError as error:
            return f"the cgroup {unified} cannot be used: {(error.strerror or '').lower()}"
        return ""


def confine(
    pid: int, limits: Limits, cgroups: Cgroups | None, descriptors: int | None
) -> Confinement:
    """Set the limits of a process that runs no user code yet.

    ``descriptors`` is its soft limit of open files where ``limits`` sets none.
    """
    confinement = Confinement(_limits=limits)
    if cgroups is not None:
        cgroups.confine(pid, limits, confinement)
    how = confinement.how
    if limits.cpu is not None:
        how.setdefault("cpu", UNENFORCED)
    if not hasattr(resource, "prlimit"):  # macOS
        for name in ("memory", "open_files", "processes", "nice"):
            if getattr(limits, name) is not None:
                how[name] = UNENFORCED
        return confinement
    with contextlib.suppress(ProcessLookupError):
        if limits.memory is not None and "memory" not in how:
            how["memory"] = _set(pid, resource.RLIMIT_AS, limits.memory)
        if limits.processes is not None and "processes" not in how:
            _set(pid, resource.RLIMIT_NPROC, limits.processes)
            # The kernel does not count the processes of root; see setrlimit(2).
            how["processes"] = UNENFORCED if os.geteuid() == 0 else RLIMIT
        if limits.open_files is not None:
            how["open_files"] = _set(pid, resource.RLIMIT_NOFILE, limits.open_files)
        elif descriptors is not None:
            hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors, hard))
        if limits.nice is not None:
            try:
                os.setpriority(os.PRIO_PROCESS, pid, limits.nice)
                how["nice"] = RLIMIT
            except PermissionError:  # only root may be less nice than it was
                how["nice"] = UNENFORCED
    return confinement


def _set(pid: int, which: int, value: int) -> str:
    hard = resource.prlimit(pid, which)[1]
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.prlimit(pid, which, (ceiling, ceiling))
    return RLIMIT


def _mounts(text: str) -> dict[str, tuple[str, str]]:
    """Root and mount point of each v1 controller, and of v2 under the empty name; proc(5)."""
    found: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _source, options = (*rest.split(" ", 2), "")[:3]
        root, point = fields.split(" ")[3:5]
        if kind == "cgroup2":
            found[""] = (root, point)
        elif kind == "cgroup":
            found.update(dict.fromkeys(options.split(","), (root, point)))
    return found


def _directory(path: str | None, mount: tuple[str, str] | None) -> Path | None:
    """Where the cgroup ``path`` is in the file system, if it is below what is mounted."""
    if path is None or mount is None:
        return None
    root, point = mount
    if root != "/":
        if path != root and not path.startswith(root + "/"):
            return None
        path = path[len(root) :]
    directory = Path(point) / path.lstrip("/")
    return directory if directory.is_dir() else None


def _delegated_above(group: Path) -> Path | None:
    """The cgroup that is ours above ``group``, where this process was put below it.

    By an earlier supervisor of the same container, into a leaf; or by systemd (DelegateSubgroup=), which
    marks what it delegates.
    """
    above = group.parent
    if group.name == _LEAF:
        return above
    with contextlib.suppress(OSError, AttributeError):  # no extended attributes, or not Linux
        if os.getxattr(above, "user.delegate") == b"1" and not _processes(above):
            return above
    return None


def _wanted(limits: Limits) -> dict[str, float]:
    """Those of ``limits`` that cgroups can enforce."""
    values = ((name, getattr(limits, name)) for name in _CONTROLLERS)
    return {name: value for name, value in values if value is not None}


def _processes(group: Path) -> list[int]:
    return [int(word) for word in (group / "cgroup.procs").read_text().split()]


def _is_ours(pid: int) -> bool:
    """True for this process and its descendants, and for pid 1 where that has started it."""
    if pid == 1 == os.getppid():
        return pid1.__file__.encode() in procfs.read("/proc/1/cmdline").split(b"\0")
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            pid = procfs.parent(pid)
        except OSError:
            return True  # it has ended
    return False


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
