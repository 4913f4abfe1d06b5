"""The unit of docs/systemd.md under a real ``systemd --user``: what happens to runs."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from launched import FOREVER, journals, one_op
from monitored import written
from places import ROOT
from supervised import DEADLINE, alive, environ, make_workspace, poll_now

from supervisor.client.client import Client

SYSTEMD = shutil.which("systemd", path="/lib/systemd:/usr/lib/systemd")
CGROUPS = [
    place for name in ("systemd", "unified") if (place := Path("/sys/fs/cgroup", name)).is_dir()
] or [Path("/sys/fs/cgroup")]


def _why_not() -> str:
    if SYSTEMD is None or shutil.which("systemctl") is None:
        return "systemd is not installed"
    if os.geteuid() != 0 or not all(os.access(one, os.W_OK) for one in CGROUPS):
        return "no cgroup can be made here"
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        return "no mount namespace can be made here"
    return ""


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(_why_not()), reason=_why_not())]

# A user's systemd wants to see that the machine runs systemd, and a cgroup of its own.
START = """
for group in "$@"; do mkdir "$group" && echo $$ > "$group/cgroup.procs" || exit 1; done
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system || exit 1
exec "$SYSTEMD" --user --unit=basic.target --log-target=console --log-level=info
"""


def unit(folder: Path) -> str:
    """The documented unit, for the workspace in ``folder``."""
    text = (ROOT / "docs" / "systemd.md").read_text()
    block = text.partition("```ini\n")[2].partition("```")[0]
    replaced = {
        "User": None,
        "LimitNOFILE": None,
        "RuntimeDirectory": None,
        "RuntimeDirectoryMode": None,
        "Environment": None,
        "After": None,
        "WorkingDirectory": str(folder),
        "ExecStart": f"{sys.executable} -m supervisor.cli -w workspace.yaml",
    }
    for name, value in replaced.items():
        line = "" if value is None else f"{name}={value}\n"
        block, count = re.subn(rf"(?m)^{name}=.*\n", line, block)
        assert count >= 1, name
    return block


class Unit:
    """The unit, in a systemd of its own."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.env = env

    def systemctl(self, *words: str) -> str:
        done = subprocess.run(
            ["systemctl", "--user", *words],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * DEADLINE,
        )
        assert done.returncode == 0, (words, done.stderr, (self.folder / "systemd.log").read_text())
        return done.stdout.strip()

    @property
    def main(self) -> int:
        """The process of the supervisor, 0 for none."""
        return int(self.systemctl("show", "-p", "MainPID", "--value", "supervise.service"))

    @property
    def active(self) -> bool:
        return (
            self.systemctl("show", "-p", "ActiveState", "--value", "supervise.service") == "active"
        )

    def another(self, than: int) -> None:
        """Wait until another supervisor can be asked."""
        poll_now(lambda: self.main not in (0, than) and self.active, "another supervisor")


def _remove(group: Path) -> None:
    for inner in [*group.rglob("*/"), group]:
        for pid in (inner / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    for inner in sorted([*group.rglob("*/"), group], reverse=True):
        poll_now(lambda inner=inner: not (inner / "cgroup.procs").read_text(), f"{inner} is empty")
        inner.rmdir()


@pytest.fixture
def service(tmp_path: Path, runtime: Path) -> Iterator[Unit]:
    make_workspace(tmp_path, {"team.py": one_op(FOREVER)})
    units, none = tmp_path / "units", tmp_path / "none"
    units.mkdir()
    none.mkdir()
    (units / "supervise.service").write_text(unit(tmp_path))
    (units / "basic.target").write_text("[Unit]\nDescription=Nothing else\n")
    runtime.chmod(0o700)
    assert SYSTEMD is not None
    env = environ(
        runtime,
        SYSTEMD=SYSTEMD,
        SYSTEMD_UNIT_PATH=str(units),
        SYSTEMD_GENERATOR_PATH=str(none),
        SYSTEMD_ENVIRONMENT_GENERATOR_PATH=str(none),
    )
    env.pop("DBUS_SESSION_BUS_ADDRESS", None)
    groups = [place / f"ws-test-{os.getpid()}-{tmp_path.name}" for place in CGROUPS]
    with (tmp_path / "systemd.log").open("w") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", START, "sh", *map(str, groups)],
            env=env,
            stdout=log,
            stderr=log,
        )
    one = Unit(tmp_path, env)
    try:
        poll_now(lambda: (runtime / "systemd" / "private").exists(), "systemd")
        one.systemctl("start", "supervise.service")
        yield one
    finally:
        process.kill()
        process.wait()
        for group in groups:
            _remove(group)


def test_runs_outlive_all_but_a_stop(service, tmp_path, runtime, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))

    def client() -> Client:
        return Client(tmp_path / "workspace.yaml", timeout=DEADLINE)

    with client() as asking:
        asking.wait(timeout=DEADLINE)
        run = asking.launch("team", "nightly")
        journal = journals(tmp_path)[run.id]
        poll_now(lambda: "running" in written(journal), "the run")
        monitor = journal.monitor()

    killed = service.main
    os.kill(killed, signal.SIGKILL)
    service.another(killed)
    with client() as asking:
        run = asking.run(run.id)
        assert (run.state, run.row["adopted"], run.row["monitor"]) == ("running", True, monitor)
        upgraded = service.main
        asking.shutdown(leave_runs=True)
    service.another(upgraded)
    with client() as asking:
        assert asking.run(run.id).state == "running"
        assert alive(monitor)

    service.systemctl("stop", "supervise.service")
    final = journal.final()
    assert final is not None
    assert final["state"] == "cancelled"
    assert "cleaned up" in written(journal)
    poll_now(lambda: not alive(monitor), "its monitor's end")
    result = service.systemctl("show", "-p", "Result", "--value", "supervise.service")
    assert result == "success"
