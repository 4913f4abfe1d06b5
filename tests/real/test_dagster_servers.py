"""Dagster's own, unmodified client on servers that were forked from shims, for user code from 0.15 on."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import PROGRAMS
from supervised import (
    Supervised,
    child_process,
    environ,
    make_workspace,
    poll,
    save,
    supervising,
)

from .conftest import BETWEEN, SERVED
from .dagster_hosts import Host, hosting
from .eras import CURRENT, OLDEST, SINCE_JOBS, Environment

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600), pytest.mark.xdist_group("hosts")]

SOURCE = (PROGRAMS / "dagster_served.py").read_text()
JOBS = ["dying", "nightly", "waiting", "waiting_in_steps"]
REPOSITORY = "__repository__"


def edition(number: int) -> str:
    return SOURCE.replace("EDITION = 0", f"EDITION = {number}").replace(
        "jobs = [nightly,",
        f"@job\ndef edition_{number}():\n    load()\n\n\njobs = [edition_{number}, nightly,",
    )


async def servers(running: Supervised, name: str = "team") -> dict[str, Any]:
    found: dict[str, Any] = (await running.status(name))["code_servers"]
    return found


async def serving(running: Supervised, name: str = "team") -> dict[str, Any]:
    """The newest server, once it serves."""
    async with asyncio.timeout(90):
        while True:
            revision = running.daemon.fleet.revision
            found: dict[str, Any] = (await servers(running, name))["servers"][0]
            if found["state"] == "serving":
                return found
            await running.daemon.fleet.news.wait(
                lambda before=revision: running.daemon.fleet.revision != before, 5
            )


async def generation(host: Host, socket: str, number: int) -> None:
    """Wait until clients get that one."""
    async with asyncio.timeout(90):
        while not (await host.until_answered("server_id", socket)).startswith(f"{number}-"):
            pass


def private_mebibytes(pid: int) -> float:
    """The memory that the process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


async def in_rows(running: Supervised, run: str) -> dict[str, Any]:
    row, _ = await running.methods.run({"run": run, "timeout": 60})
    found: dict[str, Any] = row
    return found


async def ended(host: Host, run: str, wanted: str) -> None:
    assert await host.ask("until", run, wanted) == wanted, await host.ask("events", run)


async def launched(host: Host, socket: str, job: str, repository: str = REPOSITORY) -> str:
    """A run of ``job`` that has started."""
    run: str = await host.ask("launch", socket, repository, job, {})
    assert await host.ask("until", run, "STARTED") == "STARTED", await host.ask("events", run)
    return run


async def test_a_current_host_on_every_release(
    tmp_path: Path, runtime: Path, dagster_environment: Environment
) -> None:
    releases = [*SINCE_JOBS, *BETWEEN, *SERVED]
    python = {name: dagster_environment(name) for name in [*releases, OLDEST]}
    text = (PROGRAMS / "dagster_runs_0_9.py").read_text()
    workspace = make_workspace(
        tmp_path / "ws",
        {f"{name}.py": text if name == OLDEST else SOURCE for name in python},
        {name: {"executable_path": str(path)} for name, path in python.items()},
    )
    async with (
        supervising(workspace, runtime, dagster=True) as running,
        hosting(python[CURRENT], tmp_path / "home") as host,
    ):
        await running.settled()
        for name in releases:
            socket = (await servers(running, name))["socket"]
            assert (await serving(running, name))["fresh_because"] is None
            listed = await host.ask("listed", socket)
            ((repository, (jobs, assets)),) = listed.items()
            assert [one for one in jobs if not one.startswith("__")] == JOBS
            assert assets == ([] if name == SINCE_JOBS[0] else ["table"])

            done = await host.ask("launch", socket, repository, "nightly", {})
            await ended(host, done, "SUCCESS")
            row = await in_rows(running, done)
            assert (row["state"], row["origin"], row["job"]) == ("success", "dagster", "nightly")
            assert row["fresh_because"] is None

            run = await launched(host, socket, "waiting_in_steps", repository)
            assert await host.ask("can_cancel", socket, run)
            assert await host.ask("terminate", run)
            await ended(host, run, "CANCELED")
            assert (await in_rows(running, run))["state"] == "cancelled"
            assert not await host.ask("can_cancel", socket, run)

            # It shares what is imported, and what the first run of a process does, with its forkserver.
            assert not (await running.status(name))["process"]["start_method_reason"]
            server = (await serving(running, name))["pid"]
            own = [private_mebibytes(one) for one in (running.pid(name), server)]
            assert sum(own) < 64, (name, own)
        (old,) = (await servers(running, OLDEST))["servers"]
        assert (old["state"], old["pid"]) == ("failed", None)
        assert "this dagster is too old for dagster's own page" in old["reason"]


async def test_runs_and_pages_outlive_what_is_killed(
    tmp_path: Path, runtime: Path, dagster_environment: Environment
) -> None:
    python = dagster_environment(CURRENT)
    workspace = make_workspace(
        tmp_path / "ws",
        {"team.py": SOURCE},
        {"team": {"executable_path": str(python), "ping_timeout": 10}},
    )
    async with hosting(python, tmp_path / "home") as host:
        async with supervising(workspace, runtime, dagster=True) as running:
            await running.ready()
            socket = (await servers(running))["socket"]
            first = await serving(running)
            identity = await host.until_answered("server_id", socket)
            run = await launched(host, socket, "waiting")

            os.kill(first["pid"], signal.SIGKILL)
            assert await host.until_answered("server_id", socket) == identity
            second = await serving(running)
            assert (second["restarts"], second["generation"]) == (1, 1)
            assert await host.ask("terminate", run)
            await ended(host, run, "CANCELED")

            os.kill(second["pid"], signal.SIGSTOP)
            assert await host.until_answered("ping", socket) == "hello"
            third = await serving(running)
            assert third["pid"] != second["pid"]

            # What lies on the disk may be taken away.
            bound = await asyncio.to_thread(Path(socket).resolve)
            for path in (Path(socket), bound):
                await asyncio.to_thread(path.unlink)
                assert await host.until_answered("ping", socket) == "hello"
            third = await serving(running)

            # A run whose process ends without a word does not stay started.
            run = await host.ask("launch", socket, REPOSITORY, "dying", {})
            await ended(host, run, "FAILURE")
            assert (await in_rows(running, run))["status"] == 3

            run = await launched(host, socket, "waiting_in_steps")
            os.kill(running.pid("team"), signal.SIGKILL)
            await running.until(lambda: running["team"].generation == 2, "the second generation")
            await running.ready()
            await host.until_answered("ping", socket)
            assert await host.ask("status", run) == "STARTED"

            # An edit: the server of before ends, the run goes on and can be cancelled.
            save(tmp_path / "ws" / "team.py", edition(1))
            await generation(host, socket, 3)
            assert "edition_1" in (await host.until_answered("listed", socket))[REPOSITORY][0]
            assert (await servers(running))["runs"] == {"1": 1}
            assert await host.ask("current_runs", socket) == [run]
            assert await host.ask("can_cancel", socket, run)
            await running.methods.cancel_run({"run": run, "who": "", "now": False})
            await ended(host, run, "CANCELED")

            # A file that cannot be loaded: what was good stays, also when the page wants it anew.
            save(tmp_path / "ws" / "team.py", "raise ValueError('on purpose')")
            await running.until(lambda: running["team"].state == "failed", "the failure")
            await host.ask("reload", socket)
            assert "edition_1" in (await host.ask("listed", socket))[REPOSITORY][0]
            save(tmp_path / "ws" / "team.py", edition(2))
            await running.until(lambda: running["team"].state == "ready", "the end of it")
            await poll(lambda: not Path(f"/proc/{third['pid']}").exists(), "the end of the first")

        # The supervisor itself is killed: the run goes on, and the next one answers for it.
        command = [
            sys.executable,
            str(PROGRAMS / "supervise.py"),
            "--dagster",
            "-w",
            str(workspace),
        ]
        with child_process(command, env=environ(runtime), stdout=subprocess.DEVNULL) as killed:
            await host.until_answered("ping", socket)
            run = await launched(host, socket, "waiting")
            killed.kill()
            killed.wait()
        assert await host.ask("status", run) == "STARTED"
        async with supervising(workspace, runtime, dagster=True) as running:
            await host.until_answered("ping", socket)
            row, _ = await running.methods.run({"run": run, "timeout": 0})
            assert (row["state"], row["adopted"]) == ("running", True)
            assert await host.ask("can_cancel", socket, run)
            assert await host.ask("terminate", run)
            await ended(host, run, "CANCELED")
            text = "x" * 10_000_000
            config = {"ops": {"publish": {"config": {"text": text}}}}
            run = await host.ask("launch", socket, REPOSITORY, "nightly", config)
            await ended(host, run, "SUCCESS")
            messages = [one[2] for one in await host.ask("events", run)]
            assert any("published 10000000 characters" in str(one) for one in messages)
    assert await asyncio.to_thread(lambda: list(runtime.rglob("*.sock"))) == []


async def test_every_form_of_target(
    tmp_path: Path, runtime: Path, dagster_environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = dagster_environment(CURRENT)
    monkeypatch.setenv("TEAM_PYTHON", str(python))
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='pool').start()\n"
    channel = (
        "import grpc\nCHANNEL = grpc.insecure_channel('127.0.0.1:9')\n"
        "CHANNEL.subscribe(lambda state: None, try_to_connect=True)\n"
    )
    connection = (  # as a client of a database has one
        "import socket\nLISTENER = socket.create_server(('127.0.0.1', 0))\n"
        "CONNECTION = socket.create_connection(LISTENER.getsockname())\n"
    )
    two = re.sub(r"\ndefs = .*", "\n@dagster.repository\ndef a():\n    return [nightly]\n\n\n@dagster.repository\ndef b():\n    return [waiting]\n", SOURCE.partition("if hasattr")[0] + "\ndefs = 0")  # fmt: skip
    folder = tmp_path / "ws"
    make_workspace(
        folder,
        {"module.py": SOURCE, "package/__init__.py": SOURCE, "threaded.py": thread + SOURCE,
         "channel.py": channel + SOURCE, "connection.py": connection + SOURCE, "two.py": two},
    )  # fmt: skip
    common = "executable_path: {env: TEAM_PYTHON}"
    workspace = folder / "workspace.yaml"
    workspace.write_text(
        "load_from:\n"
        f"  - python_module: {{module_name: module, working_directory: {folder}, {common}}}\n"
        f"  - python_package: {{package_name: package, attribute: defs, working_directory: {folder}, {common}}}\n"
        f"  - python_file: {{relative_path: threaded.py, {common}}}\n"
        f"  - python_file: {{relative_path: channel.py, {common}}}\n"
        f"  - python_file: {{relative_path: connection.py, {common}}}\n"
        f"  - python_file: {{relative_path: two.py, {common}}}\n"
    )
    async with (
        supervising(workspace, runtime, dagster=True) as running,
        hosting(python, tmp_path / "home") as host,
    ):
        await running.settled()
        reasons = {
            "threaded.py": "its import leaves threads running: pool",
            "channel.py": "its import leaves threads running: ",
            "connection.py": "its import leaves socket:",
        }
        sockets = {}
        for name in ("module", "package:defs", *reasons, "two.py"):
            server = await serving(running, name)
            sockets[name] = (await servers(running, name))["socket"]
            assert str(server["fresh_because"]).startswith(reasons.get(name, "None"))
        for name in ("module", "package:defs", *reasons):
            run = await host.ask("launch", sockets[name], REPOSITORY, "nightly", {})
            await ended(host, run, "SUCCESS")
            row = await in_rows(running, run)
            assert (row["state"], row["location"]) == ("success", name)
            assert row["fresh_because"] == (await serving(running, name))["fresh_because"]
        listed = await host.ask("listed", sockets["two.py"])
        assert {name: jobs for name, (jobs, _) in listed.items()} == {
            "a": ["nightly"],
            "b": ["waiting"],
        }
        run = await host.ask("launch", sockets["two.py"], "a", "nightly", {})
        await ended(host, run, "SUCCESS")
