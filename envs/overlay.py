"""The runtime overlay: pyzmq and msgpack for an interpreter whose environment lacks them.

Owns one directory per interpreter ABI in the user's cache, outside every team's environment; the
shim appends it to ``sys.path`` just long enough to import the two. It is copied from our own
environment where the ABI is the same (which needs no network), else installed from wheels, checked
by importing both with the very interpreter, marked complete and moved into place. Refuses to
build from source and to repair: what has no marker is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from . import disk
from .children import run, tool_environ
from .errors import EnvError
from .installers import Choice, Toolbox, failure, find_installer
from .interpreters import Interpreter, cache_directory, own_abi
from .locks import exclusive
from .model import Progress, ProgressCallback, Stage

__all__ = ["OVERLAY_REQUIREMENTS", "copy_installed", "ensure_overlay", "overlay_key"]

OVERLAY_REQUIREMENTS: Final = ("pyzmq>=22.3", "msgpack>=1.0.3")
"""Oldest versions that the shim's wire was written for; the installer takes the newest that fit."""

_SCHEMA: Final = 1
_MARKER: Final = ".complete"
_CHECK_TIMEOUT: Final = 60.0

# A pure Python msgpack is what a wheel of another ABI silently turns into, so it counts as broken.
_CHECK_SOURCE: Final = """
import sys
sys.path.append(sys.argv[1])
import zmq, msgpack
zmq.Context().term()
assert msgpack.unpackb(msgpack.packb([1, "a"]), raw=False) == [1, "a"]
if sys.implementation.name == "cpython":
    import msgpack._cmsgpack
sys.stdout.write("%s %s" % (zmq.__version__, ".".join(str(part) for part in msgpack.version)))
"""

# How teams' requirements are chosen is not how ours are.
_TEAM_SETTINGS: Final = frozenset(
    (
        *("UV_CONSTRAINT", "UV_OVERRIDE", "UV_BUILD_CONSTRAINT", "UV_REQUIRE_HASHES"),
        *("UV_RESOLUTION", "UV_PRERELEASE", "UV_EXCLUDE_NEWER", "UV_NO_BINARY", "UV_NO_DEPS"),
        *("PIP_CONSTRAINT", "PIP_REQUIRE_HASHES", "PIP_NO_BINARY", "PIP_NO_DEPS", "PIP_PRE"),
    )
)

# Never imported by the shim: type stubs, tests, headers for extension authors, console scripts.
_UNUSED: Final = ("zmq/tests", "zmq/include", "zmq/log", "zmq/ssh", "bin", ".lock")
_UNUSED_SUFFIXES: Final = (".pyi", ".pyx", ".pxd", ".pxi", ".h", ".hpp", ".cpp", ".c")


def overlay_key(interpreter: Interpreter) -> str:
    """The directory's name: readable first, then a hash of all that decides which wheels fit."""
    major, minor, _ = interpreter.version
    identity = [
        _SCHEMA,
        interpreter.implementation,
        major,
        minor,
        interpreter.soabi,
        interpreter.platform,
        interpreter.libc,
        list(OVERLAY_REQUIREMENTS),
    ]
    digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]
    return f"{interpreter.soabi or interpreter.implementation}-{digest}"


def ensure_overlay(
    interpreter: Interpreter,
    *,
    environ: Mapping[str, str] | None = None,
    cache_dir: Path | None = None,
    progress: ProgressCallback | None = None,
    cancel: threading.Event | None = None,
    installer: Choice = "auto",
    copy_own: bool = True,
) -> Path:
    """The overlay directory for ``interpreter``, made when it is not there yet.

    Cached under ``cache_dir`` (default ``$XDG_CACHE_HOME/workspace-supervisor/overlays``); then one
    ``stat`` and no process. ``copy_own`` allows copying from the running environment when its
    ABI is the same. Raises ``EnvError`` (``overlay``, ``cancelled`` or ``storage``).
    """
    environ = os.environ if environ is None else environ
    root = cache_dir if cache_dir is not None else cache_directory(environ) / "overlays"
    target = root / overlay_key(interpreter)
    if (target / _MARKER).exists():
        return target

    def say(text: str) -> None:
        if progress is not None:
            progress(Progress(f"python {interpreter.version_text}", Stage.OVERLAY, text))

    with exclusive(
        root / f"{target.name}.lock",
        cancel=cancel,
        waiting=lambda: say("waiting for another process that makes it"),
    ):
        if (target / _MARKER).exists():
            return target
        say("making the runtime overlay (pyzmq and msgpack)")
        _clear(root, target)
        own = {key: value for key, value in environ.items() if key not in _TEAM_SETTINGS}
        tools = Toolbox(own, root, say, cancel)
        try:
            building = root / f".{target.name}-{os.getpid()}"
            building.mkdir()
        except OSError as error:
            raise _storage(root, error) from error
        try:
            source = _fill(interpreter, building, tools, installer, copy_own)
            _strip(building)
            versions = _check(interpreter, building, environ)
            # -d: tracebacks and profilers should name where the files will be.
            run(
                [
                    *(interpreter.executable, "-E", "-s", "-S", "-m", "compileall", "-q"),
                    *("-d", target, "."),
                ],
                environ=tool_environ(environ),
                cwd=building,
                cancel=cancel,
            )
            marker = {"versions": versions, "source": source, "python": interpreter.version_text}
            with (building / _MARKER).open("w", encoding="utf-8") as stream:
                json.dump(marker, stream)
                stream.flush()
                os.fsync(stream.fileno())
            building.rename(target)
        except OSError as error:
            raise _storage(root, error) from error
        finally:
            shutil.rmtree(building, ignore_errors=True)
        say(f"the runtime overlay is ready (pyzmq and msgpack {versions})")
    return target


def _storage(root: Path, error: OSError) -> EnvError:
    return disk.refused(error, root, "the runtime overlay (pyzmq and msgpack)") or EnvError(
        "storage",
        f"the runtime overlay cannot be written to {root}: "
        f"{(error.strerror or str(error)).lower()}",
        hint="make it writable, or point XDG_CACHE_HOME elsewhere",
    )


def _clear(root: Path, target: Path) -> None:
    """Remove what an interrupted maker of this very overlay left. The lock is held."""
    for leftover in [target, *root.glob(f".{target.name}-*")]:
        shutil.rmtree(leftover, ignore_errors=True)


def _fill(
    interpreter: Interpreter, building: Path, tools: Toolbox, installer: Choice, copy_own: bool
) -> str:
    """Put the two packages into ``building``; returns where they came from."""
    if copy_own and _same_abi(interpreter) and copy_installed(building):
        return "own environment"
    found = find_installer(tools.environ, interpreter, installer)
    done = found.install_target(interpreter.executable, building, OVERLAY_REQUIREMENTS, tools)
    if done.returncode != 0:
        subject = f"the runtime overlay (pyzmq and msgpack) for python {interpreter.version_text}"
        error = failure(done, subject, tools.environ, found, building)
        if error.kind == "storage":
            raise error
        hint = error.hint
        if error.kind == "resolution":
            hint = (
                f"no wheels of pyzmq and msgpack fit {interpreter.executable} ({interpreter.soabi}, "
                f"{interpreter.platform}): use another build of python, or offer wheels with "
                "UV_FIND_LINKS"
            )
        raise EnvError("overlay", error.message, hint=hint, detail=error.detail)
    return found.name


def _same_abi(interpreter: Interpreter) -> bool:
    own = own_abi()
    return (
        interpreter.implementation == sys.implementation.name
        and interpreter.version[:2] == sys.version_info[:2]
        and interpreter.soabi == own["soabi"]
        and interpreter.platform == own["platform"]
        and interpreter.libc == own["libc"]
    )


def copy_installed(building: Path) -> bool:
    """Copy the two distributions from the running environment, file by file as they list them."""
    from importlib.metadata import PackageNotFoundError, distribution

    wanted: list[tuple[Path, Path]] = []
    for name in ("pyzmq", "msgpack"):
        try:
            files = distribution(name).files
        except PackageNotFoundError:
            return False
        if not files:
            return False
        for item in files:
            if ".." in item.parts or item.suffix == ".pyc":
                continue
            source = Path(str(item.locate()))
            if not source.is_file():
                return False
            wanted.append((source, building / Path(*item.parts)))
    for source, goal in wanted:
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, goal)
    return True


def _check(interpreter: Interpreter, building: Path, environ: Mapping[str, str]) -> str:
    """Import both with the interpreter that will; returns their versions."""
    done = run(
        [interpreter.executable, "-E", "-s", "-S", "-c", _CHECK_SOURCE, building],
        environ=tool_environ(environ),
        cwd=building.parent,
        timeout=_CHECK_TIMEOUT,
    )
    if done.returncode == 0 and not done.timed_out:
        return done.stdout
    raise EnvError(
        "overlay",
        f"pyzmq and msgpack do not load in {interpreter.executable} "
        f"(python {interpreter.version_text})",
        hint="this build of python and the published wheels do not fit: use another build",
        detail=done.output,
    )


def _strip(building: Path) -> None:
    """Leave out what is never imported; each overlay is some megabytes in every user's cache."""
    for name in _UNUSED:
        path = building / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            with suppress(FileNotFoundError):
                path.unlink()
    for path in building.rglob("*"):
        if path.suffix in _UNUSED_SUFFIXES and path.is_file():
            path.unlink()
