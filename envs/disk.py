"""Errors of a disk: which file system it is, and what has run out on it.

Owns the judgement of an ``OSError`` of ours and of a tool's own words: no space or inodes left, a
quota used up, mounted read-only, a file too large. The sentence names the mount point and how much is
free. Does not judge permissions and everything else that is not of the disk.
"""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import EnvError
from .sizes import size

__all__ = ["refused", "refused_in", "working_places"]

# What tools say: the C library's words (in English), or the number, as Rust and Python print it.
_WORDS: Final[Mapping[int, str]] = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EROFS: "Read-only file system",
    errno.EFBIG: "File too large",
}
_QUOTED: Final = re.compile(r"[`'\"](/[^`'\"]+)[`'\"]")
_BARE: Final = re.compile(r"(?<![\w/.])(/[^\s:,;`'\"]+)")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")

# Less than this share of a file system is as good as nothing.
_HARDLY: Final = 0.02


@dataclass(frozen=True, slots=True)
class _FileSystem:
    """Where a path lies. ``free`` and ``size`` are bytes, ``inodes_free`` of ``inodes`` (0: it has
    no fixed number)."""

    mount: Path
    free: int
    size: int
    inodes_free: int
    inodes: int
    read_only: bool

    @classmethod
    def of(cls, path: Path) -> _FileSystem:
        found = Path(os.path.realpath(path))
        while not found.exists() and found != found.parent:
            found = found.parent
        figures = os.statvfs(found)
        return cls(
            _mount_of(found),
            figures.f_bavail * figures.f_frsize,
            figures.f_blocks * figures.f_frsize,
            figures.f_favail,
            figures.f_files,
            bool(figures.f_flag & os.ST_RDONLY),
        )

    @property
    def share_free(self) -> float:
        """Of what is scarcest on it, from 0 to 1."""
        return min(self.free / self.size if self.size else 1.0, self.inodes_share)

    @property
    def inodes_share(self) -> float:
        return self.inodes_free / self.inodes if self.inodes else 1.0

    @property
    def lacks_inodes(self) -> bool:
        return self.inodes_share <= self.share_free and self.inodes_share < 1.0


def _mount_of(path: Path) -> Path:
    """Where the file system of ``path``, a real path, is mounted: also where a part of one is bound."""
    with suppress(OSError):
        mounted = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
        # proc_pid_mountinfo(5): the fifth field, in which blanks and their like are octal.
        fields = {line.split(" ", 5)[4] for line in mounted.splitlines()}
        points = {Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), one)) for one in fields}
        return next((one for one in (path, *path.parents) if one in points), Path("/"))
    while not path.is_mount():
        path = path.parent
    return path


def refused(error: OSError, path: Path, what: str) -> EnvError | None:
    """Why ``what`` ("environment ml") cannot be written, or None when that is not the disk's doing.

    ``path`` is where, unless the error names a file itself.
    """
    if error.errno is None or error.errno not in _WORDS:
        return None
    named = error.filename if error.filename2 is None else error.filename2  # the goal of a copy
    return _told(error.errno, path if named is None else Path(os.fsdecode(named)), what, "")


def refused_in(said: str, what: str, places: Iterable[Path]) -> EnvError | None:
    """As ``refused``, from the words of a tool that failed. ``places`` are where it writes: where it
    names no path, it is the one with the least room."""
    for line in said.splitlines():
        for number, words in _WORDS.items():
            if words in line or f"os error {number})" in line or f"[Errno {number}]" in line:
                paths = [Path(one) for one in _QUOTED.findall(line) or _BARE.findall(line)]
                # Of a copy, the goal comes last. A tool may have broken a long path to fit a line.
                whole = bool(paths) and paths[-1].parent.exists()
                place = paths[-1] if whole else _scarcest(places, number)
                return _told(number, place, what, said)
    return None


def working_places(environ: Mapping[str, str], *places: Path) -> list[Path]:
    """``places``, and where installers keep what they download and unpack."""
    home = Path(environ.get("HOME") or Path.home())
    caches = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    return [
        *places,
        Path(environ.get("TMPDIR") or "/tmp"),  # noqa: S108 - is looked at, not used
        Path(environ.get("UV_CACHE_DIR") or caches / "uv"),
        Path(environ.get("PIP_CACHE_DIR") or caches / "pip"),
    ]


def _scarcest(places: Iterable[Path], number: int) -> Path:
    def rank(place: Path) -> float:
        try:
            system = _FileSystem.of(place)
        except OSError:
            return float("inf")
        if number == errno.EROFS:
            return float(not system.read_only)
        # A tool that failed has removed what it began: a small file system is the likelier one.
        return 0.0 if system.inodes_share < _HARDLY else float(system.free)

    return min(places, key=rank)


def _told(number: int, path: Path, what: str, detail: str) -> EnvError:
    try:
        system = _FileSystem.of(path)
    except OSError as error:
        return EnvError(
            "storage",
            f"{what} cannot be written: {os.strerror(number).lower()}",
            hint=f"look at {path}: {(error.strerror or str(error)).lower()}",
            detail=detail,
        )
    at = f"the file system at {system.mount}"
    # A tool that failed may have removed what it began.
    is_, free = ("is", "free") if system.share_free < _HARDLY else ("was", "free again")
    room = f"{size(system.free)} of {size(system.size)} are"
    if number == errno.EDQUOT:
        why = f"the disk quota on {at} is used up ({room} free for others)"
        hint = f"remove files of this user below {system.mount}, or have the quota raised"
    elif number == errno.EROFS:
        why, hint = (
            f"{at} is mounted read-only",
            f"mount {system.mount} for writing, or use another",
        )
    elif number == errno.EFBIG:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if limit == resource.RLIM_INFINITY:
            why, hint = f"a file is too large for {at}", "use a file system that takes larger files"
        else:
            why = f"no file may be larger than {size(limit)} here"
            hint = "raise the limit of file sizes (ulimit -f) that the supervisor was started with"
    elif system.lacks_inodes:
        numbers = f"{system.inodes_free} of {system.inodes} are {free}"
        why = f"{at} {is_} out of inodes ({numbers})"
        hint = f"remove files below {system.mount}; it has room for bytes, but for no more files"
    else:
        why = f"{at} {is_} full ({room} {free})"
        hint = f"make room below {system.mount}"
    return EnvError("storage", f"{what} cannot be written: {why}", hint=hint, detail=detail)
