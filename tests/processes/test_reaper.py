"""The reaper: told of sessions, and what it does when its supervisor is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from supervised import alive, poll, poll_now

from supervisor.processes.reaper import Reaper

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

# A process that leads a session and has a child in a group of its own.
LEADER = textwrap.dedent(
    """\
    import os, time
    if os.fork() == 0:
        os.setpgid(0, 0)
        print(os.getpid(), flush=True)
    time.sleep(1000)
    """
)


class Session:
    """A leader and a child of it that has left its group."""

    def __init__(self) -> None:
        self.leader = subprocess.Popen(
            [sys.executable, "-c", LEADER],
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        assert self.leader.stdout is not None
        self.child = int(self.leader.stdout.readline())

    @property
    def alive(self) -> list[bool]:
        return [alive(self.leader.pid), alive(self.child)]

    def end(self) -> None:
        for pid in (self.leader.pid, self.child):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.leader.wait()
        assert self.leader.stdout is not None
        self.leader.stdout.close()


@pytest.fixture
def sessions():
    made = [Session(), Session()]
    yield made
    for one in made:
        one.end()


def test_what_is_left_of_its_sessions_goes_when_the_pipe_closes(sessions):
    watched, other = sessions
    reaper = Reaper()
    reaper.add(watched.leader.pid)
    reaper.add(other.leader.pid)
    reaper.discard(other.leader.pid)
    reaper.close()
    assert not alive(watched.child), "close waits for it"
    watched.leader.wait()
    assert other.alive == [True, True]


def test_it_goes_on_where_those_that_were_killed_left_off(sessions):
    first, second = sessions
    reaper = Reaper()
    reaper.add(first.leader.pid)
    for pid in reaper.pids:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    reaper.add(second.leader.pid)
    reaper.close()
    poll_now(lambda: not any(first.alive + second.alive), "both are gone")


def test_one_of_two_will_do(sessions):
    first, second = sessions
    reaper = Reaper()
    reaper.add(first.leader.pid)
    reaper.add(second.leader.pid)
    os.kill(reaper.pids[0], signal.SIGKILL)
    reaper.close()
    poll_now(lambda: not any(first.alive + second.alive), "both are gone")


async def test_one_that_is_killed_is_replaced_without_being_needed():
    reaper = Reaper()
    reaper.add(2**22)
    before = set(reaper.pids)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await poll(lambda: len(set(reaper.pids) - before) == 2, "others are started")
    reaper.discard(2**22)
    reaper.close()
    assert reaper.pids == []


def test_it_ignores_what_a_terminal_sends():
    reaper = Reaper()
    reaper.add(2**22)

    def armed() -> bool:
        status = Path(f"/proc/{reaper.pids[0]}/status").read_text()
        ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
        return bool(ignored >> (signal.SIGQUIT - 1) & 1)

    poll_now(armed, "it runs")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(reaper.pids[0], number)
    reaper.discard(2**22)
    process = psutil.Process(reaper.pids[0])
    assert process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    reaper.close()
    assert not process.is_running()


def test_one_that_was_never_told_anything_is_never_started():
    reaper = Reaper()
    reaper.close()
    assert reaper.pids == []
