"""What an interpreter is: asked of the interpreter itself, once, and remembered.

Owns ``Interpreter`` and ``probe``. A probe runs a few lines of standard-library code in the
interpreter (``-E -s -S``: no site, so no user code) with a timeout, and tells a missing file, a
program that is not Python, a Python 2 and a Python too old apart. Answers are cached in memory and on
disk under the executable's identity (real path, inode, size, modification time, ``pyvenv.cfg``), so
a repeated probe starts no process and is never stale; what is found through a wrapper or a shim
script, whose answer may change while the file does not, is not cached. Does not search:
``discovery`` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from . import unusable
from .children import run, tool_environ
from .errors import EnvError

__all__ = [
    "NEEDED",
    "OLDEST_SUPPORTED",
    "TIMEOUT",
    "Interpreter",
    "cache_directory",
    "forget",
    "own_abi",
    "probe",
    "remembered",
]

OLDEST_SUPPORTED: Final = (3, 6)
"""The oldest Python that the shim is written for."""

TIMEOUT: Final = 10.0
"""How long one may take to answer (seconds)."""
_OUTPUT_LIMIT: Final = 65536
_MARK: Final = "interpreter-probe:"
_SCHEMA: Final = 2  # of the cached answer; raise it when the probe's questions change

NEEDED: Final = (
    *("_signal", "_socket", "array", "ast", "atexit", "binascii", "collections", "contextlib"),
    *("datetime", "dis", "enum", "errno", "faulthandler", "fcntl", "functools", "gc"),
    *("importlib", "inspect", "json", "linecache", "marshal", "os", "pickle", "pkgutil"),
    *("re", "resource", "select", "signal", "site", "socket", "struct", "subprocess"),
    *("sysconfig", "tempfile", "threading", "time", "tokenize", "traceback", "types", "typing"),
    *("uuid", "warnings", "weakref"),
)
"""The modules of the standard library that a location's process imports before its target is."""

# Runs in anything from Python 2.6 up, and in our own process for own_abi(). Under -S a virtualenv's
# prefix is not set up (site does that before 3.14), so pyvenv.cfg is read here; orig-prefix.txt
# is how virtualenv before 20 marked itself.
_ABI_SOURCE: Final = """
import os, sys
def abi():
    try:
        import sysconfig
        platform = sysconfig.get_platform()
    except Exception:
        platform = sys.platform
    soabi = ""
    try:
        from importlib.machinery import EXTENSION_SUFFIXES
        soabi = EXTENSION_SUFFIXES[0].split(".")[1] if EXTENSION_SUFFIXES[0].count(".") > 1 else ""
        if not soabi:
            soabi = sysconfig.get_config_var("SOABI") or ""
    except Exception:
        pass
    libc = ""
    if sys.platform.startswith("linux"):
        try:
            libc = os.confstr("CS_GNU_LIBC_VERSION") or "musl"
        except (ValueError, OSError, AttributeError):
            libc = "musl"
    return {"platform": platform, "soabi": soabi, "libc": libc}
"""

_PROBE_SOURCE: Final = (
    """
import sys
sys.path[:] = [entry for entry in sys.path if entry]
"""
    + _ABI_SOURCE
    + """
import json
def parents(executable):
    return [os.path.dirname(executable), os.path.dirname(os.path.dirname(executable))]
executable = os.path.abspath(sys.executable)
prefix, base_prefix, virtual = sys.prefix, getattr(sys, "base_prefix", sys.prefix), False
for directory in parents(executable):
    if os.path.isfile(os.path.join(directory, "pyvenv.cfg")):
        prefix, virtual = directory, True
        break
else:
    marker = os.path.join(os.path.dirname(os.__file__), "orig-prefix.txt")
    if os.path.isfile(marker):
        with open(marker) as stream:
            base_prefix = stream.read().strip()
        virtual = True
answer, lacks = abi(), []
if sys.version_info >= (3, 6):
    import importlib.util
    lacks = [name for name in NEEDED if importlib.util.find_spec(name) is None]
answer.update(
    lacks=lacks,
    executable=executable,
    version=list(sys.version_info[:3]),
    release=sys.version_info[3],
    version_text=".".join(str(part) for part in sys.version_info[:3])
        + ("" if sys.version_info[3] == "final"
           else {"alpha": "a", "beta": "b"}.get(sys.version_info[3], "rc") + str(sys.version_info[4])),
    sys_version=sys.version,
    implementation=getattr(getattr(sys, "implementation", None), "name", "python"),
    prefix=prefix, base_prefix=base_prefix, virtual=virtual)
sys.stdout.write("MARK" + json.dumps(answer) + "\\n")
""".replace("MARK", _MARK).replace("NEEDED", repr(NEEDED))
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One Python interpreter, as it described itself.

    ``executable`` is the path to launch, as it was given: a virtualenv's own ``bin/python`` is not
    resolved to its base, which ``real_executable`` is. ``soabi`` (``cpython-38-x86_64-linux-gnu``),
    ``platform`` (``sysconfig.get_platform()``) and ``libc`` (``glibc 2.36``, ``musl`` or empty)
    say which binary wheels fit. ``key`` changes when the interpreter behind the path does.
    """

    executable: Path
    real_executable: Path
    version: tuple[int, int, int]
    version_text: str
    implementation: str
    soabi: str
    platform: str
    libc: str
    prefix: Path
    base_prefix: Path
    is_virtualenv: bool
    key: str

    @property
    def is_final(self) -> bool:
        """False for an alpha, beta or release candidate."""
        return self.version_text == ".".join(map(str, self.version))

    def as_dict(self) -> dict[str, Any]:
        """Plain data: paths as strings, the version as a list."""
        result: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Path):
                value = str(value)
            elif isinstance(value, tuple):
                value = list(value)
            result[item.name] = value
        return result

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Interpreter:
        """The inverse of ``as_dict``. Raises KeyError, TypeError or ValueError for anything else."""
        major, minor, micro = (int(part) for part in data["version"])
        return cls(
            executable=Path(data["executable"]),
            real_executable=Path(data["real_executable"]),
            version=(major, minor, micro),
            version_text=str(data["version_text"]),
            implementation=str(data["implementation"]),
            soabi=str(data["soabi"]),
            platform=str(data["platform"]),
            libc=str(data["libc"]),
            prefix=Path(data["prefix"]),
            base_prefix=Path(data["base_prefix"]),
            is_virtualenv=bool(data["is_virtualenv"]),
            key=str(data["key"]),
        )


_memory: dict[str, tuple[list[Any], Interpreter]] = {}
_too_old: dict[str, tuple[list[Any], EnvError]] = {}  # a Python 2 on PATH is met by every search
_memory_lock = threading.Lock()


def forget() -> None:
    """Ask every interpreter once more; what is on disk stays."""
    with _memory_lock:
        _memory.clear()
        _too_old.clear()


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Where what can be made again is kept: ``$XDG_CACHE_HOME/workspace-supervisor``."""
    base = environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative value is to be ignored.
    if not base.startswith("/"):
        base = str(Path(environ.get("HOME") or Path.home()) / ".cache")
    return Path(base) / "workspace-supervisor"


def own_abi() -> dict[str, str]:
    """``platform``, ``soabi`` and ``libc`` of the running interpreter, by the probe's own rule."""
    namespace: dict[str, Any] = {}
    exec(_ABI_SOURCE, namespace)  # noqa: S102 - the constant above; one rule, not two copies
    found: dict[str, str] = namespace["abi"]()
    return found


def probe(executable: str | Path, *, environ: Mapping[str, str]) -> Interpreter:
    """Ask ``executable`` what it is. A virtualenv's directory stands for its ``bin/python``.

    Raises ``EnvError``: ``interpreter`` (absent, not executable, does not start, incomplete), ``not_python``,
    ``python2``, ``unsupported`` (older than 3.6). Takes at most 10 s.
    """
    found, path, signature = _recall(executable, environ)
    if found is not None:
        return found
    with _memory_lock:
        refused = _too_old.get(str(path))
    if refused is not None and refused[0] == signature:
        raise EnvError(refused[1].kind, refused[1].message, hint=refused[1].hint)
    answer = _ask(path, environ)
    try:
        found = _judge(path, answer)
    except EnvError as error:
        if os.path.realpath(str(answer.get("executable", ""))) == signature[0]:
            with _memory_lock:
                _too_old[str(path)] = (signature, error)
        raise
    if found.real_executable != Path(signature[0]):
        # A wrapper: the file stands still while what it starts may change.
        return found
    _to_disk(path, signature, found, environ)
    with _memory_lock:
        _memory[str(path)] = (signature, found)
    return found


def remembered(executable: str | Path, *, environ: Mapping[str, str]) -> Interpreter | None:
    """What a probe would answer without starting a process, or None when it would have to."""
    try:
        return _recall(executable, environ)[0]
    except EnvError:
        return None


def _recall(
    executable: str | Path, environ: Mapping[str, str]
) -> tuple[Interpreter | None, Path, list[Any]]:
    # Not resolve(): a virtualenv's link to its base is the whole point. Not Path.expanduser(), which
    # raises for a user that does not exist.
    path = Path(os.path.abspath(os.path.expanduser(executable)))  # noqa: PTH100, PTH111
    if path.is_dir():
        inside = path / "bin" / "python"
        if not os.path.lexists(inside):
            raise unusable.no_interpreter_in(path)
        path = inside
    signature = _signature(path)
    name = str(path)
    with _memory_lock:
        known = _memory.get(name)
    if known is not None and known[0] == signature:
        return known[1], path, signature
    found = _from_disk(path, signature, environ)
    if found is not None:
        with _memory_lock:
            _memory[name] = (signature, found)
    return found, path, signature


def _signature(path: Path) -> list[Any]:
    """The identity of what ``path`` starts; raises ``EnvError`` when it cannot start anything."""
    real = os.path.realpath(path)
    try:
        status = Path(real).stat()
    except FileNotFoundError:
        raise unusable.not_there(path) from None
    except OSError as error:
        raise unusable.cannot_be_looked_at(path, error) from error
    configured: list[int] = []
    for directory in (path.parent, path.parent.parent):
        with suppress(OSError):
            config = (directory / "pyvenv.cfg").stat()
            configured = [config.st_ino, config.st_size, config.st_mtime_ns]
            break
    return [real, status.st_ino, status.st_size, status.st_mtime_ns, configured]


def _ask(path: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        done = run(
            [path, "-E", "-s", "-S", "-c", _PROBE_SOURCE],
            environ=tool_environ(environ),
            timeout=TIMEOUT,
            limit=_OUTPUT_LIMIT,
            stop_on_overflow=True,
            lifeline=False,
        )
    except OSError as error:
        raise unusable.cannot_start(path, error) from error
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            with suppress(ValueError):
                answer = json.loads(line[len(_MARK) :])
                if isinstance(answer, dict):
                    return answer
    raise unusable.no_answer(path, done, TIMEOUT)


def _judge(path: Path, answer: dict[str, Any]) -> Interpreter:
    try:
        major, minor, _ = (int(part) for part in answer["version"])
        text = str(answer["version_text"])
        if major < 3:
            raise EnvError(
                "python2",
                f"{path} is python {text}: python 2 is not supported",
                hint="use a python 3.6 or newer",
            )
        if (major, minor) < OLDEST_SUPPORTED:
            raise EnvError(
                "unsupported",
                f"{path} is python {text}: 3.6 is the oldest that is supported",
                hint="use a python 3.6 or newer",
            )
        lacks = [str(name) for name in answer["lacks"]]
        if lacks:
            raise unusable.incomplete(path, lacks)
        real = Path(os.path.realpath(answer["executable"]))
        status = real.stat()
        identity = [
            str(real),
            status.st_ino,
            status.st_mtime_ns,
            str(answer["sys_version"]),
            str(answer["soabi"]),
        ]
        key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
        own = {"executable": path, "real_executable": real, "key": key}
        return Interpreter.from_dict({**answer, **own, "is_virtualenv": answer["virtual"]})
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise unusable.not_python(path, f"its answer cannot be read: {error}") from error


def _cache_file(path: Path, environ: Mapping[str, str]) -> Path:
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
    return cache_directory(environ) / "interpreters" / f"{name}.json"


def _from_disk(path: Path, signature: list[Any], environ: Mapping[str, str]) -> Interpreter | None:
    try:
        stored = json.loads(_cache_file(path, environ).read_bytes())
        if stored["schema"] != _SCHEMA or stored["signature"] != signature:
            return None
        found = Interpreter.from_dict(stored["interpreter"])
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return found if found.executable == path else None


def _to_disk(
    path: Path, signature: list[Any], found: Interpreter, environ: Mapping[str, str]
) -> None:
    """Remember; a cache that cannot be written only costs the next probe its 30 ms."""
    target = _cache_file(path, environ)
    data = {"schema": _SCHEMA, "signature": signature, "interpreter": found.as_dict()}
    with suppress(OSError):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.stem}-{os.getpid()}-{threading.get_ident()}")
        temporary.write_text(json.dumps(data), encoding="utf-8")
        temporary.replace(target)
