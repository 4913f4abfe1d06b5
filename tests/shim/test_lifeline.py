"""The lifeline: what dies when the write end closes, whatever it is doing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from loading import every_interpreter
from supervised import alive, child_process, poll_now

from runner_shim import lifeline

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="F_SETSIG is Linux's")

SCRIPT = Path(lifeline.__file__)


@contextlib.contextmanager
def tied(code: str, *, python: str = sys.executable):
    """A process in a session of its own that runs ``code`` behind a lifeline: it and the write end."""
    read, write = os.pipe()
    with (
        open(read, "rb", 0) as theirs,
        open(write, "wb", 0) as ours,
        child_process(
            [python, "-I", "-S", str(SCRIPT), str(read), python, "-c", code],
            pass_fds=(read,),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process,
    ):
        theirs.close()
        try:
            yield process, ours
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(process, word: bytes = b"here\n") -> None:
    assert process.stdout.readline() == word


@pytest.mark.parametrize("python", every_interpreter())
def test_it_kills_in_every_python(python):
    with tied("print('here', flush=True)\nwhile True: pass", python=python) as (process, write):
        wait_for(process)
        write.close()
        assert process.wait(30) == -signal.SIGKILL


@pytest.mark.parametrize(
    "code",
    [
        "import time; print('here', flush=True); time.sleep(1000)",
        "import itertools; print('here', flush=True); sum(itertools.repeat(1))",
        "import signal, time\n"
        "for one in range(1, 65):\n"
        "    if one not in (9, 19, 32, 33): signal.signal(one, signal.SIG_IGN)\n"
        "print('here', flush=True); time.sleep(1000)",
        "import os, signal; print('here', flush=True); os.kill(os.getpid(), signal.SIGSTOP)",
    ],
    ids=["sleeps", "spins in C", "ignores signals", "is stopped"],
)
def test_it_kills_whatever_the_process_is_doing(code):
    with tied(code) as (process, write):
        wait_for(process)
        assert process.poll() is None
        write.close()
        assert process.wait(30) == -signal.SIGKILL


def test_it_kills_the_whole_group():
    code = "import os, time\npid = os.fork()\nprint(pid, flush=True) if pid else None\ntime.sleep(1000)"
    with tied(code) as (process, write):
        child = int(process.stdout.readline())
        assert alive(child)
        write.close()
        assert process.wait(30) == -signal.SIGKILL
        poll_now(lambda: not alive(child), "the child is gone")


def test_it_works_when_the_holder_is_killed():
    with child_process(
        [
            sys.executable,
            "-c",
            "import os, subprocess, sys, time\n"
            "read, write = os.pipe()\n"
            "one = subprocess.Popen([sys.executable, '-I', '-S', sys.argv[1], str(read),\n"
            "    sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(1000)'],\n"
            "    pass_fds=(read,), start_new_session=True, stdout=subprocess.PIPE)\n"
            "one.stdout.readline()\n"
            "print(one.pid, flush=True)\ntime.sleep(1000)",
            str(SCRIPT),
        ],
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        assert alive(child)
    poll_now(lambda: not alive(child), "it is gone")


def test_one_that_is_broken_before_it_is_armed_ends_the_process():
    read, write = os.pipe()
    os.close(write)
    with child_process(
        [sys.executable, "-I", "-S", str(SCRIPT), str(read), "/bin/sleep", "1000"],
        pass_fds=(read,),
        start_new_session=True,
    ) as process:
        os.close(read)
        assert process.wait(30) == 1


def test_is_broken_tells():
    read, write = os.pipe()
    assert not lifeline.is_broken(read)
    os.write(write, b"x")
    assert not lifeline.is_broken(read)
    os.close(write)
    assert lifeline.is_broken(read)
    os.close(read)


def test_a_command_that_is_not_there_is_named():
    read, write = os.pipe()
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), str(read), "/no/such/program"],
        pass_fds=(read,),
        start_new_session=True,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(read)
    os.close(write)
    assert done.returncode == 127
    assert done.stderr == "cannot run /no/such/program: No such file or directory\n"
