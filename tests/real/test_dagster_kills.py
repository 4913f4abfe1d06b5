"""What is killed under Dagster's page comes back, and the page with it; nothing is left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import foreground
from supervised import alive, poll_now

from supervisor import procfs

from .eras import CURRENT, Environment
from .hosted import Hosted, hosted
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


def waiting(here: Hosted) -> str:
    """A run that waits."""
    return here.page.waiting(here.page.launch("team", "long"))


def cancelled(here: Hosted, run: str) -> bool:
    """It can be cancelled still."""
    assert here.page.run(run)["status"] == "STARTED"
    here.page.cancel(run)
    return here.page.ended(run)["status"] == "CANCELED"


def status(here: Hosted) -> dict[str, Any]:
    found: dict[str, Any] = here.supervisor.json("status")
    return found


def program(here: Hosted, name: str) -> int:
    """The process id of the webserver or the daemon."""
    programs = status(here)["supervisor"]["face"]["programs"]
    pid: int = next(one["pid"] for one in programs if one["name"] == name)
    return pid


def descendants(root: int) -> list[int]:
    parents = {pid: procfs.parent(pid) for pid in procfs.pids() if alive(pid)}
    found = [root]
    for one in found:
        found += [pid for pid, parent in parents.items() if parent == one]
    return found[1:]


def server(here: Hosted) -> int:
    """The process id of the location's server of Dagster's, once it serves."""

    def serving() -> int | None:
        servers = status(here)["locations"][0]["code_servers"]["servers"]
        return next((one["pid"] for one in servers if one["state"] == "serving"), None)

    pid: int = here.page.until("a server", serving)
    return pid


def test_the_page_is_back_when_its_webserver_was_killed_and_the_run_goes_on(here: Hosted) -> None:
    run = waiting(here)
    os.kill(program(here, "webserver"), signal.SIGKILL)
    here.page.loaded("team")
    assert cancelled(here, run)


def test_the_daemon_is_back_when_it_was_killed(here: Hosted) -> None:
    before = program(here, "daemon")
    os.kill(before, signal.SIGKILL)
    here.page.until("another daemon", lambda: program(here, "daemon") not in (None, before))
    here.page.succeeded(here.page.launch("team", "quick"))  # it is the daemon that starts it


def test_the_page_never_misses_a_server_that_was_killed(here: Hosted) -> None:
    run = waiting(here)
    before = server(here)
    os.kill(before, signal.SIGKILL)
    here.page.until("another server", lambda: server(here) != before)
    here.page.loaded("team")
    here.page.succeeded(here.page.launch("team", "quick"))
    assert cancelled(here, run)


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
