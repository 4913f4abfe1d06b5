"""What is killed under Dagster's page comes back, and the page with it; nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import foreground
from dagster_page import ENDED
from supervised import alive, poll_now

from supervisor import procfs
from supervisor.runs.journal import Journal

from .eras import CURRENT, Environment
from .hosted import Hosted, descendants, hosted
from .test_dagster_page import HOST

pytestmark = [
    pytest.mark.real_dagster,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("dagster page"),
]


@pytest.fixture(scope="module")
def here(
    tmp_path_factory: pytest.TempPathFactory, dagster_environment: Environment
) -> Iterator[Hosted]:
    """One location of today's Dagster in a page."""
    runtime = tmp_path_factory.mktemp("run")
    runtime.chmod(0o700)
    pythons = {"team": dagster_environment(CURRENT)}
    host = dagster_environment(HOST)
    with hosted(tmp_path_factory.mktemp("kills"), runtime, host, pythons) as found:
        yield found
        family = descendants(found.supervisor.pid)
    poll_now(lambda: not any(map(alive, family)), "all that it started has ended")
    assert list(runtime.rglob("*.sock")) == []


def waiting(here: Hosted) -> str:
    """A run that waits."""
    return here.page.waiting(here.page.launch("team", "long"))


def cancelled(here: Hosted, run: str) -> bool:
    """It can be cancelled still."""
    assert here.page.run(run)["status"] == "STARTED"
    cancel(here, run)
    return here.page.ended(run)["status"] == "CANCELED"


def cancel(here: Hosted, run: str) -> None:
    """Have it cancelled, unless it has ended."""
    if here.page.run(run)["status"] not in ENDED:
        here.page.cancel(run)


def back(here: Hosted) -> None:
    """Wait until the page is, and what is behind it: a run is launched, and succeeds."""
    here.page.loaded("team")
    run = here.page.until("a run can be launched", lambda: here.page.launch("team", "quick"))
    here.page.succeeded(run)


def status(here: Hosted) -> dict[str, Any]:
    found: dict[str, Any] = here.supervisor.json("status")
    return found


def program(here: Hosted, name: str) -> int:
    """The process id of the webserver or the daemon."""
    programs = status(here)["supervisor"]["face"]["programs"]
    pid: int = next(one["pid"] for one in programs if one["name"] == name)
    return pid


def server(here: Hosted) -> int:
    """The process id of the location's server of Dagster's, once it serves."""

    def serving() -> int | None:
        servers = status(here)["locations"][0]["code_servers"]["servers"]
        return next((one["pid"] for one in servers if one["state"] == "serving"), None)

    pid: int = here.page.until("a server", serving)
    return pid


def monitor(here: Hosted, run: str) -> int:
    """The process id of a run's monitor, once it has one."""
    journal = Journal(here.directory / ".supervise" / "workspace.yaml" / "runs" / run)
    pid: int = here.page.until("a monitor", journal.monitor)
    return pid


def run_process(here: Hosted, run: str) -> int:
    """That of the run itself."""

    def child() -> int | None:
        pid = monitor(here, run)
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(found[0]) if found else None

    pid: int = here.page.until("its process", child)
    return pid


def forkserver(here: Hosted) -> int:
    """The one from which the location's next process would be forked."""

    def found() -> int | None:
        for pid in descendants(here.supervisor.pid):
            with contextlib.suppress(OSError):
                if b"forkserver " in procfs.read(f"/proc/{pid}/cmdline"):
                    return pid
        return None

    if found() is None:  # it is made for the next process
        here.page.reload("team")
    pid: int = here.page.until("a forkserver", found)
    return pid


def shim(here: Hosted) -> int:
    pid: int = status(here)["locations"][0]["process"]["pid"]
    return pid


VICTIMS: dict[str, Callable[[Hosted, str], int]] = {
    "run": run_process,
    "monitor": monitor,
    "forkserver": lambda here, run: forkserver(here),
    "shim": lambda here, run: shim(here),
    "server": lambda here, run: server(here),
    "webserver": lambda here, run: program(here, "webserver"),
    "daemon": lambda here, run: program(here, "daemon"),
}
# Those whose death the run does not outlive.
FATAL = ("run", "monitor")


@pytest.mark.parametrize("victim", VICTIMS)
def test_no_run_stays_as_it_was_and_the_page_is_back(here: Hosted, victim: str) -> None:
    page = here.page

    # While it runs: it goes on, or is reported as failed.
    run = waiting(here)
    pid = VICTIMS[victim](here, run)
    os.kill(pid, signal.SIGKILL)
    page.until("its end", lambda: not alive(pid))
    back(here)
    if victim in FATAL:
        assert page.ended(run)["status"] == "FAILURE"
    else:
        assert cancelled(here, run)

    # While it is started, and while it is cancelled: it ends.
    for cancelling in (False, True):
        run = page.launch("team", "long")
        page.ended(run, ("STARTING", "STARTED", *ENDED))
        if cancelling:
            page.waiting(run)
        pid = VICTIMS[victim](here, run)
        if cancelling:
            cancel(here, run)
        with contextlib.suppress(ProcessLookupError):  # it may have ended by then
            os.kill(pid, signal.SIGKILL)
        back(here)
        page.until("it ended, or it waits", partial(over_or_waiting, here, run))
        cancel(here, run)
        page.ended(run)


def over_or_waiting(here: Hosted, run: str) -> bool:
    found = here.page.run(run)
    return found["status"] in ENDED or (
        found["status"] == "STARTED" and "waiting" in str(found["eventConnection"])
    )


def test_a_supervisor_that_was_killed_leaves_the_run_alone_and_the_next_one_has_it(
    tmp_path: Path, dagster_environment: Environment
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    place = tmp_path / "place"
    host, pythons = dagster_environment(HOST), {"team": dagster_environment(CURRENT)}
    with hosted(place, runtime, host, pythons) as here:
        run = waiting(here)
        programs = [program(here, name) for name in ("webserver", "daemon")]
        others = [*programs, server(here)]
        here.supervisor.process.kill()
        poll_now(lambda: not any(map(alive, others)), "programs and server have ended")
        arguments = ("dagster", *here.arguments)
        with foreground(place, runtime, *arguments, **here.variables) as supervisor:
            supervisor.until(lambda line: line == f"dagster: {here.page.url}")
            supervisor.read_on()
            here.page.loaded("team")
            here.supervisor = supervisor
            assert cancelled(here, run)
            family = descendants(supervisor.pid)
        assert not any(map(alive, family))
        assert list(runtime.rglob("*.sock")) == []
