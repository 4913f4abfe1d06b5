"""``supervise dagster`` with stand-ins for Dagster's programs (tests/programs/dagster_stub)."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Foreground, foreground
from places import PROGRAMS, ROOT
from supervised import alive, make_workspace, poll_now, save, supervising

from supervisor import procfs
from supervisor.dagster.face import Face
from supervisor.dagster.host import HostOptions

NATIVE = "from runner_shim import job\n\n@job\ndef nightly():\n    pass\n"
EMPTY = "import sys\n"


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtualenv with the stand-ins."""
    prefix = tmp_path_factory.mktemp("stub") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
    site = next(prefix.glob("lib/python*/site-packages"))
    (site / "dagster-1.0.0.dist-info").mkdir()
    (site / "stub.pth").write_text(f"{PROGRAMS / 'dagster_stub'}\n")
    return prefix


@pytest.fixture
def port() -> int:
    """One that is free."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        found: int = one.getsockname()[1]
        return found


Start = Callable[..., Foreground]


@pytest.fixture
def start(tmp_path: Path, runtime: Path, stub: Path, port: int) -> Iterator[Start]:
    """Starts ``supervise dagster`` on the workspace in ``tmp_path``."""
    running: list[Any] = []

    def started(*arguments: str, **extra: str) -> Foreground:
        one = foreground(
            tmp_path, runtime, "dagster", "--port", str(port), "--dagster-environment", str(stub),
            *arguments, **{"DAGSTER_HOME": "", **extra},
        )  # fmt: skip
        running.append(one)
        return one.__enter__()

    yield started
    for one in running:
        one.__exit__(None, None, None)


def about(port: int) -> dict[str, Any]:
    """What the stand-in says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/about", timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def usable(supervisor: Foreground) -> str:
    return supervisor.until(lambda line: line.startswith("dagster: http://"))


def face(supervisor: Foreground) -> dict[str, Any]:
    found: dict[str, Any] = supervisor.json("status")["supervisor"]["face"]
    return found


def pids(supervisor: Foreground) -> dict[str, int]:
    return {one["name"]: one["pid"] for one in face(supervisor)["programs"]}


def test_a_location_without_a_server_yet_is_no_warning(tmp_path: Path) -> None:
    there, away = tmp_path / "there.sock", tmp_path / "away.sock"
    there.touch()
    hosted = ROOT / "supervisor" / "dagster" / "hosted.py"
    done = subprocess.run(
        [sys.executable, hosted, "loads_locations", there, away],
        env={**os.environ, "PYTHONPATH": str(PROGRAMS / "dagster_stub")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = re.findall("UserWarning: Error loading repository location (.*)", done.stderr)
    assert told == [str(there), "None"], done.stderr


def test_the_page_is_told_of_when_it_is_usable(tmp_path: Path, start: Start, port: int) -> None:
    make_workspace(tmp_path, {"risk.py": EMPTY})
    (tmp_path / ".env").write_text("FROM_DOTENV=yes\n")
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    supervisor = start()
    assert usable(supervisor) == f"dagster: http://127.0.0.1:{port}"
    home = tmp_path / ".supervise" / "workspace.yaml" / "dagster-home"
    assert supervisor.seen[0] == f"dagster: the instance is {home} (this workspace's own)"
    assert (home / "dagster.yaml").resolve() == tmp_path / "dagster.yaml"
    told = about(port)
    assert told["home"] == str(home)
    assert told["directory"] == str(tmp_path)
    assert told["environ"]["FROM_DOTENV"] == "yes"
    assert told["environ"]["DAGSTER_IS_DEV_CLI"] == "1"
    assert 'location_name: "risk"' in told["workspace"]
    assert re.search(r'socket: "/.*\.sock"', told["workspace"])
    said = supervisor.run("status").stdout
    assert f"dagster: http://127.0.0.1:{port} (webserver running, daemon running)" in said
    document = face(supervisor)
    assert document["usable"]
    assert document["url"] == f"http://127.0.0.1:{port}"
    assert {one["state"] for one in document["programs"]} == {"running"}


@pytest.mark.slow
def test_an_instance_that_is_named_is_used_and_said(
    tmp_path: Path, start: Start, port: int
) -> None:
    make_workspace(tmp_path, {"risk.py": EMPTY})
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    supervisor = start(DAGSTER_HOME=str(tmp_path / "theirs"))
    usable(supervisor)
    assert f"dagster: the instance is {tmp_path / 'theirs'} (DAGSTER_HOME)" in supervisor.seen
    assert any("dagster.yaml is not used" in line for line in supervisor.seen)
    assert about(port)["home"] == str(tmp_path / "theirs")
    supervisor.end()
    supervisor = start("--home", "other", DAGSTER_HOME=str(tmp_path / "theirs"))
    usable(supervisor)
    assert about(port)["home"] == str(tmp_path / "other")


def test_a_location_that_comes_or_goes_is_in_the_page_by_itself(
    tmp_path: Path, start: Start, port: int
) -> None:
    make_workspace(tmp_path, {"risk.py": EMPTY})
    supervisor = start()
    usable(supervisor)
    before = about(port)["pid"]
    make_workspace(tmp_path, {"risk.py": EMPTY, "ml.py": EMPTY})
    poll_now(lambda: '"ml"' in about(port)["workspace"], "ml is in the page")
    make_workspace(tmp_path, {"ml.py": EMPTY})
    poll_now(lambda: '"risk"' not in about(port)["workspace"], "risk has left the page")
    assert about(port)["pid"] == before


def test_what_is_known_to_define_nothing_of_dagster_is_not_in_the_page(
    tmp_path: Path, start: Start, port: int
) -> None:
    make_workspace(tmp_path, {"native.py": NATIVE, "risk.py": EMPTY})
    supervisor = start()
    usable(supervisor)
    poll_now(lambda: '"native"' not in about(port)["workspace"], "native has left the page")
    assert '"risk"' in about(port)["workspace"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["webserver", "daemon"])
def test_a_program_that_is_killed_comes_back(
    tmp_path: Path, start: Start, port: int, name: str
) -> None:
    make_workspace(tmp_path, {"risk.py": EMPTY})
    supervisor = start()
    usable(supervisor)
    before = pids(supervisor)
    os.kill(before[name], signal.SIGKILL)
    poll_now(lambda: pids(supervisor)[name] not in (None, before[name]), "another one")
    other = "daemon" if name == "webserver" else "webserver"
    assert pids(supervisor)[other] == before[other]
    if name == "webserver":
        usable(supervisor)
    poll_now(lambda: not face(supervisor)["programs"][0]["trouble"], "all is well")


@pytest.mark.slow
def test_a_program_that_cannot_start_is_a_condition_and_comes_once_it_can(
    tmp_path: Path, start: Start
) -> None:
    make_workspace(tmp_path, {"risk.py": NATIVE})
    instance = tmp_path / "dagster.yaml"
    instance.write_text("broken")
    supervisor = start()
    line = supervisor.until(lambda line: "dagster's webserver ended" in line)
    assert "DagsterInvalidConfigError: Errors whilst loading dagster.yaml" in line
    assert supervisor.run("wait", "risk").returncode == 0
    save(instance, "{}")
    usable(supervisor)
    poll_now(
        lambda: not supervisor.json("status")["supervisor"]["conditions"],
        "the condition is cleared",
    )


@pytest.mark.slow
def test_a_port_that_is_taken_is_said_and_waited_for(
    tmp_path: Path, start: Start, port: int
) -> None:
    make_workspace(tmp_path, {"risk.py": NATIVE})
    with socket.create_server(("127.0.0.1", port)):
        supervisor = start()
        supervisor.until(lambda line: f"port {port} of 127.0.0.1 is taken" in line)
        assert supervisor.run("wait", "risk").returncode == 0
    usable(supervisor)


@pytest.mark.slow
def test_an_instance_that_cannot_be_used_is_said_and_waited_for(
    tmp_path: Path, start: Start
) -> None:
    make_workspace(tmp_path, {"risk.py": NATIVE})
    (tmp_path / "home").write_text("a file\n")
    supervisor = start("--home", "home/below")
    supervisor.until(lambda line: "cannot be used: not a directory" in line)
    assert supervisor.run("wait", "risk").returncode == 0
    (tmp_path / "home").unlink()
    usable(supervisor)


def test_an_environment_that_cannot_be_used_is_said(
    tmp_path: Path, runtime: Path, port: int
) -> None:
    make_workspace(tmp_path, {"risk.py": NATIVE})
    (tmp_path / "empty").mkdir()
    arguments = ("dagster", "--port", str(port), "--dagster-environment", "empty")
    with foreground(tmp_path, runtime, *arguments, DAGSTER_HOME="") as supervisor:
        supervisor.until(lambda line: "wait for their environment" in line)
        assert supervisor.run("wait", "risk").returncode == 0


@pytest.mark.slow
def test_an_environment_without_the_programs_is_said(
    tmp_path: Path, runtime: Path, port: int
) -> None:
    make_workspace(tmp_path, {"risk.py": NATIVE})
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    arguments = ("dagster", "--port", str(port), "--dagster-environment", "bare")
    with foreground(tmp_path, runtime, *arguments, DAGSTER_HOME="") as supervisor:
        line = supervisor.until(lambda line: "dagster's webserver ended" in line)
        assert f"dagster is not installed in {tmp_path / 'bare'}: install it there" in line
        assert supervisor.run("wait", "risk").returncode == 0


@pytest.mark.slow
def test_an_environment_of_the_workspace_file_is_used(
    tmp_path: Path, runtime: Path, stub: Path, port: int
) -> None:
    environments = {"dagster-webserver": {"executable_path": str(stub)}}
    make_workspace(tmp_path, {"risk.py": EMPTY}, environments=environments)
    with foreground(tmp_path, runtime, "dagster", "--port", str(port), DAGSTER_HOME="") as one:
        usable(one)
        assert about(port)["environ"]["VIRTUAL_ENV"] == str(stub)


@pytest.mark.slow
def test_all_ends_in_order(tmp_path: Path, start: Start) -> None:
    make_workspace(tmp_path, {"risk.py": NATIVE})
    supervisor = start()
    supervisor.until(lambda line: line == "daemon | the daemon runs")
    supervisor.run("wait", "risk")
    programs = pids(supervisor)
    supervisor.process.send_signal(signal.SIGINT)
    rest = supervisor.rest()
    stopped = [line for line in rest if line.startswith("risk: stop")]
    expected = ["daemon | the daemon ends", *stopped, "supervise: everything has stopped"]
    assert [line for line in rest if line in expected] == expected
    assert supervisor.process.wait() == 0
    assert not any(alive(pid) for pid in programs.values())


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path, start: Start) -> None:
    make_workspace(tmp_path, {"risk.py": NATIVE})
    supervisor = start("--dagster-listen", "1")
    usable(supervisor)
    programs = [pid for pid in procfs.pids() if procfs.parent(pid) == supervisor.pid]
    assert len(programs) > 4
    supervisor.process.kill()
    poll_now(lambda: not any(alive(pid) for pid in programs), "nothing is left")


async def test_a_location_that_is_newer_than_the_page_is_told_of(
    tmp_path: Path, runtime: Path, stub: Path, port: int
) -> None:
    workspace = make_workspace(tmp_path, {"risk.py": EMPTY})
    face = Face(HostOptions(port=port, environment=stub))
    environ = {"DAGSTER_HOME": ""}
    async with supervising(workspace, runtime, env=environ, face=face) as supervised:
        host = face.host
        assert host is not None
        await supervised.until(lambda: host.usable, "the page is usable")
        conditions = supervised.daemon.fleet.conditions
        for teams, told in (
            ({"risk": "1.0.1", "ml": "1.10.0rc1", "old": "0.15.8"}, "risk has 1.0.1, and 1 more"),
            ({"ml": "1.0.1"}, "are 1.0.0, and ml has 1.0.1: they"),
        ):
            host.compare(teams)
            assert any(told in one.message for one in conditions)
        host.compare({"risk": "1.0.0", "old": "0.15.8", "odd": "unknown"})
        assert list(conditions) == []


@pytest.mark.slow
async def test_a_page_that_hangs_is_replaced(
    tmp_path: Path, runtime: Path, stub: Path, port: int
) -> None:
    workspace = make_workspace(tmp_path, {"risk.py": EMPTY})
    face = Face(HostOptions(port=port, environment=stub, patience=2.0))
    environ = {"DAGSTER_HOME": ""}
    async with supervising(workspace, runtime, env=environ, face=face) as supervised:
        host = face.host
        assert host is not None
        await supervised.until(lambda: host.usable, "the page is usable")
        webserver = host.tools[0].process
        assert webserver is not None
        webserver.send(signal.SIGSTOP)
        await supervised.until(lambda: not host.usable, "it is noticed")
        assert "did not answer" in host.tools[0].trouble
        await supervised.until(lambda: host.usable, "the page is usable again")
        assert host.tools[0].process is not webserver
