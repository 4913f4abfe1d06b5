"""Why a generation failed, as data that people and programs can read.

Owns the frozen ``Failure``, the making of one from each source (a shim's answer, an environment
that cannot be prepared, a death, a deadline) and the words. What a shim says is untrusted: only
known fields of the right type pass, cut to size. Renders nothing.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import runner_shim
from envs import EnvError
from envs.sizes import size
from supervisor.processes.launcher import Exit
from supervisor.snapshots.snapshot import checked_warnings
from supervisor.specs import Limits

if TYPE_CHECKING:
    from supervisor.protocol import documents

__all__ = [
    "Failure",
    "LoadFailedError",
    "ProcessDiedError",
    "Scene",
    "at_a_limit",
    "died",
    "from_environment",
    "from_shim",
    "how_it_ended",
    "internal",
    "protocol_mismatch",
    "scene_of",
    "timed_out",
    "unresponsive",
]

_DUMPED_FRAME = re.compile(r'\s*File "(?P<file>.+)", line (?P<line>\d{1,9}) in (?P<function>.+)')
_IN_PACKAGES = r"/(?:site|dist)-packages/"
_LIBRARY = re.compile(_IN_PACKAGES + r"|/lib/python3[^/]*/|/overlays/[^/]+/(?:zmq|msgpack)/|^<")
_SHIM = str(Path(runner_shim.__file__).parent) + "/"
_NO_MEMORY = re.compile(r"MemoryError|[Cc]annot allocate memory|failed to map segment|bad_alloc")
_NO_PROCESS = re.compile(r"can't start new thread|Resource temporarily unavailable")
_INSTALLED = re.compile(r"^.*" + _IN_PACKAGES)
# What the source says, or our own side of the process: a fresh one would fail alike.
_FAILS_ALIKE = frozenset(
    {
        "environment",
        "internal",
        "interpreter",
        "missing_file",
        "missing_working_directory",
        "protocol",
        "snapshot",
        "syntax_error",
        "unresponsive",
    }
)
# What an error says that is another at each time: numbers, addresses.
_VARIABLE = re.compile(r"0x[0-9a-fA-F]+|[0-9a-f]{8,}|\d+")
_MOST_SAID = 40  # lines
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+")
_MAX_SAID = 300
_MAX_TEXT = 64 * 1024
_MAX_FRAMES = 64
_ENVIRONMENT_KINDS_OF_INTERPRETER = frozenset(
    {"interpreter", "not_python", "python2", "unsupported"}
)


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure. ``message`` is one sentence; ``hint`` says what to do, or is None.

    ``details`` holds what docs/snapshot.md lists for load failures beyond these (exception, frames,
    causes, traceback, files, missing), and ``detail``: a tool's own words.
    """

    kind: str
    message: str
    hint: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def says_what(self, other: Failure) -> bool:
        """True when the sentences are the same but for the addresses of objects."""
        said = (_ADDRESS.sub("", one.message) for one in (self, other))
        return len(set(said)) == 1

    @property
    def in_full(self) -> str:
        """The sentence, and the last lines of a tool's own words below it."""
        said = str(self.details.get("detail") or "").strip().splitlines()
        return "\n".join([self.message, *said[-_MOST_SAID:]])

    def as_data(self, generation: int, *, brief: bool = False) -> documents.Failure:
        """As the status document has it; ``brief`` leaves the details out."""
        data: documents.Failure = {
            "kind": self.kind,
            "message": self.message,
            "generation": generation,
        }
        if self.hint:
            data["hint"] = self.hint
        if not brief:
            told = {k: v for k, v in self.details.items() if k not in ("files", "missing")}
            data.update(cast("documents.Failure", told))
        return data


class LoadFailedError(Exception):
    """The target cannot be loaded, or its process cannot be placed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ProcessDiedError(Exception):
    """The process ended by itself."""

    def __init__(self, ended: Exit, doing: str) -> None:
        super().__init__(str(ended))
        self.ended = ended
        self.doing = doing


def from_shim(data: Any) -> Failure:
    """What a shim's ``failed`` answer says."""
    if not isinstance(data, dict):
        return Failure("protocol", "the shim reported a failure that cannot be read")
    details: dict[str, Any] = {}
    if isinstance(data.get("exception"), dict):
        details["exception"] = _texts(
            data["exception"], ("type", "message", "module", "not_installed")
        )
        code = data["exception"].get("code")
        if isinstance(code, int | str) and not isinstance(code, bool):
            details["exception"]["code"] = code if isinstance(code, int) else _text(code)
    details["frames"] = _frames(data.get("frames"))
    details["causes"] = [
        {**_texts(one, ("relation", "type", "message")), "frames": _frames(one.get("frames"))}
        for one in _list(data.get("causes"))[:8]
        if isinstance(one, dict)
    ]
    details.update(_texts(data, ("traceback", "file")))
    if isinstance(data.get("line"), int):
        details["line"] = data["line"]
    for name in ("files", "missing"):
        details[name] = [path for path in _list(data.get(name)) if isinstance(path, str)]
    details["warnings"] = checked_warnings(data.get("warnings"))
    return Failure(
        kind=_text(data.get("kind")) or "exception",
        message=_text(data.get("message")) or "it cannot be loaded",
        hint=_text(data.get("hint")) or None,
        details={key: value for key, value in details.items() if value},
    )


@dataclass(frozen=True, slots=True)
class Scene:
    """What happened where, of a failure that the fork may be to blame for.

    ``text`` says it; two are equal for the same error at the same place, however often it is come
    to and wherever the lines have moved. ``library``: it was in an installed library's file.
    """

    text: str = field(compare=False)
    error: tuple[str, str]
    said: str = ""
    place: tuple[str, ...] = ()
    library: bool = False

    def alike(self, other: Scene) -> bool:
        """True for the same kind of error at the same place, whatever was said."""
        return (self.error, self.place) == (other.error, other.place)


def scene_of(failure: Failure) -> Scene | None:
    """The scene of what user code did; None where another process would fail alike."""
    if failure.kind in _FAILS_ALIKE:
        return None
    exception = failure.details.get("exception", {}).get("type", "")
    hung = failure.kind == "timeout"
    happened = "it hung" if hung else f"{exception} raised" if exception else failure.kind
    error = failure.kind, exception
    said = "" if hung else _VARIABLE.sub("#", failure.message)[:_MAX_SAID]
    # Of the frames, the last is where it was; below the library's may be the standard library's.
    for frame in reversed(failure.details.get("frames", ())):
        file = str(frame.get("file", ""))
        library = not frame.get("user")
        if not library or _INSTALLED.search(file):
            short = _INSTALLED.sub("", file) if library else f"{Path(file).name}:{frame['line']}"
            place = (file, str(frame.get("function", "")), str(frame.get("code", "")))
            return Scene(f"{happened} in {short}", error, said, place, library)
    return Scene(happened if hung or exception else failure.message.partition("\n")[0], error, said)


def from_environment(error: EnvError) -> Failure:
    """An environment that cannot be prepared; the tool's own words are in ``detail``."""
    kind = "interpreter" if error.kind in _ENVIRONMENT_KINDS_OF_INTERPRETER else "environment"
    details = {"detail": error.detail} if error.detail else {}
    return Failure(kind, error.message, error.hint, {**details, "environment_kind": error.kind})


def at_a_limit(failure: Failure, limits: Limits) -> Failure:
    """``failure`` with a hint that names the limit which it looks to have met."""
    told = [failure.message]
    for one in (failure.details.get("exception"), *failure.details.get("causes", ())):
        told += [one.get("type", ""), one.get("message", "")] if one else []
    hint = _limit_met("\n".join(told), limits)
    return failure if hint is None else replace(failure, hint=hint)


def _limit_met(text: str, limits: Limits) -> str | None:
    """Which of ``limits`` an error speaks of that has ``text`` in it."""
    if limits.memory is not None and _NO_MEMORY.search(text):
        return f"its limit of memory is {size(limits.memory)}: raise limits.memory if it needs more"
    if limits.open_files is not None and "Too many open files" in text:
        return f"it may have {limits.open_files} open files: raise limits.open_files"
    if limits.processes is not None and _NO_PROCESS.search(text):
        return f"its limit is {limits.processes} processes and threads: raise limits.processes"
    return None


def died(
    ended: Exit, doing: str, said: Sequence[str] = (), limits: Limits | None = None
) -> Failure:
    """A process that ended by itself while ``doing`` something, within its ``limits``.

    ``said`` are the last lines of its standard error: faulthandler's, if native code crashed.
    """
    hint = None
    met = _limit_met("\n".join(said), limits) if limits is not None else None
    if ended.limit:
        hint = "raise limits.memory if it needs more"
    elif met is not None:
        hint = met
    elif limits is not None and limits.memory is not None and ended.signal in (6, 7, 11):
        hint = (
            f"its limit of memory is {size(limits.memory)}, and native code may not survive "
            "that there is no more: raise limits.memory, or see the last lines of the log"
        )
    elif ended.signal == 9:
        hint = "nothing of ours sent this signal: look for the kernel's out-of-memory killer, or a person"
    elif ended.signal in (4, 7, 8, 11):
        hint = "a native library crashed: the last lines of the log may name it"
    elif ended.status is not None:
        hint = "something called os._exit, or a native library ended the process"
    details: dict[str, Any] = {"signal": ended.signal, "status": ended.status}
    details["frames"] = _dumped_frames(said) if ended.signal is not None else []
    details = {key: value for key, value in details.items() if value not in (None, [])}
    return Failure("died", f"the process {ended} while {doing}", hint, details)


def timed_out(seconds: float, doing: str, dumped: Sequence[str] = ()) -> Failure:
    """A deadline that passed while the shim was ``doing`` something.

    ``dumped`` are the lines that faulthandler wrote about it.
    """
    frames = _dumped_frames(dumped)
    where = next((f"{one['file']}:{one['line']}" for one in reversed(frames) if one["user"]), "")
    return Failure(
        "timeout",
        f"{doing} took longer than {seconds:g} s" + (f"; it was at {where}" if where else ""),
        "raise load_timeout if it only needs longer; the log has the stacks of all threads",
        {"frames": frames} if frames else {},
    )


def unresponsive(
    doing: str, seconds: float, dumped: Sequence[str], *, stopped: bool = False
) -> Failure:
    """A process that did not answer within ``seconds`` while ``doing`` something.

    ``dumped`` are the lines that faulthandler wrote about it; ``stopped``: it could write none.
    """
    frames = _dumped_frames(dumped, any_thread=True)
    place = next((f"{one['file']}:{one['line']}" for one in reversed(frames) if one["user"]), "")
    where = f"; it was at {place}" if place else ""
    if stopped:
        where = "; it is stopped, by SIGSTOP or by a debugger"
        hint = "set ping_interval: 0 for a location that is to be debugged"
    elif place:
        hint = "code of its own kept it from answering; the log has the stacks of all threads"
    else:
        hint = "something native may hold the interpreter: the log has the stacks of all threads"
    return Failure(
        "unresponsive",
        f"the process did not answer for {seconds:g} s while {doing}{where}",
        hint,
        {"frames": frames} if frames else {},
    )


def how_it_ended(
    ended: Exit, because: str, refused: Failure | None, *, unheeded: float | None = None
) -> str:
    """How a process ended: by itself, or since we had it end, and ``because`` of what.

    ``refused`` is why it was killed at once. ``unheeded``: SIGTERM was, for so many seconds.
    """
    killed = ended.signal == signal.SIGKILL and not ended.limit
    if refused is not None:
        silent = refused.kind == "unresponsive"
        because = ("it did not answer" if silent else "it broke the protocol") if killed else ""
    if not because:
        return str(ended)
    if killed and unheeded is not None:
        how = f"by SIGKILL: it had not ended {unheeded:g} s after SIGTERM"
    elif killed or ended.signal == signal.SIGTERM:
        how = "by SIGKILL" if killed else "by SIGTERM"
    else:
        how = "it exited when asked to" if ended.clean else f"it {ended}"
    return f"was ended by the supervisor: {because} ({how})"


def _dumped_frames(
    dumped: Sequence[str], *, any_thread: bool = False
) -> list[documents.StackFrame]:
    """The frames of the thread that was running, outermost first, the shim's own left out.

    With ``any_thread``, when that one runs no code of the team's, those of the first other thread
    that does: it may hold the interpreter.
    """
    threads: list[list[documents.StackFrame]] = []
    frames: list[documents.StackFrame] = []
    for line in dumped:
        found = _DUMPED_FRAME.match(line)
        if found is None:
            if line.startswith(("Current thread", "Stack (most recent")):
                frames = []
                threads.insert(0, frames)
            elif line.startswith("Thread 0x"):
                frames = []
                threads.append(frames)
        elif threads and not found["file"].startswith(_SHIM):
            number = int(found["line"])
            frames.append(
                {
                    "file": found["file"],
                    "line": number,
                    "function": found["function"],
                    "code": "",  # it is not read here (``source_lines``)
                    "user": not _LIBRARY.search(found["file"]),
                }
            )
    current = threads[0] if threads else []
    if any_thread:
        users = (one for one in threads if any(frame["user"] for frame in one))
        current = next(users, current)
    return current[::-1][-_MAX_FRAMES:]


def internal(error: BaseException) -> Failure:
    """A defect of the supervisor, met while it ran a generation."""
    return Failure(
        "internal",
        f"the supervisor failed: {type(error).__name__}: {error}",
        "this is a defect of workspace-supervisor: the supervisor's own log has the details",
    )


def protocol_mismatch(theirs: Any, ours: int) -> Failure:
    """A shim of another protocol version."""
    return Failure(
        "protocol",
        f"the shim speaks protocol {theirs!r}, this supervisor speaks {ours}",
        "the package was upgraded while the supervisor was running: restart the supervisor",
    )


def _text(value: Any) -> str:
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _texts(data: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    return {name: _text(data[name]) for name in names if isinstance(data.get(name), str)}


def _frames(value: Any) -> list[dict[str, Any]]:
    frames = []
    for one in _list(value)[:_MAX_FRAMES]:
        if isinstance(one, dict):
            frame: dict[str, Any] = _texts(one, ("file", "function", "code"))
            frame["line"] = one["line"] if isinstance(one.get("line"), int) else 0
            frame["user"] = one.get("user") is True
            frames.append(frame)
    return frames
