"""Many reloads while a run of Dagster goes on: nothing grows, and the run is as it was."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import NamedTuple

import pytest
from supervised import Supervised, make_workspace, save, supervising

from .dagster_hosts import hosting
from .eras import CURRENT, Environment
from .hosted import descendants
from .test_dagster_servers import (
    SOURCE,
    edition,
    ended,
    generation,
    launched,
    private_mebibytes,
    servers,
    serving,
)

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(3600), pytest.mark.xdist_group("hosts")]

# `SUPERVISE_RELOADS=200` for longer.
RELOADS = int(os.environ.get("SUPERVISE_RELOADS", "30"))
FIRST = 8  # after so many caches are filled
MOST_MORE = 12  # MiB that one process may have more at the end


class Had(NamedTuple):
    """What a supervisor has: ``memory`` in MiB, of the supervisor, and of the location's process and server."""

    descriptors: int
    sockets: int
    processes: int
    memory: tuple[float, float]


async def had(running: Supervised, runtime: Path) -> Had:
    server = (await serving(running))["pid"]
    location = sum(private_mebibytes(pid) for pid in (running.pid("team"), server))
    return Had(
        len(os.listdir("/proc/self/fd")),  # noqa: PTH208  # no directory of ours
        len(await asyncio.to_thread(lambda: list(runtime.rglob("*.sock")))),
        len(descendants(os.getpid())),
        (private_mebibytes(os.getpid()), location),
    )


async def test_reloads_with_a_run_in_flight_leave_nothing(
    tmp_path: Path, runtime: Path, dagster_environment: Environment
) -> None:
    python = dagster_environment(CURRENT)
    workspace = make_workspace(
        tmp_path / "ws", {"team.py": SOURCE}, {"team": {"executable_path": str(python)}}
    )
    async with (
        hosting(python, tmp_path / "home") as host,
        supervising(workspace, runtime, dagster=True) as running,
    ):
        await running.ready()
        socket = (await servers(running))["socket"]
        await serving(running)
        run = await launched(host, socket, "waiting_in_steps")

        async def reloaded(number: int) -> None:
            save(tmp_path / "ws" / "team.py", edition(number))
            await generation(host, socket, number + 1)

        async def alone() -> None:
            """Until the servers of before have ended."""
            fleet = running.daemon.fleet
            async with asyncio.timeout(120):
                while len((await servers(running))["servers"]) > 1:
                    seen = fleet.revision
                    await fleet.news.wait(lambda seen=seen: fleet.revision != seen, 5)

        for number in range(1, FIRST + 1):
            await reloaded(number)
        await alone()
        before = await had(running, runtime)
        for number in range(FIRST + 1, FIRST + RELOADS + 1):
            await reloaded(number)
        await alone()

        now = before
        async with asyncio.timeout(60):
            while True:
                now = await had(running, runtime)
                if now[:3] <= before[:3]:
                    break
                await asyncio.sleep(0.2)
        for least, most in zip(before.memory, now.memory, strict=True):
            assert most < least + MOST_MORE, (before, now)

        assert await host.ask("current_runs", socket) == [run]
        assert (await servers(running))["runs"] == {"1": 1}
        assert await host.ask("terminate", run)
        await ended(host, run, "CANCELED")
