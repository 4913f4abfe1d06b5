"""Processes that stop answering: found, explained and replaced; and busy ones, which are left alone."""

from __future__ import annotations

import asyncio
import os
import signal
from textwrap import dedent

import pytest
from supervised import GOOD, alive, job, make_workspace, poll, save, supervising

from supervisor.errors import RequestTimeoutError
from supervisor.locations.liveness import LivenessProbe

# On a busy machine one that is well may need seconds to answer.
ASKED_OFTEN = {"ping_interval": "0.1s", "ping_timeout": "3s"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "auto"])
async def test_a_stopped_process_is_replaced(tmp_path, runtime, method):
    workspace = make_workspace(
        tmp_path, {"a.py": GOOD, "b.py": GOOD}, {"a": {**ASKED_OFTEN, "start_method": method}}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        pid = running.pid("a")
        os.kill(pid, signal.SIGSTOP)
        await running.until(lambda: running["a"].generation == 2, "noticed")
        await running.ready()
        assert not alive(pid)
        assert running["a"].restarts == 1
        log = await running.log("a")
        assert (
            "the process did not answer for 3 s while idle; it is stopped, by SIGSTOP or by a "
            "debugger" in log
        )
        assert f"generation 1 (pid {pid}) was ended by the supervisor: it did not answer" in log


HANGING = {
    "signal handler": """\
        import signal

        def stuck(number, frame):
            while True:
                pass

        signal.signal(signal.SIGUSR1, stuck)
        """,
    "a thread that keeps the interpreter": """\
        import itertools, os, signal, threading

        def stuck():
            signal.sigwait({signal.SIGUSR1})
            sum(itertools.repeat(1))

        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        threading.Thread(target=stuck, daemon=True).start()
        """,
}


@pytest.mark.slow
@pytest.mark.parametrize("how", HANGING)
async def test_the_failure_says_where_it_hangs(tmp_path, runtime, how):
    text = dedent(HANGING[how]) + job("nightly")
    workspace = make_workspace(tmp_path, {"a.py": text}, {"a": {**ASKED_OFTEN, "restart": "never"}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        os.kill(running.pid("a"), signal.SIGUSR1)
        await running.until(lambda: running["a"].state == "stopped", "stopped")
        failure = await running.failure("a")
        assert failure["kind"] == "unresponsive"
        assert failure["message"].startswith(
            f"the process did not answer for 3 s while idle; it was at {tmp_path / 'a.py'}:"
        )
        innermost = failure["frames"][-1]
        assert (innermost["function"], innermost["user"]) == ("stuck", True)
        assert running["a"].reason == f"{failure['message']}; restart policy never"
        # What it served is still there.
        assert running.definitions("a") == ["job:nightly"]


@pytest.mark.slow
async def test_one_that_hangs_again_and_again_is_given_up(tmp_path, runtime):
    restart = {"max_restarts": 2, "initial_delay": "0.01s", "max_delay": "0.01s"}
    workspace = make_workspace(tmp_path, {"a.py": GOOD}, {"a": {**ASKED_OFTEN, "restart": restart}})
    async with supervising(workspace, runtime) as running:
        for generation in (1, 2, 3):
            await running.until(lambda n=generation: running["a"].generation == n, "started again")
            await running.ready()
            os.kill(running.pid("a"), signal.SIGSTOP)
        await running.until(lambda: running["a"].state == "crashed", "given up")
        assert running["a"].reason.startswith("died 3 times within 60 s; the last time the process")
        assert running["a"].failure.kind == "unresponsive"


SLOW = """\
    import time
    from runner_shim import repository, job

    def build():
        time.sleep({seconds})

        @job
        def late():
            pass

        return late

    @repository
    def team():
        return {{"jobs": {{"late": build}}}}
    """


@pytest.mark.slow
async def test_a_busy_process_is_left_alone(tmp_path, runtime):
    workspace = make_workspace(
        tmp_path,
        {"a.py": SLOW.format(seconds=5)},
        {"a": ASKED_OFTEN},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        # Two at once: each has its own time from when its turn comes.
        shown = await asyncio.gather(
            *(running.methods.show({"location": "a", "name": "late"}) for _ in range(2))
        )
        assert [one["definition"]["name"] for one, _ in shown] == ["late"] * 2
        assert running["a"].generation == 1


async def test_a_request_that_is_never_answered_costs_its_process(tmp_path, runtime, monkeypatch):
    monkeypatch.setattr("supervisor.locations.constructed.TIMEOUT", 1.0)
    workspace = make_workspace(tmp_path, {"a.py": SLOW.format(seconds=1000)})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        pid = running.pid("a")
        with pytest.raises(RequestTimeoutError) as caught:
            await running.methods.show({"location": "a", "name": "late"})
        text = "the process did not answer for 1 s while constructing 'late'; it was at "
        assert f"{text}{tmp_path / 'a.py'}:5" in str(caught.value)
        await running.until(lambda: running["a"].generation == 2, "replaced")
        await running.ready()
        assert not alive(pid)
        assert text in await running.log("a")


async def test_pings_can_be_turned_off(tmp_path, runtime):
    workspace = make_workspace(
        tmp_path,
        {"a.py": GOOD, "b.py": GOOD},
        {"a": {"ping_interval": 0}, "b": ASKED_OFTEN},
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        liveness = running.daemon.services.liveness
        assert [one.spec.name for one in liveness.watched] == ["b"]


async def test_an_edited_interval_counts_without_a_reload(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": GOOD}, {"a": {"ping_interval": 0}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        save(workspace, workspace.read_text().replace("ping_interval: 0", "ping_interval: 0.1"))
        await running.until(lambda: running["a"].spec.ping_interval == 0.1, "read")
        liveness = running.daemon.services.liveness
        assert [one.ping_interval for one in liveness.watched] == [0.1]
        assert running["a"].generation == 1


async def test_what_ended_is_not_asked_any_more(tmp_path, runtime):
    workspace = make_workspace(
        tmp_path, {"a.py": GOOD}, {"a": {**ASKED_OFTEN, "restart": {"initial_delay": 0.01}}}
    )
    async with supervising(workspace, runtime) as running:
        await running.ready()
        liveness = running.daemon.services.liveness
        for _ in range(3):
            generation = running["a"].generation
            os.kill(running.pid("a"), signal.SIGKILL)
            await running.until(lambda: running["a"].generation > generation, "replaced")  # noqa: B023
            await running.ready()
        running["a"].stop()
        await running.until(lambda: running["a"].state == "stopped", "stopped")
        await poll(lambda: not liveness.watched, "nobody is watched")


class _Patient:
    """Answers when told to; no process, so that many of them cost nothing."""

    def __init__(self, interval: float, timeout: float) -> None:
        self.ping_interval = interval
        self.ping_timeout = timeout
        self.alive = True
        self.idle = True
        self.asked: list[float] = []
        self.answers = True

    async def ping(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        self.asked.append(loop.time())
        future = loop.create_future()
        if self.answers:
            future.set_result(None)
        return future


async def test_many_are_asked_in_few_slices():
    liveness = LivenessProbe()
    lost: list[_Patient] = []
    patients = [_Patient(2.0, 0.2) for _ in range(1000)]
    patients[7].answers = False
    patients[8].idle = False
    for one in patients:

        async def unresponsive(one: _Patient = one) -> None:
            lost.append(one)

        liveness.watch(one, unresponsive)
    await poll(
        lambda: lost and all(one.asked for one in patients if one.idle), "all have been asked"
    )
    await liveness.close()
    assert set(lost) == {patients[7]}
    assert patients[8].asked == []
    # Those that are due about the same time are asked in one go: far fewer wake-ups than processes.
    goes = {round(moment, 1) for one in patients for moment in one.asked}
    assert len(goes) < 100


@pytest.mark.parametrize("turns", range(6))
async def test_an_end_is_heard_while_another_is_to_be_asked_earlier(turns):
    async def unresponsive() -> None:
        raise AssertionError

    liveness = LivenessProbe()
    liveness.watch(_Patient(3600.0, 1.0), unresponsive)
    await asyncio.sleep(0)
    liveness.watch(
        _Patient(1.0, 1.0), unresponsive
    )  # wakes the task, some turns of the loop from now
    for _ in range(turns):
        await asyncio.sleep(0)
    _, late = await asyncio.wait([asyncio.create_task(liveness.close())], timeout=10)
    assert not late
