"""What an order, an edit or a changed rule gives back to a location that had failed or died."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
from supervised import GOOD, alive, job, make_workspace, save, supervising

from supervisor.locations.failures import Failure
from supervisor.locations.fork_fallback import ForkFallback, Verdict
from supervisor.processes.launcher import Exit

DIES = "import os\nos._exit(7)\n"


async def test_a_start_gives_all_chances_again(tmp_path, runtime):
    workspace = make_workspace(
        tmp_path,
        {"bad.py": DIES},
        {
            "bad": {
                "start_method": "spawn",
                "restart": {"max_restarts": 2, "initial_delay": "0.01s", "max_delay": "0.01s"},
            }
        },
    )
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"bad": "crashed"}
        assert running["bad"].generation == 3
        assert running["bad"].start() == "starting"
        assert await running.settled() == {"bad": "crashed"}
        assert running["bad"].generation == 6


@pytest.mark.parametrize("method", ["spawn", "auto"])
async def test_what_serves_is_not_lost_when_a_reload_dies_and_is_never_restarted(
    tmp_path, runtime, method
):
    workspace = make_workspace(
        tmp_path, {"a.py": GOOD}, {"a": {"restart": "never", "start_method": method}}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched("a")
        pid = running.pid("a")
        save(tmp_path / "a.py", DIES)
        await running.until(lambda: running["a"].state == "crashed", "given up")
        assert alive(pid)
        assert running.definitions("a") == ["job:nightly"]
        # It is seen to be there: files are heeded, and it can be ended.
        save(tmp_path / "a.py", job("mended"))
        await running.until(lambda: running.definitions("a") == ["job:mended"], "mended")
        pid = running.pid("a")
        save(tmp_path / "a.py", DIES)
        await running.until(lambda: running["a"].state == "crashed", "given up")
        running["a"].stop()
        await running.until(lambda: running["a"].state == "stopped", "stopped")
        assert not alive(pid)


@pytest.mark.slow
async def test_more_time_is_tried_at_once_by_what_had_too_little(tmp_path, runtime):
    slow = "import time\ntime.sleep(1.5)\n" + job("slow")
    workspace = make_workspace(tmp_path, {"a.py": slow}, {"a": {"load_timeout": "0.5s"}})
    async with supervising(workspace, runtime) as running:
        assert await running.settled() == {"a": "failed"}
        make_workspace(tmp_path, {}, {"a": {"load_timeout": "50s"}})
        await running.ready("a")


# What a fresh process says of a forked one.

RAISED = Failure(
    "exception",
    "RuntimeError: no",
    "",
    {
        "exception": {"type": "RuntimeError"},
        "frames": [{"file": "/v/lib/python3.11/site-packages/lib/core.py", "user": False}],
    },
)
ABORTED = Exit(None, 6)


def generation(forked: bool = True) -> SimpleNamespace:
    return SimpleNamespace(
        refused=None,
        created_ns=time.time_ns(),
        process=SimpleNamespace(forked=forked, profile="numpy"),
    )


async def test_a_fresh_process_that_loads_it_convicts_the_fork():
    suspicion = ForkFallback()
    assert suspicion.failed(generation(), RAISED)
    assert "RuntimeError raised in lib/core.py" in suspicion.because
    assert "RuntimeError raised in lib/core.py" in (await suspicion.loaded([])).environment
    assert suspicion.because == ""
    assert await suspicion.loaded([]) == Verdict()


def test_a_fresh_process_that_fails_alike_clears_it_for_good():
    suspicion = ForkFallback()
    assert suspicion.failed(generation(), RAISED)
    assert suspicion.failed(generation(forked=False), RAISED) == ""
    assert suspicion.failed(generation(), RAISED) == ""


async def test_an_order_or_an_edit_meanwhile_ends_the_case(tmp_path):
    suspicion = ForkFallback()
    suspicion.failed(generation(), RAISED)
    suspicion.drop()
    assert suspicion.because == ""
    assert await suspicion.loaded([]) == Verdict()
    # An edit of which nobody has told yet.
    suspicion.died(generation(), ABORTED, "loading")
    edited = tmp_path / "a.py"
    edited.write_text("")
    os.utime(edited, ns=(time.time_ns(), time.time_ns()))
    assert await suspicion.loaded([str(edited)]) == Verdict()


def test_what_dies_fresh_too_is_not_asked_again():
    suspicion = ForkFallback()
    assert suspicion.died(generation(), ABORTED, "loading")
    assert suspicion.died(generation(forked=False), ABORTED, "loading") == ""
    assert suspicion.died(generation(), ABORTED, "loading") == ""
    suspicion.drop()
    assert suspicion.died(generation(), ABORTED, "loading")


@pytest.mark.parametrize(
    ("ended", "doing"),
    [(Exit(None, 9), "loading"), (Exit(None, 15), "loading"), (ABORTED, "serving")],
)
def test_these_deaths_accuse_nobody(ended, doing):
    assert ForkFallback().died(generation(), ended, doing) == ""


def test_a_failure_that_differs_in_addresses_says_what_was_said():
    def told(text: str) -> Failure:
        return Failure("exception", f"CheckError: got <Job object at {text}> of 2 jobs")

    assert told("0x7eff10").says_what(told("0x7eaa20"))
    assert not told("line 3").says_what(told("line 4"))


def test_a_tool_is_quoted_below_the_sentence() -> None:
    said = "\n".join(f"line {number}" for number in range(100))
    failure = Failure("environment", "it cannot be resolved", details={"detail": said})
    lines = failure.in_full.splitlines()
    assert (lines[0], lines[1], lines[-1]) == ("it cannot be resolved", "line 60", "line 99")
    assert Failure("timeout", "it took too long").in_full == "it took too long"
