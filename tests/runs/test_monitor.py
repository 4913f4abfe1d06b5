"""A run and its monitor, without any supervisor: exactly one end, and nothing left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from monitored import (
    FOREVER,
    HEAD,
    ended,
    gone,
    kinds,
    loaded,
    one_op,
    output_size,
    started,
    written,
)
from supervised import poll_now

from supervisor.runs.recording import OUTPUT_PART


def test_a_run_tells_what_it_did_and_how_it_ended(tmp_path):
    module = one_op("print('hello'); print('to err', file=sys.stderr)")
    with loaded(tmp_path, module) as team:
        journal = team.launch()
        final = ended(journal)
        assert (final["state"], final["reason"], final["status"]) == ("success", "", 0)
        assert kinds(journal) == [
            "RUN_START",
            "STEP_START work",
            "STEP_OUTPUT work",
            "STEP_SUCCESS work",
            "RUN_SUCCESS",
        ]
        assert (written(journal), written(journal, "err")) == ("hello\n", "to err\n")
        names = {path.name for path in journal.path.iterdir()}
        assert names == {
            "begun", "err.0", "events", "final", "monitor.lock", "order", "out.0", "steps", "trouble",
        }  # fmt: skip
        assert journal.trouble() == ""


def test_a_failure_has_the_step_and_the_users_frames(tmp_path):
    with loaded(tmp_path, one_op("raise ValueError('no such table')")) as team:
        journal = team.launch()
        final = ended(journal)
        assert (final["state"], final["step"], final["status"]) == ("failure", "work", 1)
        times = [one["time"] for one in journal.events()[0]]
        assert final["began"] <= times[0] <= times[-1] <= final["ended"]  # one clock
        assert "no such table" in final["reason"]
        assert [one["function"] for one in final["failure"]["frames"]] == ["work"]


@pytest.mark.parametrize(
    ("body", "reason", "status", "number"),
    [
        ("os._exit(3)", "its process exited with status 3 in step 'work'", 3, None),
        (
            "os.kill(os.getpid(), signal.SIGSEGV)",
            "its process was killed by SIGSEGV in step 'work'",
            None,
            signal.SIGSEGV,
        ),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "its process was killed by SIGKILL in step 'work'",
            None,
            signal.SIGKILL,
        ),
        ("os.kill(os.getppid(), signal.SIGTERM)", "", 0, None),
    ],
    ids=["exit", "crash", "kill", "a signal to its monitor"],
)
def test_a_run_without_a_word_has_its_reason(tmp_path, body, reason, status, number):
    with loaded(tmp_path, one_op(body)) as team:
        journal = team.launch()
        final = ended(journal)
        assert final["state"] == ("failure" if reason else "success")
        assert (final["reason"], final["status"], final["signal"]) == (reason, status, number)
        assert kinds(journal)[-1] == ("RUN_FAILURE" if reason else "RUN_SUCCESS")


@pytest.mark.parametrize("code", [3, 0, "no table"])
def test_a_program_that_ends_itself_is_told_with_its_status(tmp_path, code):
    with loaded(tmp_path, one_op(f"sys.exit({code!r})")) as team:
        final = ended(team.launch())
        assert (final["state"], final["step"]) == ("failure", "work")
        assert final["reason"] == f"sys.exit({code}) was called"
        assert final["failure"]["exception"]["code"] == code


def test_a_run_goes_on_when_what_it_was_forked_from_is_killed(tmp_path):
    body = "print('running', flush=True)\nwhile not os.path.exists('go'):\n    time.sleep(0.01)"
    with loaded(tmp_path, one_op(body)) as team:
        journal = team.launch()
        started(journal)
        team.kill()
        (tmp_path / "go").touch()
        assert ended(journal)["state"] == "success"
        assert kinds(journal)[0] == "RUN_START"
        assert kinds(journal)[-1] == "RUN_SUCCESS"
        assert team.survivors() == []


def test_a_monitor_is_small_and_has_nothing_of_the_team(tmp_path):
    head = """
        import fcntl
        BIG = [str(number) for number in range(500000)]
        held = open("lock", "w")
        fcntl.flock(held, fcntl.LOCK_EX)
        """
    body = "touched = [one + '' for one in BIG]\nprint('running', flush=True)\ntime.sleep(1000)"
    with loaded(tmp_path, one_op(body, head)) as team:
        journal = team.launch()
        pid, run = started(journal)
        team.kill()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        private = sum(int(line.split()[1]) for line in rollup if line.startswith("Private"))
        assert private < 6 * 1024, "KiB"
        assert os.listdir(f"/proc/{pid}/task") == [str(pid)]
        opened = [os.readlink(f"/proc/{pid}/fd/{one}") for one in os.listdir(f"/proc/{pid}/fd")]
        assert not [one for one in opened if one.startswith(str(tmp_path / "lock"))]
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert os.getsid(pid) == pid
        assert os.getsid(run) == run
        journal.ask("the test", "now")
        assert ended(journal)["state"] == "cancelled"


def test_a_cancelled_run_is_asked_first(tmp_path):
    with loaded(tmp_path, one_op(FOREVER)) as team:
        journal = team.launch()
        pid, run = started(journal)
        journal.ask("the test", "ask")
        os.kill(pid, signal.SIGTERM)
        final = ended(journal)
        assert (final["state"], final["reason"]) == ("cancelled", "cancelled by the test")
        assert "cleaned up" in written(journal)
        assert "RUN_CANCELING" in kinds(journal)
        assert kinds(journal)[-1] == "RUN_CANCELED"
        gone(pid, run)


def test_it_looks_by_itself_for_what_is_asked_of_it(tmp_path):
    with loaded(tmp_path, one_op(FOREVER)) as team:
        journal = team.launch()
        started(journal)
        journal.ask("the test", "ask")
        assert ended(journal)["state"] == "cancelled"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ask", "now"])
def test_what_does_not_heed_is_killed(tmp_path, how):
    body = """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        print("running", flush=True)
        while True:
            time.sleep(1000)
        """
    with loaded(tmp_path, one_op(body)) as team:
        journal = team.launch(grace=0.2 if how == "ask" else 1000.0)
        started(journal)
        journal.ask("the test", how)
        final = ended(journal)
        assert (final["state"], final["signal"]) == ("cancelled", signal.SIGKILL)


def test_a_run_that_takes_too_long_says_where_it_was(tmp_path):
    head = "import faulthandler\nfaulthandler.register(62, file=2)\n"
    with loaded(tmp_path, one_op(FOREVER, head)) as team:
        journal = team.launch(timeout=0.5)
        final = ended(journal)
        assert final["state"] == "timed_out"
        assert final["reason"] == "it took longer than 0.5 s in step 'work'"
        assert "in work" in written(journal, "err")
        assert "cleaned up" in written(journal)


@pytest.mark.slow
def test_a_run_that_has_succeeded_and_does_not_exit_is_ended_long_before_its_time_limit(tmp_path):
    head = "import atexit\natexit.register(lambda: time.sleep(3600))\n"
    with loaded(tmp_path, one_op("pass", head)) as team:
        journal = team.launch(timeout=3600.0, grace=0.2)
        poll_now(journal.final, "a final record", timeout=120)
        assert ended(journal)["state"] == "success"


def test_nothing_that_a_run_has_started_outlives_it(tmp_path):
    body = """
        def child(*command):
            one = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            print(one.pid, flush=True)
        child("sleep", "1000")
        child("setsid", "sleep", "1001")
        child("env", "-i", "setsid", "sleep", "1002")
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            print(os.getpid(), flush=True)
            open("daemon", "w").close()
            time.sleep(1000)
        while not os.path.exists("daemon"):
            time.sleep(0.01)
        """
    with loaded(tmp_path, one_op(body)) as team:
        journal = team.launch()
        assert ended(journal)["state"] == "success"
        pids = [int(one) for one in written(journal).split()]
        assert len(pids) == 4
        gone(*pids)


def test_a_run_dies_with_its_monitor(tmp_path):
    with loaded(tmp_path, one_op(FOREVER)) as team:
        journal = team.launch()
        pid, run = started(journal)
        os.kill(pid, signal.SIGKILL)
        gone(pid, run)
        assert journal.final() is None
        assert journal.begun() is not None
        assert journal.monitor() == 0


HOSTILE = """
    import builtins, fcntl, gc, select, threading
    def refuse(*_, **__):
        raise RuntimeError("replaced")
    def hook(word):
        with kept("hooks", "a") as file:
            file.write("%s %d\\n" % (word, os.getpid()))
    kept = open
    for name in ("before", "after_in_parent", "after_in_child"):
        os.register_at_fork(**{name: lambda name=name: hook(name)})
    signal.signal(signal.SIGTERM, lambda *_: hook("SIGTERM"))
    signal.signal(signal.SIGCHLD, lambda *_: hook("SIGCHLD"))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    gc.callbacks.append(lambda *_: refuse())
    real = os.fork, os.waitpid, time.sleep, builtins.open
    os.fork = os.waitpid = os.execve = os._exit = os.setsid = os.pipe = os.close = refuse
    fcntl.lockf = fcntl.fcntl = refuse
    del select.poll
    time.sleep = lambda seconds: None
    builtins.open = refuse
    """


def test_what_a_team_replaces_changes_nothing_of_its_monitor(tmp_path):
    body = """
        os.fork, os.waitpid, time.sleep, builtins.open = real
        print("running", flush=True)
        threading.Event().wait(1000)
        """
    with loaded(tmp_path, one_op(body, HOSTILE)) as team:
        journal = team.launch()
        pid, run = started(journal)
        hooks = (tmp_path / "hooks").read_text().split()
        assert str(pid) not in hooks
        assert "before" not in hooks
        assert hooks[hooks.index("after_in_child") + 1] == str(run)
        journal.ask("the test", "now")
        assert ended(journal)["state"] == "cancelled"


def test_output_without_end_is_bounded(tmp_path):
    body = f"""
        for number in range(26):
            sys.stdout.write(str(number % 10) * {1024 * 1024})
        print("the end")
        """
    with loaded(tmp_path, one_op(body)) as team:
        journal = team.launch()
        assert ended(journal)["state"] == "success"
        parts = sorted(path for path in journal.path.iterdir() if path.name.startswith("out."))
        assert len(parts) == 2
        assert sum(path.stat().st_size for path in parts) < 2 * OUTPUT_PART + 2**16
        assert output_size(journal, "out") == 26 * 1024 * 1024 + 8
        data, behind = journal.output("out", 0)
        assert behind - len(data) > 2**23
        assert journal.output("out", behind - 1)[0][:1] == data[-1:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "garbage",
    ["b'x' * 100", "bytes(100)", "b'\\x40\\0\\0\\0' * 3000", "os.urandom(2_000_000)"],
    ids=["text", "zeros", "beginnings", "noise"],
)
def test_what_is_no_event_ends_neither_monitor_nor_run(tmp_path, garbage):
    body = f"""
        for name in os.listdir("/proc/self/fd"):
            try:
                if int(name) > 2 and os.readlink("/proc/self/fd/" + name).startswith("pipe"):
                    garbage = {garbage}
                    while garbage:
                        garbage = garbage[os.write(int(name), garbage) :]
            except OSError:
                pass
        """
    with loaded(tmp_path, one_op(body)) as team:
        journal = team.launch()
        final = ended(journal)
        assert final["state"] == "success", final
        assert kinds(journal).count("ENGINE_EVENT") == 1
        assert kinds(journal)[-2:] == ["STEP_SUCCESS work", "RUN_SUCCESS"]


def test_of_two_monitors_of_a_run_one_begins(tmp_path):
    module = one_op("print('begun', os.getpid(), flush=True)\ntime.sleep(0.3)")
    with loaded(tmp_path, module) as team:
        journal, request = team.order()
        for _ in range(3):
            assert team.fork(request) == ""
        assert ended(journal)["state"] == "success"
        assert team.fork(request) == ""
        poll_now(lambda: team.survivors() == [], "nothing is left")
        assert written(journal).count("begun") == 1
        assert kinds(journal).count("RUN_START") == 1


def test_a_run_ends_as_a_program_does(tmp_path):
    """Exit functions run, threads are joined, and what is buffered is written."""
    head = "import atexit, logging, logging.handlers, threading\n"
    body = """
        atexit.register(lambda: print("exit function"))
        handler = logging.handlers.MemoryHandler(1000, target=logging.StreamHandler(sys.stdout))
        logging.getLogger("x").addHandler(handler)
        logging.getLogger("x").warning("audit line")
        threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
        """
    with loaded(tmp_path, one_op(body, head)) as team:
        journal = team.launch()
        assert ended(journal)["state"] == "success"
        for word in ("exit function", "audit line", "thread"):
            assert word in written(journal)


def test_a_run_has_the_teams_open_files_and_not_its_lock(tmp_path):
    head = "log = open('team.log', 'a')\n"
    module = one_op("log.write('from the run')\nlog.flush()", head)
    with loaded(tmp_path, module) as team:
        assert ended(team.launch())["state"] == "success"
    assert (tmp_path / "team.log").read_text() == "from the run"


@pytest.mark.slow
def test_events_without_end_are_bounded(tmp_path):
    module = HEAD + (
        "@op\ndef work(context):\n"
        "    for number in range(110_000):\n        context.log.info(str(number))\n"
        "    raise ValueError('after all')\n"
        "@job\ndef nightly():\n    work()\n"
    )
    with loaded(tmp_path, module) as team:
        final = ended(team.launch())
        assert final["state"] == "failure"
        assert 100_000 < final["events"] < 100_100
        assert final["dropped"] > 9_000
