"""``supervise --web``: the page beside the supervisor, its death, and that of the supervisor."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from commands import foreground, supervise
from supervised import alive, job, make_workspace, marked, poll_now

from .site import Site


def page_of(marker: str) -> int:
    """The process of the page."""
    found = []
    for pid in marked(marker):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if b"supervisor.cli\0web" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    assert len(found) == 1
    return found[0]


def answers(url: str) -> int:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 0, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/healthz")
        return connection.getresponse().status


@pytest.mark.slow
def test_its_death_does_not_matter_to_the_supervisor(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"one.py": job("first")})
    marker = str(tmp_path)
    with foreground(tmp_path, runtime, "--web-port", "0", WS_TEST_MARKER=marker) as running:
        url = running.until(lambda line: line.startswith("supervise web: http")).split()[-1]
        assert answers(url) == 200
        os.kill(page_of(marker), signal.SIGKILL)
        running.until(lambda line: "the web page ended" in line and "goes on" in line)
        assert running.run("wait").returncode == 0
    assert running.process.returncode == 0


@pytest.mark.slow
def test_it_ends_with_the_supervisor(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"one.py": job("first")})
    marker = str(tmp_path)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with foreground(tmp_path, runtime, "--web-port", "0", WS_TEST_MARKER=marker) as running:
            running.until(lambda line: line.startswith("supervise web: http"))
            page = page_of(marker)
            running.process.send_signal(number)
            running.process.wait(60)
            poll_now(lambda pid=page: not alive(pid), "the page has ended")
            poll_now(lambda: not marked(marker), "everything has ended")


@pytest.mark.slow
def test_a_port_in_use_is_told_and_the_supervisor_goes_on(tmp_path: Path, runtime: Path) -> None:
    import socket

    make_workspace(tmp_path, {"one.py": job("first")})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with foreground(tmp_path, runtime, "--web-port", port) as running:
            running.until(lambda line: f"port {port} of 127.0.0.1 is in use" in line)
            assert running.run("wait").returncode == 0


def test_a_second_page_at_its_port_says_that_it_is_there(quiet: Site) -> None:
    port = str(quiet.page.port)
    done = supervise("web", "--port", port, cwd=quiet.folder, runtime=quiet.runtime)
    assert done.returncode != 0
    assert f"workspace.yaml is at http://127.0.0.1:{port}/ already" in done.stderr
