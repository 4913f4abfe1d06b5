"""How a failure reads: what went wrong, where in the user's own code, and what to do.

Owns the one rendering of load failures and deaths, used by ``status``, ``check`` and the foreground
supervisor. Order: the sentence, the user's own frames with their code, the exception, its causes,
the tool's own words (an installer's), the remedy, the last lines of the log. Decides nothing and
reads no file. The whole traceback is shown on request only.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner_shim.nearest import slip
from supervisor.presentation.distributions import DISTRIBUTIONS
from supervisor.presentation.text import clean, paint
from supervisor.presentation.words import environment_of

if TYPE_CHECKING:
    from supervisor.protocol.documents import Failure, LocationStatus, LogLine

__all__ = ["entry", "headline", "remedy", "render", "without_own_frames"]

_MAX_FRAMES = 6
# How faulthandler begins.
_STACK = ("Current thread 0x", "Thread 0x", "Fatal Python error:")
# A line of it that is of the shim, or of what Python starts a program with.
_OWN_FRAME = re.compile(
    r'  File "(?:[^"]*/runner_shim/[^"]*|<frozen (?:importlib|runpy)[^"]*)", line \d+'
)
_MAX_MESSAGE = 16  # lines of an exception after its first
_MAX_DETAIL = 40
_FIRST_DETAIL = 15
# What installers say while all is well.
_PROGRESS = re.compile(
    r" *(Using Python|Resolved|Prepared|Downloading|Downloaded|Building|Built|Updating|Updated|"
    r"Collecting|Using cached|Requirement already satisfied:|Obtaining) "
)
_LAST_WORDS = 20
_NOT_INSTALLED = " is not installed"
# What an environment without a name is called (envs.Environment.name); it is no name that a user can give.
_PLAIN = re.compile(r"[A-Za-z_][\w-]*")  # a word in YAML, whatever it is
# Failures that the entry of a location causes, and not its code.
_OF_THE_ENTRY = {
    *("environment", "interpreter", "missing_attribute", "missing_file", "missing_module"),
    "missing_working_directory",
}
_ANONYMOUS = re.compile("env-[0-9a-f]{6}")

_MEANT = re.compile(r"did you mean (\w+)\?")


def missing_module(failure: Failure) -> str | None:
    """The top-level module that the environment lacks, when that is what went wrong."""
    name = (failure.get("exception") or {}).get("not_installed")
    if name:
        return name
    # A status of all locations has the sentence and not the exception.
    word, separator, _ = failure["message"].partition(_NOT_INSTALLED)
    return word if failure["kind"] == "import_error" and separator and " " not in word else None


def headline(location: LocationStatus) -> str:
    """The failure in one sentence, with the environment when it matters."""
    failure = location["failure"]
    if failure is None or location["state"] in ("backoff", "crashed"):
        return location["reason"] or ""  # which also counts the deaths
    if missing_module(failure) is not None:
        what, said, where = failure["message"].partition(_NOT_INSTALLED)
        importer = where.strip(" ()")
        place = f" ({importer})" if importer else ""
        return f"{what}{said}{place} in environment {environment_of(location)}"
    return failure["message"]


def entry(location: LocationStatus) -> str:
    """Where the location stands in a workspace file, if its failure is about what stands there; else ""."""
    failure, origin = location["failure"], location["origin"]
    if failure is None or origin is None or failure["kind"] not in _OF_THE_ENTRY:
        return ""
    return _near_here(Path(origin))


def remedy(location: LocationStatus) -> str | None:
    """What to do about the newest generation's failure, or None when that is not known."""
    failure = location["failure"]
    if failure is None:
        return None
    hint = failure.get("hint") or None
    module = missing_module(failure)
    if module is None:
        environment = location["environment"]
        if failure["kind"] == "missing_module" and environment and environment.get("lacks"):
            found = _making(environment)  # a project that is not installed anywhere
            return f"{found}; or {hint}" if hint and hint.startswith("did you") else found
        return hint
    found = _installing(location, DISTRIBUTIONS.get(module, module))
    meant = _MEANT.fullmatch(hint or "")
    if meant is not None and slip(module, meant[1]):
        return f"{hint} if not, {found}"
    return f"{found}; or {hint}" if hint else found


def _installing(location: LocationStatus, package: str) -> str:
    environment: Mapping[str, Any] = location["environment"] or {}
    if environment.get("lacks"):
        return _making(environment)
    if not environment.get("managed"):
        command = environment.get("adding")
        if not command:
            name = location["name"]
            name = name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)
            return (
                f"give it an environment: `environments: {{{name}: {{requirements: [{package}]}}}}` at the top of "
                f"the workspace file, and `environment: {name}` in its entry"
            )
        return f"install it there: {command} {shlex.quote(package)}"
    return f"add {package} to {_requirements(environment)}"  # which the next load has made anew


def _making(environment: Mapping[str, Any]) -> str:
    """What to do where the virtualenv of a project is not there."""
    missing = Path(environment["lacks"])
    command = environment.get("adding")
    other = "SUPERVISE_ENVIRONMENTS=managed has one made"
    if not command:  # nothing there says what to install
        command, other = "uv sync", "`supervise init -o supervise.yaml`, which has one made"
    place = _near_here(missing.parent)
    made = f"here: run `{command}`" if place == "." else f"in {place}: run `{command}` there"
    return f"no {missing.name} {made}; or {other}"


def _requirements(environment: Mapping[str, Any]) -> str:
    if environment.get("requirements_file"):
        return _near_here(Path(environment["requirements_file"]))
    if environment.get("project"):
        return f"the dependencies in {_near_here(Path(environment['project']) / 'pyproject.toml')}"
    return "the requirements of its environment in the workspace file"


def _near_here(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def render(
    location: LocationStatus,
    *,
    colour: bool = False,
    traceback: bool = False,
    log_lines: int = 0,
    with_headline: bool = True,
) -> list[str]:
    """The lines of the newest generation's failure, without indentation; empty when it has none.

    ``traceback`` gives the whole of it instead of the user's own frames; ``log_lines`` that many
    last lines of the log, when the document has them.
    """
    failure = location["failure"]
    if failure is None:
        return []

    def painted(text: str, style: str) -> str:
        return paint(clean(text), style, colour)

    lines: list[str] = []
    if with_headline:
        lines.append(painted(headline(location), "bold"))
    if traceback and failure.get("traceback"):
        lines += [clean(line) for line in failure["traceback"].rstrip().splitlines()]
    else:
        lines += _chain(failure, painted)
    detail = (failure.get("detail") or "").strip().splitlines()
    if len(detail) > _MAX_DETAIL and not traceback:
        detail = _shortened(detail)
    lines += [f"  {clean(line)}" for line in detail]
    hint = remedy(location)
    if hint:
        lines.append(f"{painted('hint:', 'cyan')} {clean(hint)}")
    if log_lines and failure["kind"] in ("died", "timeout"):
        log_lines = max(log_lines, _LAST_WORDS)  # a stack, or what a native library said
    said = _said(location)
    if failure.get("frames"):  # made from the stack in the log, if there is one
        said = list(takewhile(lambda one: not one["text"].startswith(_STACK), said))
    tail = said[-log_lines:] if log_lines else []
    if tail:
        lines.append(painted("last log lines:", "dim"))
        lines += [f"  {painted(one['text'], 'dim')}" for one in tail]
    return lines


def _shortened(detail: list[str]) -> list[str]:
    """An installer's words without its progress, and cut in the middle: the reason is where it ends."""
    said = [line for line in detail if not _PROGRESS.match(line)]
    if len(said) > _MAX_DETAIL:
        kept = _MAX_DETAIL - _FIRST_DETAIL - 1
        said[_FIRST_DETAIL:-kept] = [f"… {len(said) - _MAX_DETAIL + 1} more lines"]
    return said


def without_own_frames(lines: Iterable[LogLine]) -> list[LogLine]:
    """Lines of a log without the frames of a dumped stack that are not the team's."""
    return [one for one in lines if not _OWN_FRAME.match(one["text"])]


def _said(location: LocationStatus) -> list[LogLine]:
    """What the newest process said itself: the supervisor's remarks say again what stands above."""
    log = location["log"]
    tail = without_own_frames([] if log is None else log.get("tail", []))
    for position in range(len(tail) - 1, -1, -1):
        if tail[position]["stream"] == "sup" and " started as pid " in tail[position]["text"]:
            tail = tail[position:]
            break
    return [one for one in tail if one["stream"] != "sup"]


def _chain(failure: Failure, painted: Callable[[str, str], str]) -> list[str]:
    """Frames and exception, and those of what caused it."""
    frames = list(failure.get("frames") or ())
    exception = failure.get("exception") or {}
    # The sentence of a syntax error has the last place, its source and the exception's words.
    shown = failure["kind"] == "syntax_error" and "\n" in failure["message"]
    lines = _frames(frames[:-1] if shown else frames, painted)
    # What it says whole in the sentence above is said once.
    words = str(exception.get("message") or "").strip()
    said = shown or (bool(words) and words in failure["message"])
    if exception.get("type") and not said:
        lines += _exception(exception, painted)
    told = [exception.get("message")]
    for cause in failure.get("causes") or ():
        if cause.get("message") in told:  # raised anew, with the same words
            continue
        told.append(cause.get("message"))
        link = "caused by" if cause.get("relation") == "cause" else "while handling"
        lines.append(painted(f"{link}:", "dim"))
        lines += _frames(cause.get("frames") or (), painted)
        lines += _exception(cause, painted)
    if not lines and not shown and failure.get("file"):
        lines.append(painted(_place(failure["file"], failure.get("line", 0)), "cyan"))
    return lines


def _exception(data: Mapping[str, Any], painted: Callable[[str, str], str]) -> list[str]:
    """An exception and its words, cut in the middle: the whole traceback has them all."""
    name = painted(str(data.get("type") or "exception"), "red")
    first, *rest = [clean(line) for line in str(data.get("message") or "").strip().split("\n")]
    rest = [line for line in rest if line.strip()]
    if len(rest) > _MAX_MESSAGE:
        half = _MAX_MESSAGE // 2
        rest[half:-half] = [f"… {len(rest) - 2 * half} more lines"]
    return [f"{name}: {first}" if first else name, *(f"  {line}" for line in rest)]


def _frames(frames: Sequence[Mapping[str, Any]], painted: Callable[[str, str], str]) -> list[str]:
    """The user's own frames, or where they end the last of all when none is theirs."""
    own = [one for one in frames if one.get("user")] or list(frames[-1:])
    lines: list[str] = []
    if len(own) > _MAX_FRAMES:
        left_out = len(own) - _MAX_FRAMES
        own = [own[0], *own[1 - _MAX_FRAMES :]]
        mark: int | None = 1
    else:
        left_out, mark = 0, None
    for position, frame in enumerate(own):
        if position == mark:
            lines.append(painted(f"  … {left_out} more frames", "dim"))
        place = painted(_place(str(frame.get("file", "?")), frame.get("line") or 0), "cyan")
        function = frame.get("function") or ""
        inside = f" in {clean(function)}" if function and function != "<module>" else ""
        lines.append(f"  {place}{inside}")
        if frame.get("code"):
            lines.append(f"    {clean(str(frame['code']).strip())}")
    return lines


def _place(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file
