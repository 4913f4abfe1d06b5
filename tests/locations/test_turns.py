"""User code of one process runs one request at a time, also when the one who asked has left."""

from __future__ import annotations

import asyncio

import pytest
from supervised import make_workspace, poll, supervising

from supervisor.errors import UnknownDefinitionError

LAZY = """\
    import os, time
    from runner_shim import job, repository

    def slow():
        with open("begun", "a") as file:
            file.write("x")
        while not os.path.exists("go"):
            time.sleep(0.01)

        @job(description="slow")
        def slow():
            pass
        return slow

    def quick():
        @job(description="quick")
        def quick():
            pass
        return quick

    @repository
    def things():
        return {"jobs": {"slow": slow, "quick": quick}}
    """


async def test_the_next_has_its_turn_when_user_code_has_returned(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": LAZY})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        location, pid = running["a"], running.pid("a")
        asked = asyncio.create_task(location.describe("job", "slow", None))
        await poll((tmp_path / "begun").exists, "it has its turn")
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled()
        waiting = [
            asyncio.create_task(location.describe("job", name, None)) for name in ("quick", "slow")
        ]
        waiting.append(asyncio.create_task(location.describe("job", "none", None)))
        await asyncio.sleep(0)  # they wait
        assert not any(one.done() for one in waiting)
        assert not location.serving.idle
        (tmp_path / "go").touch()
        quick, slow = [await asyncio.wait_for(one, 60) for one in waiting[:2]]
        with pytest.raises(UnknownDefinitionError):
            await asyncio.wait_for(waiting[2], 60)
        assert (quick["definition"]["description"], slow["definition"]["description"]) == (
            "quick",
            "slow",
        )
        assert (running.pid("a"), location.state) == (pid, "ready")
        assert location.serving.idle


async def test_what_waits_for_its_turn_hears_that_the_process_has_ended(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": LAZY})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        location = running["a"]
        waiting = [asyncio.create_task(location.describe("job", "slow", None)) for _ in range(3)]
        await poll((tmp_path / "begun").exists, "one has its turn")
        running.process("a").kill()
        done, pending = await asyncio.wait(waiting, timeout=60)
        assert not pending
        assert {str(one.exception()) for one in done} == {
            "the process was killed by SIGKILL while it constructed 'slow'"
        }
