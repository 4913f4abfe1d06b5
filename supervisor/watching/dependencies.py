"""Which files a location depends on, and whether a change in one of them matters to it.

Owns the list that a load left behind, with what each file held then, so that a file that was only
touched, or written again with the same text, reloads nothing. A path is kept as the team reaches it,
together with where it leads: a link in it is a dependency, too. Touches the disk and so runs in a
thread, one call at a time (``file_watch`` sees to it). Watches nothing itself.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.specs import LocationSpec, Target, TargetKind
from supervisor.watching.digests import ABSENT, Digests, Seen
from supervisor.watching.links import Place, Places
from supervisor.watching.settling import NOTHING

__all__ = ["Dependencies", "Looked", "after_death", "after_failure", "after_load"]

# A shim may report anything.
_MAX_PATHS = 100_000
_IGNORED_SUFFIXES = (".pyc", ".swp", ".swx", "~", ".tmp")
_WATCHED_SUFFIXES = (".py", ".so", ".pyi", ".yaml", ".yml", ".toml", ".sql")


@dataclass(frozen=True, slots=True)
class Looked:
    """What a load looked at: absolute paths.

    ``files`` were read, or looked for and not found. In ``folders`` anything new matters.
    ``places`` have to lead where they did. ``good`` says that it succeeded; one
    that did not saw fewer than the last good one, whose files matter on. ``known`` is False when
    it is not known what it looked at: then what the one before looked for matters on as well.
    """

    files: tuple[str, ...]
    folders: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    good: bool = True
    known: bool = True


def after_load(spec: LocationSpec, report: Mapping[str, Any]) -> Looked:
    """What a load that succeeded looked at, by the shim's ``report``."""
    files = tuple(dict.fromkeys((*report.get("files", ()), *_own_files(spec.target))))
    folders = set(report.get("folders", ()))
    if spec.target is not None and spec.target.kind is TargetKind.AUTOLOAD:
        folders |= {os.path.dirname(path) for path in report.get("files", ())}  # noqa: PTH120  # text only
    return Looked(files, tuple(folders), _places(spec))


def after_failure(
    spec: LocationSpec, details: Mapping[str, Any], sources: Iterable[str], kind: str
) -> Looked:
    """What a load that failed looked at, by the failure's ``details``.

    ``sources`` are the files that the target's source was seen to import; they stand in for what a
    process that hung could not report.
    """
    told = (*details.get("files", ()), *details.get("missing", ()))
    executable = _executable(spec)
    if kind in ("interpreter", "environment") and executable:
        told = (*told, *executable)  # its coming into being would mend it
    elif not told:
        return after_death(spec, details, sources)
    return Looked((*told, *_own_files(spec.target)), (), _places(spec), good=False)


def after_death(spec: LocationSpec, details: Mapping[str, Any], sources: Iterable[str]) -> Looked:
    """What a load looked at that did not live to tell: what its source imports, and its stack."""
    frames = [one["file"] for one in details.get("frames", ()) if one.get("user")]
    files = dict.fromkeys((*_own_files(spec.target), *sources, *frames))
    return Looked(tuple(files), (), _places(spec), good=False, known=False)


class Dependencies:
    """The files one location was made from. ``owner`` is its name in the cache ``digests``.

    ``directories`` are those to watch, real ones; one that is to be may have to be watched for from
    above. Only changes of ``points``, and within ``folders``, can matter.
    """

    __slots__ = (
        "_digests", "_ends", "_entries", "_failed", "_files", "_folders", "_good", "_inodes",
        "_loaded", "_owner", "_places", "_reached", "_turns", "_young", "directories", "folders",
        "points",
    )  # fmt: skip

    def __init__(self, owner: str, digests: Digests) -> None:
        self.directories = self.points = self.folders = NOTHING
        self._owner = owner
        self._digests = digests
        self._good: tuple[str, ...] = ()
        self._failed: tuple[str, ...] = ()  # of the loads since then
        # Of each path: where it leads to, and what was there.
        self._files: dict[str, Seen] = {}
        # What was there when the last good load had read it.
        self._loaded: Mapping[str, Seen] = {}
        self._ends: dict[str, str] = {}
        self._reached: dict[str, set[str]] = {}
        self._places: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        self._entries: dict[str, frozenset[str]] = {}
        # Of each directory with files in it, when nothing was being loaded.
        self._inodes: dict[str, int] = {}
        # Something at one of these paths may change where others lead.
        self._turns = NOTHING
        self._young: tuple[tuple[str, int], ...] = ()

    def take(self, looked: Looked, since_ns: int | None, noted: Collection[str] = ()) -> set[str]:
        """Note what a load looked at, as it is now; returns what may have come too late for it.

        That is what was changed after ``since_ns``, what of ``noted`` is gone, and directories in
        whose place others stand: it may have been read before or after. The same writing is told
        of once.
        """
        if looked.good:
            self._good, self._failed = looked.files, ()
            folders: Iterable[str] = looked.folders
        else:
            before = () if looked.known else self._failed
            self._failed = tuple(dict.fromkeys((*before, *looked.files)))[:_MAX_PATHS]
            folders = self._entries
        files = dict.fromkeys((*self._good, *self._failed))
        wanted = [one for one in files if one.startswith("/")][:_MAX_PATHS]
        met = Places()
        ends = self._look(met, wanted, looked.places, folders)
        if looked.good:
            self._loaded = dict(self._files)
        inodes, self._inodes = self._inodes, _inodes(ends)
        late: dict[str, int] = {}
        for path, place in ends.items():
            changed = _changed_ns(place)
            late[path] = max((changed, *(met.changed_ns[link] for link in place.links)))
        for folder, end in self._folders.items():
            late.update((f"{folder}/{name}", ns) for name, ns in _entries(end).items())
        if since_ns is None:
            return set()
        young = {(path, ns) for path, ns in late.items() if ns > since_ns}
        found = {path for path, _ in young.difference(self._young)}
        self._young = tuple(young)
        found |= {one for one in noted if self._files.get(one) == (None, ABSENT)}
        return found | {one for one, now in self._inodes.items() if inodes.get(one, now) != now}

    def concerned(self, paths: Collection[str], *, loading: bool = False) -> set[str]:
        """Of what is at ``paths``, what matters: other content than was loaded, or new files.

        ``loading`` says that a load is under way, of which ``take`` will tell.
        """
        if not self._turns.isdisjoint(paths):
            return self.outdated(loading=loading)
        found: set[str] = set()
        now = Places()
        for path in paths:
            for one in (*((path,) if path in self._files else ()), *self._reached.get(path, ())):
                place = now.follow(one)
                if place.path != self._ends.get(one, one):
                    return found | self.outdated(loading=loading)  # a link has taken its place
                if self._differs(one, place):
                    found.add(one)
        # Told once: each folder is looked at once for all that was heard of it.
        for folder in {os.path.dirname(path) for path in paths} & self.folders:  # noqa: PTH120  # text only
            found.update(f"{folder}/{name}" for name in self._new_entries(folder))
        return found

    def missed(self, paths: Collection[str], since_ns: int | None) -> set[str]:
        """Which of ``paths``, that are known to differ, a load may have read before they changed.

        It reads since ``since_ns``; None: not yet, and so it misses nothing.
        """
        if since_ns is None:
            return set()
        now = Places()
        places = {path: now.follow(path) for path in paths}
        return {
            path
            for path, place in places.items()
            if place.status is None
            or max([_changed_ns(place), *(now.changed_ns[one] for one in place.links)]) > since_ns
        }

    def outdated(self, *, loading: bool = False) -> set[str]:
        """All that is not as it was loaded; ``directories`` are looked for anew."""
        before, places, entries = self._files, self._places, self._entries
        now = Places()
        ends = self._look(now, list(before), list(places), list(entries))
        if not loading:
            self._inodes = _inodes(ends)
        found = {path for path, seen in self._files.items() if seen[1] != before[path][1]}
        found |= {path for path, end in self._places.items() if end != places[path]}
        for folder, names in self._entries.items():
            found.update(f"{folder}/{name}" for name in names - entries[folder])
        return found

    def other_than_served(self) -> set[str]:
        """The files that hold something else than what the last good load had read.

        Changes nothing, and so may be asked at any time, in any thread.
        """
        now, loaded = Places(), self._loaded
        places = {path: now.follow(path) for path in loaded}
        return {
            path
            for path, place in places.items()
            if self._digests.look(place.path, place.status)[1] != loaded[path][1]
        }

    def forget(self) -> None:
        """The owner is gone."""
        self._digests.keep(self._owner, frozenset())

    def _look(
        self, now: Places, files: Collection[str], places: Iterable[str], folders: Iterable[str]
    ) -> dict[str, Place]:
        """Take in what is there; returns where each file leads."""
        ends = {path: now.follow(path) for path in files}
        paths = frozenset(place.path for place in ends.values())
        self._digests.keep(self._owner, paths)
        self._files = {
            path: self._digests.look(place.path, place.status) for path, place in ends.items()
        }
        self._ends = {path: place.path for path, place in ends.items() if place.path != path}
        self._reached = {}
        for path, end in self._ends.items():
            self._reached.setdefault(end, set()).add(path)
        turns = {link for place in ends.values() for link in place.links}
        watched: set[str] = set()
        for parent in {os.path.dirname(place.path) for place in ends.values()}:  # noqa: PTH120  # text only
            nearest, missing = now.nearest(parent)
            watched.add(nearest)
            turns.add(missing)
        above = {os.path.dirname(path) for path in files}  # noqa: PTH120  # text only
        self._places = {}
        for path in {*places, *above}:
            place = now.follow(path)
            self._places[path] = place.path
            turns |= place.links
        self._folders, self._entries = {}, {}
        for path in folders:
            end = now.directory(path)
            self._folders[path] = end
            self._entries[path] = frozenset(_entries(end))
            watched.add(now.nearest(end)[0])
        share = self._digests.share
        self._turns = share(frozenset(turns - {""}))
        self.folders = share(frozenset(self._folders.values()))
        self.points = paths | self._turns if self._turns else paths
        watched |= {os.path.dirname(link) for link in self._turns}  # noqa: PTH120  # text only
        self.directories = share(frozenset(watched))
        return ends

    def _differs(self, path: str, place: Place) -> bool:
        before = self._files[path]
        # Told once: the load that follows reads what is there now.
        self._files[path] = self._digests.look(place.path, place.status)
        return self._files[path][1] != before[1]

    def _new_entries(self, end: str) -> set[str]:
        found: set[str] = set()
        now = frozenset(_entries(end))
        for folder, where in self._folders.items():
            if where == end:
                found |= now - self._entries[folder]
                self._entries[folder] = now
        return found


def _own_files(target: Target | None) -> tuple[str, ...]:
    """Where the code of ``target`` itself is looked for."""
    if target is None:
        return ()
    if target.kind is TargetKind.PYTHON_FILE:
        return (target.name,)
    path = "/".join((str(target.working_directory), *target.name.split(".")))
    return f"{path}.py", f"{path}/__init__.py"


def _places(spec: LocationSpec) -> tuple[str, ...]:
    directory = () if spec.target is None else (str(spec.target.working_directory),)
    return directory + _executable(spec)


def _executable(spec: LocationSpec) -> tuple[str, ...]:
    path = spec.environment.executable_path
    return (path,) if path is not None and path.startswith("/") else ()


def _changed_ns(place: Place) -> int:
    """When what is there was last changed or put there."""
    if place.status is None:
        return 0
    if stat.S_ISDIR(place.status.st_mode):
        # Python has found a folder that it compiled into, however young it looks.
        return 0 if _is_dir(f"{place.path}/__pycache__") else place.status.st_ctime_ns
    return max(place.status.st_mtime_ns, place.status.st_ctime_ns)


def _inodes(ends: Mapping[str, Place]) -> dict[str, int]:
    """The inodes of the directories in which files lie."""
    found: dict[str, int] = {}
    for directory in {os.path.dirname(place.path) for place in ends.values()}:  # noqa: PTH120  # text only
        with contextlib.suppress(OSError, ValueError):
            found[directory] = os.stat(directory).st_ino  # noqa: PTH116  # hot
    return found


def _ignored(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__" or name.endswith(_IGNORED_SUFFIXES)


def _entries(folder: str) -> dict[str, int]:
    """What in ``folder`` could be imported or read: names, and when each was last changed (ns)."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError), os.scandir(folder) as entries:
        for entry in entries:
            if not _ignored(entry.name) and (
                entry.name.endswith(_WATCHED_SUFFIXES) or entry.is_dir()
            ):
                with contextlib.suppress(OSError):
                    # Python has found a folder that it compiled into, however young it looks.
                    seen = entry.is_dir() and _is_dir(f"{entry.path}/__pycache__")
                    found[entry.name] = 0 if seen else entry.stat().st_ctime_ns
    return found


def _is_dir(path: str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112
