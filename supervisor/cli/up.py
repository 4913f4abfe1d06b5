"""``supervise up``: the supervisor in the foreground, or with ``-d`` as a process of its own.

Owns the detaching, the log of what it would show, and the wait until clients can connect. What
the supervisor does is ``supervise run``'s.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.options import LISTEN, SECONDS, beside_option, face_option, selecting
from supervisor.cli.session import Session
from supervisor.errors import (
    ConfigurationError,
    NotRunningError,
    SupervisorError,
    UnreachableError,
)
from supervisor.presentation.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisor.cli.beside import Beside
    from supervisor.cli.terminal import Terminal
    from supervisor.dagster.face import Face

__all__ = ["up_"]

_LOOK_SECONDS = 0.05
# The output is begun anew when it has so many bytes; one older file is kept.
_MOST_OUTPUT = 10 * 1024 * 1024
_TAIL = 20
# How long the command waits for the web page to say where it is.
_PAGE_SECONDS = 10.0
_PAGE = "supervise web: "
_OF_PAGE = (_PAGE, "error: ", "supervise: the web page ended")


@click.command("up", short_help="Start it; with -d in the background.")
@click.option("-d", "--detach", is_flag=True, help="In the background: return once it serves.")
@click.option(
    "--timeout", type=SECONDS, default=60.0, show_default=True, metavar="SECONDS",
    help="With -d, wait no longer than this until it serves.",
)  # fmt: skip
@selecting
@beside_option
@face_option
@LISTEN
def up_(
    session: Session,
    detach: bool,
    timeout: float,
    web: Beside | None,
    face: Face | None,
    listen: str | None,
) -> int:
    """Start the supervisor of a workspace, as `supervise run` does.

    With -d it goes on in the background, also when the terminal is closed: the command returns once
    clients can connect, and says where its output goes and its web page is. `supervise wait` waits until all locations are
    ready, `supervise shutdown` ends it. Exit status 0 also when it runs already.
    """
    from supervisor.cli.run import run_workspace

    if not detach:
        return run_workspace(session, web, listen, face=face)
    from supervisor.runtime_dir import living
    from supervisor.state_place import own_state
    from supervisor.workspace_files import names, resolve

    places = tuple(names(session.selection, cwd=session.cwd, environ=os.environ))
    spec = resolve(session.selection, cwd=session.cwd, environ=os.environ)
    terminal = session.terminal
    running: Mapping[str, Any] | None = None
    with contextlib.suppress(NotRunningError):  # one is starting: ours will not, and waits for it
        running = living(places, spec.title, os.environ)
    if running is not None:
        return _told(terminal, spec.title, running["pid"], web)
    log = own_state(spec.directory, spec.key) / "output.log"
    try:
        spec.state_directory.mkdir(exist_ok=True)
        log.parent.mkdir(mode=0o700, exist_ok=True)  # as the supervisor makes it
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        terminal.error(
            f"{log} cannot be written: {reason}",
            "logs, environments and snapshots are kept beside the workspace file: make that directory writable",
        )
        return 2
    start = os.fstat(output).st_size
    child = os.fork()
    if child == 0:
        _detached(session, output, log, web, listen, face)
    os.close(output)
    deadline = time.monotonic() + timeout
    other = False  # another one was faster
    while True:
        ended, status = (0, 0) if other else os.waitpid(child, os.WNOHANG)
        starting = False
        try:
            running = living(places, spec.title, os.environ)
        except NotRunningError:
            starting = True
        except UnreachableError:
            pass
        other = other or bool(ended and (running or starting))
        if ended and not other:
            terminal.error(f"the supervisor of {spec.title} has ended", f"its output is in {log}")
            for line in _since(log, start)[-_TAIL:]:
                terminal.say(clean(line.rstrip()))
            return os.waitstatus_to_exitcode(status) or 1
        if running is not None:
            break
        if time.monotonic() > deadline:
            terminal.error(
                f"the supervisor of {spec.title} (pid {child}) does not serve after {timeout:g} s",
                f"it goes on starting; its output is in {log}",
            )
            return 1
        time.sleep(_LOOK_SECONDS)
    if running["pid"] != child:
        return _told(terminal, spec.title, running["pid"], web)
    terminal.print(f"{spec.title} is supervised by pid {running['pid']}; output in {log}")
    if web is not None:
        page = _page(log, start, min(deadline, time.monotonic() + _PAGE_SECONDS))
        if page is not None and not page.startswith(_PAGE):
            terminal.warn(
                f"there is no web page: {page.removeprefix('error: ')}",
                "`supervise web --port 0` serves it on a free port",
            )
        else:
            terminal.print(page or "the web page is starting; the output tells where it is")
    flags = "".join(f" -w {shlex.quote(str(one))}" for one in session.selection.files)
    terminal.say(
        f"next: `supervise wait{flags}`, `supervise status{flags}`, `supervise shutdown{flags}`"
    )
    return 0


def _told(terminal: Terminal, title: str, pid: int, web: Beside | None) -> int:
    terminal.print(f"{title} is supervised already, by pid {pid}")
    if web is not None:
        terminal.say("hint: `supervise web` serves its page")
    return 0


def _page(log: Path, start: int, deadline: float) -> str | None:
    """What the web page's process says first: where it is, or why it is not. None where it says nothing yet."""
    while True:
        for line in _since(log, start):
            if line.startswith(_OF_PAGE) and line.endswith("\n"):
                return line.rstrip()
        if time.monotonic() > deadline:
            return None
        time.sleep(_LOOK_SECONDS)


def _detached(session: Session, output: int, log: Path, *how: Any) -> None:
    """The child: a session of its own, no terminal, everything into the log. Does not return."""
    status = 1
    try:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, output), (2, output)):
            os.dup2(source, target)
        for descriptor in {nothing, output} - {0, 1, 2}:
            os.close(descriptor)
        from supervisor.cli.run import run_workspace

        # A terminal of its own: what ours is, this process's output is not.
        from supervisor.cli.terminal import Terminal

        terminal = Terminal(out=_Output(log))
        fresh = Session(terminal=terminal, selection=session.selection, cwd=session.cwd)
        web, listen, face = how
        try:
            status = run_workspace(fresh, web, listen, face=face)
        except ConfigurationError as error:
            fresh.terminal.problems(error)
            status = error.exit_status
        except SupervisorError as error:
            fresh.terminal.error(str(error), error.hint)
            status = error.exit_status
        except BaseException:
            import traceback

            traceback.print_exc()
    finally:
        os._exit(status)


def _since(log: Path, start: int) -> list[str]:
    """The lines, with their ends, that the log has from ``start``, or from its beginning when it was begun anew."""
    with contextlib.suppress(OSError), log.open("rb") as stream:
        stream.seek(start if os.fstat(stream.fileno()).st_size >= start else 0)
        return stream.read(100_000).decode("utf-8", "replace").splitlines(keepends=True)
    return []


class _Output(io.TextIOWrapper):
    """Standard output that is the file ``path``: begun anew when it has become large, the older text beside it.

    The file is emptied and not replaced, for other programs write to it, too.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            open(1, "wb", closefd=False),  # noqa: SIM115 - a descriptor, until the process ends
            encoding="utf-8",
            errors="replace",
            line_buffering=True,
        )
        self._path = path

    def write(self, text: str) -> int:
        if os.fstat(1).st_size > _MOST_OUTPUT:
            self.flush()
            with contextlib.suppress(OSError):  # a full disk: what is new counts more
                shutil.copyfile(self._path, self._path.with_name(f"{self._path.name}.1"))
            os.ftruncate(1, 0)
        return super().write(text)


for _one in up_.params:  # -d is what compose calls it; the directory is --working-directory here
    if _one.name == "working_directory":
        _one.opts = ["--working-directory"]
