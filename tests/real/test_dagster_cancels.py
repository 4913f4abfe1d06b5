"""Runs that are cancelled over TCP, and while no server could be asked: Dagster notes that, and asks once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from places import PROGRAMS
from supervised import child_process, environ, make_workspace, poll, supervising

from supervisor.dagster.face import Face
from supervisor.face_settings import Listen

from .dagster_hosts import hosting
from .eras import CURRENT, SINCE_JOBS, SOLIDS_AND_OPS, Environment
from .hosted import free_port
from .test_dagster_servers import SOURCE, ended, in_rows, launched

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600), pytest.mark.xdist_group("hosts")]


async def served_at(directory: Path) -> str:
    """The socket of the only location, once the file for Dagster's programs names it."""
    file = directory / ".supervise" / "workspace.yaml" / "dagster-workspace.yaml"
    await poll(file.exists, "the written file")
    (entry,) = yaml.safe_load(await asyncio.to_thread(file.read_text))["load_from"]
    found: str = entry["grpc_server"]["socket"]
    return found


@pytest.mark.parametrize("release", [SOLIDS_AND_OPS, CURRENT])
async def test_it_ends_once_a_server_is_back(
    tmp_path: Path, runtime: Path, dagster_environment: Environment, release: str
) -> None:
    workspace = make_workspace(
        tmp_path / "ws",
        {"team.py": SOURCE},
        {"team": {"executable_path": str(dagster_environment(release))}},
    )
    repository = "team" if release == SINCE_JOBS[0] else "__repository__"
    program = [sys.executable, str(PROGRAMS / "supervise.py")]
    async with hosting(dagster_environment(CURRENT), tmp_path / "home") as host:
        with child_process(
            [*program, "--dagster", "-w", str(workspace)],
            env=environ(runtime),
            stdout=subprocess.DEVNULL,
        ) as killed:
            socket = await served_at(tmp_path / "ws")
            await host.until_answered("ping", socket)
            run = await launched(host, socket, "waiting", repository)
            other = await launched(host, socket, "waiting_in_steps", repository)
            killed.kill()
            killed.wait()
        assert "error" in await host.answer("terminate", run)
        assert await host.ask("status", run) == "CANCELING"
        async with supervising(workspace, runtime, dagster=True) as running:
            await ended(host, run, "CANCELED")
            assert (await in_rows(running, run))["state"] == "cancelled"
            assert await host.ask("status", other) == "STARTED"
            await host.until_answered("terminate", other)
            await ended(host, other, "CANCELED")


async def test_a_client_on_another_machine_lists_runs_and_cancels(
    tmp_path: Path, runtime: Path, dagster_environment: Environment
) -> None:
    python = dagster_environment(CURRENT)
    workspace = make_workspace(
        tmp_path / "ws", {"team.py": SOURCE}, {"team": {"executable_path": str(python)}}
    )
    port = free_port()
    face = Face(listen=Listen("127.0.0.1", port))
    async with (
        supervising(workspace, runtime, face=face) as running,
        hosting(python, tmp_path / "home") as host,
    ):
        await running.ready()
        listed = await host.until_answered("listed", port)
        assert "nightly" in listed["__repository__"][0]
        done = await host.ask("launch", port, "__repository__", "nightly", {})
        await ended(host, done, "SUCCESS")
        run = await host.ask("launch", port, "__repository__", "waiting", {})
        assert await host.ask("until", run, "STARTED") == "STARTED"
        assert await host.ask("terminate", run)
        await ended(host, run, "CANCELED")
        assert (await in_rows(running, run))["state"] == "cancelled"
