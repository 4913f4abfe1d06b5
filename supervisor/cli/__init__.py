"""The ``supervise`` command.

Owns ``main``: what an error, an interrupt, a closed pipe or a defect looks like to the user who typed the
command, and the exit status (docs/cli.md). The commands are in the modules of this package, each
imported when it is used.

May import all that is below it: presentation/ and client/, web/ in ``supervise web``, and server/
in the commands that run a supervisor themselves.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.cli.terminal import Terminal

__all__ = ["INTERRUPTED", "PIPE_CLOSED", "main"]

INTERRUPTED = 130
PIPE_CLOSED = 141


def main() -> None:
    """The console script."""
    # Importing makes tens of thousands of objects that all stay: looking for cycles in them every
    # 700 is a seventh of a short command's time.
    gc.set_threshold(20_000, 10, 10)
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    _ready_descriptors()
    _ready_streams()
    from supervisor.cli.terminal import Terminal

    terminal = Terminal()
    try:
        status = _run(list(arguments), terminal)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has enough
        _abandon_output()
        return PIPE_CLOSED
    except OSError as error:
        tell = _Telling(terminal, arguments)
        if error.filename is not None and error.errno in _REFUSED:
            path = os.fsdecode(error.filename)
            tell("error", f"{path} cannot be used: {_reason(error)}", _REFUSED[error.errno])
            return 1
        if error.errno not in _UNWRITABLE or error.filename is not None:
            return _defect(tell, error)
        _abandon_output()
        terminal.error(f"standard output cannot be written: {_reason(error)}")
        return 1
    return status


_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
# What the operating system refuses of a file, and the remedy: none of it is a defect of ours.
_ROOM, _ACCESS = "make room on its file system", "give this user access to it"
_REFUSED = {
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: "its file system is mounted read-only",
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EIO: "look at its disk: the kernel's log (dmesg) says more",
    errno.ELOOP: "correct the links that lead there",
    errno.ENAMETOOLONG: "use a shorter path",
    errno.ENOTDIR: "a file stands where a directory is expected",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "the machine has too many open files",
    errno.ESTALE: "its network file system has lost it: mount it again",
}


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _abandon_output() -> None:
    """What is still buffered has nowhere to go; the interpreter would try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _ready_descriptors() -> None:
    """What a caller closed is opened to nothing: else a file of ours gets its number, and is written to as output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _ready_streams() -> None:
    """Streams that take every text, also where a caller closed them or the locale is not UTF-8."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _run(arguments: list[str], terminal: Terminal) -> int:
    tell = _Telling(terminal, arguments)
    try:
        import click

        from supervisor.cli.app import supervise
        from supervisor.errors import ConfigurationError, SupervisorError
    except ImportError as error:
        return _defect(tell, error)
    try:
        completing = os.environ.get("_SUPERVISE_COMPLETE")
        if completing:
            from click.shell_completion import shell_complete

            return shell_complete(supervise, {}, "supervise", "_SUPERVISE_COMPLETE", completing)
        # Not click's own main: that writes to standard error on an interrupt, and has an idea of
        # its own about closed pipes.
        with supervise.make_context("supervise", arguments) as context:
            status = supervise.invoke(context)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        from supervisor.cli.usage import explained

        tell("usage", _lowered(explained(error)), f"see `{_help(error.ctx)}`")
        return error.exit_code
    except click.ClickException as error:
        tell("error", _lowered(error.format_message()), None)
        return error.exit_code
    except ConfigurationError as error:
        if tell.as_json:
            problems = [one.as_data() for one in error.problems]
            tell(error.code, str(error), error.hint, problems=problems)
        else:
            terminal.problems(error)
        return error.exit_status
    except SupervisorError as error:
        wrong = getattr(error, "problems", ())
        tell(error.code, str(error), error.hint, **({"problems": list(wrong)} if wrong else {}))
        return error.exit_status
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except OSError:
        raise
    except Exception as error:  # a defect of ours: one line, and where the rest is
        from envs import EnvError

        if isinstance(error, EnvError):
            tell(error.kind, str(error), error.hint)
            return 1
        return _defect(tell, error)
    return status if isinstance(status, int) else 0


class _Telling:
    """An error, where it was asked for: one object on standard output, or words on standard error."""

    def __init__(self, terminal: Terminal, arguments: Sequence[str]) -> None:
        own = list(arguments)
        self.terminal = terminal
        self.as_json = "--json" in own[: own.index("--") if "--" in own else None]

    def __call__(self, code: str, message: str, hint: str | None, **more: object) -> None:
        if self.as_json:
            error = {"code": code, "message": message, "hint": hint, **more}
            self.terminal.row({"error": error})
        else:
            self.terminal.error(message, hint)


def _lowered(text: str) -> str:
    text = re.sub(r"\s*\n\s*", " ", text).rstrip(".").replace(". Did you mean", "; did you mean")
    text = text.replace("is not a valid integer range", "is no whole number")  # click's type names
    text = re.sub(r": (?:File|Directory|Path) '", lambda found: found[0].lower(), text)
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _help(context: object) -> str:
    path = getattr(context, "command_path", "supervise")
    return f"{path} --help"


def _defect(tell: _Telling, error: Exception) -> int:
    import tempfile
    import traceback

    from supervisor.cli.installation import lacking
    from supervisor.cli.supervisord import SUPERVISORD_HINT, supervisord_beside

    beside = supervisord_beside() if isinstance(error, ImportError | AttributeError) else None
    if beside is not None:
        tell("installation", f"{beside} ({error})", SUPERVISORD_HINT)
        return 2
    lacks = lacking(error)
    if lacks is not None:
        tell("installation", *lacks)
        return 2
    text = "".join(traceback.format_exception(error))
    summary = traceback.format_exception_only(error)[-1].strip()
    if os.environ.get("SUPERVISE_DEBUG"):
        tell.terminal.err.write(text)
        hint = None
    else:
        try:
            descriptor, path = tempfile.mkstemp(prefix="supervise-", suffix=".traceback")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            hint = f"the traceback is in {path}; SUPERVISE_DEBUG=1 prints it"
        except OSError:
            hint = "SUPERVISE_DEBUG=1 prints the traceback"
    tell("internal", f"this is a defect of supervise: {summary}", hint)
    return 1
