"""The clients against a real supervisor: what they give, what they raise, and when."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import BROKEN, TEAM, Foreground, foreground
from places import ROOT
from supervised import environ, make_workspace, supervising

import supervisor
from supervisor import (
    AsyncClient,
    Client,
    ConfigurationError,
    NotRunningError,
    RequestError,
    RequestTimeoutError,
    UnknownDefinitionError,
    UnknownLocationError,
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """One supervisor with a good and a broken location, for tests that change nothing."""
    import shutil
    import tempfile

    runtime = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    workspace = make_workspace(
        tmp_path_factory.mktemp("client"), {"team.py": TEAM, "broken.py": BROKEN}
    )
    with foreground(workspace.parent, runtime) as process:
        env = environ(runtime)
        process.until(lambda line: line.startswith("team: ready"))
        with Client(workspace, environ=env) as client:
            client.wait(timeout=60)
            yield SimpleNamespace(workspace=workspace, env=env, client=client, process=process)
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.mark.slow
def test_it_finds_the_supervisor_by_file_by_directory_and_as_the_only_one(
    running: SimpleNamespace, tmp_path: Path
) -> None:
    folder = running.workspace.parent
    for arguments in (
        {"workspace": running.workspace},
        {"directory": folder},
        {"directory": tmp_path},
    ):
        with Client(environ=running.env, **arguments) as client:
            assert client.pid == running.process.pid
            assert client.workspace == str(running.workspace)


def test_a_named_workspace_without_a_supervisor_is_not_running(
    running: SimpleNamespace, tmp_path: Path
) -> None:
    other = make_workspace(tmp_path, {"a.py": TEAM})
    with pytest.raises(NotRunningError) as caught:
        Client(other, environ=running.env)
    assert str(other) in str(caught.value)
    assert str(running.workspace) in (caught.value.hint or "")


def test_a_workspace_file_that_does_not_exist_is_not_running(
    running: SimpleNamespace, tmp_path: Path
) -> None:
    with pytest.raises((NotRunningError, ConfigurationError)):
        Client(tmp_path / "missing.yaml", environ=running.env)


def test_status_of_all_and_of_one(running: SimpleNamespace) -> None:
    document = running.client.status()
    assert document["format"] == 1
    assert {one["name"]: one["state"] for one in document["locations"]} == {
        "team": "ready",
        "broken": "failed",
    }
    (team,) = running.client.status("team")["locations"]
    assert team["serving"]["counts"] == {"job": 2, "schedule": 1}
    assert team["process"]["memory"]["uss"] > 0
    assert [line["text"] for line in team["log"]["tail"] if line["stream"] == "out"] == [
        "team was loaded"
    ]
    (broken,) = running.client.status("broken")["locations"]
    assert broken["failure"]["kind"] == "import_error"
    assert any(frame["user"] for frame in broken["failure"]["frames"])


def test_status_since_waits_for_a_change_until_the_timeout(running: SimpleNamespace) -> None:
    revision = running.client.status()["revision"]
    assert running.client.status(since=revision, timeout=0.05)["revision"] == revision
    assert running.client.status(since=revision - 1, timeout=60)["revision"] == revision


def test_definitions_show_snapshot(running: SimpleNamespace) -> None:
    names = {one["name"] for one in running.client.definitions("job", location="team")}
    assert names == {"nightly", "hourly"}
    shown = running.client.show("team", "nightly", kind="job")
    assert shown["definition"]["tags"] == {"team": "risk"}
    assert shown["source"][0] == "team.py"
    snapshot = running.client.snapshot("team")
    assert hashlib.sha256(snapshot.definitions).hexdigest() == snapshot.fingerprint
    assert "job:hourly" in snapshot.index()
    assert snapshot.report["python"].startswith("3.")


def test_what_is_unknown_is_named_with_what_is_near(running: SimpleNamespace) -> None:
    with pytest.raises(UnknownLocationError) as location:
        running.client.status("teem")
    assert location.value.name == "teem"
    assert location.value.hint == "did you mean team?"
    with pytest.raises(UnknownLocationError):
        running.client.reload("team", "nobody")
    with pytest.raises(UnknownDefinitionError) as definition:
        running.client.show("team", "nightlie")
    assert definition.value.hint == "did you mean nightly?"


def test_what_is_refused_raises_with_the_reason(running: SimpleNamespace) -> None:
    with pytest.raises(RequestError, match="broken has no snapshot"):
        running.client.snapshot("broken")
    with pytest.raises(RequestError, match="nothing to compare"):
        running.client.diff("team")


def test_logs_and_following_them(running: SimpleNamespace) -> None:
    chunk = running.client.logs("team", lines=100)
    assert "team was loaded" in [line["text"] for line in chunk["lines"]]
    following = running.client.follow_logs("team", lines=100)
    first = next(following)
    assert first["text"] == chunk["lines"][0]["text"]


def test_threads_may_share_a_client(running: SimpleNamespace) -> None:
    results: list[int] = []

    def ask() -> None:
        results.extend(running.client.status()["format"] for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1] * 80


def test_a_late_answer_is_not_taken_for_the_next_one(running: SimpleNamespace) -> None:
    with Client(running.workspace, environ=running.env, timeout=0.5) as client:
        client.wait("team", timeout=60)  # it is connected
        os.kill(running.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(RequestTimeoutError, match="did not answer 'status'"):
                client.status()
        finally:
            os.kill(running.process.pid, signal.SIGCONT)
        assert client.wait("team", timeout=60) == {
            "ready": True,
            "settled": True,
            "locations": {"team": "ready"},
        }


def test_closing_twice_is_harmless(running: SimpleNamespace) -> None:
    client = Client(running.workspace, environ=running.env)
    client.close()
    client.close()


@pytest.mark.slow
def test_a_supervisor_that_does_not_answer_is_a_timeout(tmp_path: Path, runtime: Path) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM})
    with foreground(tmp_path, runtime) as process:
        process.until(lambda line: line.startswith("team: ready"))
        with Client(workspace, environ=environ(runtime), timeout=0.3) as client:
            os.kill(process.pid, signal.SIGSTOP)
            try:
                with pytest.raises(RequestTimeoutError, match=str(process.pid)):
                    client.status()
            finally:
                os.kill(process.pid, signal.SIGCONT)


def _killed_while_asked(process: Foreground) -> None:
    os.kill(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_supervisor_that_dies_while_it_is_asked_is_not_running(
    tmp_path: Path, runtime: Path
) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM})
    with foreground(tmp_path, runtime) as process:
        process.until(lambda line: line.startswith("team: ready"))
        with Client(workspace, environ=environ(runtime), timeout=60) as client:
            revision = client.status()["revision"]
            killer = threading.Timer(0.2, _killed_while_asked, [process])
            killer.start()
            began = time.monotonic()
            with pytest.raises(NotRunningError, match=str(workspace)):
                while True:
                    revision = client.status(since=revision, timeout=30)["revision"]
            assert time.monotonic() - began < 25  # not by the deadline of 90
            killer.join()


@pytest.mark.slow
def test_orders_wait_and_diff(tmp_path: Path, runtime: Path) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM, "other.py": TEAM})
    with foreground(tmp_path, runtime) as process:
        process.until(lambda line: "team: ready" in line)
        with Client(workspace, environ=environ(runtime)) as client:
            assert client.wait(timeout=60) == {
                "ready": True,
                "settled": True,
                "locations": {"team": "ready", "other": "ready"},
            }
            assert client.stop("team") == {"team": "stopping"}
            assert client.wait("team", timeout=60)["locations"] == {"team": "stopped"}
            assert client.stop("team") == {"team": "already stopped"}
            assert client.snapshot("team").generation == 1  # the last good one is still there
            client.start("team")
            assert client.wait("team", timeout=60)["ready"]
            assert set(client.reload()) == {"team", "other"}
            assert client.wait(timeout=60)["ready"]
            diff = client.diff("team")
            assert (diff["added"], diff["removed"], diff["changed"]) == ([], [], [])
            assert client.shutdown() == process.pid
        assert process.process.wait(60) == 0


async def test_the_asynchronous_client_gives_the_same(tmp_path: Path, runtime: Path) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM, "broken.py": BROKEN})
    async with (
        supervising(workspace, runtime),
        AsyncClient(workspace, environ=environ(runtime)) as client,
    ):
        waited = await client.wait(timeout=60)
        assert waited == {
            "ready": False,
            "settled": True,
            "locations": {"team": "ready", "broken": "failed"},
        }
        document = await client.status()
        # Many at once, one of them held back: the others do not wait for it.
        held = asyncio.create_task(client.status(since=document["revision"], timeout=30))
        rows, shown, snapshot, chunk = await asyncio.gather(
            client.definitions("schedule"),
            client.show("team", "hourly", kind="job"),
            client.snapshot("team"),
            client.logs("team"),
        )
        assert [row["name"] for row in rows] == ["every_night"]
        assert shown["definition"]["kind"] == "job"
        assert snapshot.location == "team"
        assert chunk["lines"]
        assert not held.done()
        await client.reload("team")
        assert (await held)["revision"] != document["revision"]
        assert (await client.wait("team", timeout=60))["ready"]
        assert (await client.diff("team"))["changed"] == []
        assert await client.stop("team") == {"team": "stopping"}
        await client.wait("team", timeout=60)
        assert await client.start("team") == {"team": "starting"}
        assert await client.restart("team")
        async for line in client.follow_logs("team", lines=1):
            assert line["text"]
            break
        with pytest.raises(UnknownLocationError):
            await client.status("nobody")


@pytest.mark.slow
async def test_the_asynchronous_client_notices_a_death_in_all_requests(
    tmp_path: Path, runtime: Path
) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM})
    with foreground(tmp_path, runtime) as process:
        await asyncio.to_thread(process.until, lambda line: line.startswith("team: ready"))
        async with AsyncClient(workspace, environ=environ(runtime), timeout=60) as client:
            await client.wait()
            cursor = (await client.logs("team"))["next"]

            async def never() -> None:
                async for _ in client.follow_logs("team", after=cursor):
                    pass

            waiting = [asyncio.create_task(never()), asyncio.create_task(never())]
            await client.status()  # both are on their way by now
            os.kill(process.pid, signal.SIGKILL)
            results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
            assert [type(one) for one in results] == [NotRunningError, NotRunningError]
            with pytest.raises(NotRunningError):
                await client.status()


async def test_closing_the_asynchronous_client_ends_its_requests(
    tmp_path: Path, runtime: Path
) -> None:
    workspace = make_workspace(tmp_path, {"team.py": TEAM})
    async with supervising(workspace, runtime) as supervised:
        await supervised.ready()
        client = AsyncClient(workspace, environ=environ(runtime))
        revision = (await client.status())["revision"]
        held = asyncio.create_task(client.status(since=revision, timeout=30))
        await client.status()
        await client.aclose()
        with pytest.raises(NotRunningError):
            await held
        await client.aclose()


def test_the_public_names() -> None:
    assert all(getattr(supervisor, name) is not None for name in supervisor.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        supervisor.nonsense  # noqa: B018


def test_the_version_is_that_of_the_distribution() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert supervisor.__version__ == project["version"]


SLOW = {
    "asyncio",
    "pydantic",
    "yaml",
    "rich",
    "watchfiles",
    "virtualenv",
    "psutil",
    "envs.interpreters",
}


def test_importing_the_client_imports_nothing_slow() -> None:
    code = "import sys; from supervisor import Client; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not SLOW & set(done.stdout.split())


def test_status_imports_nothing_slow(running: SimpleNamespace) -> None:
    code = (
        "import atexit, sys; from supervisor.cli import main; "
        "atexit.register(lambda: print(*sys.modules)); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "-w", running.workspace, "status"],
        env=running.env,
        capture_output=True,
        text=True,
    )
    assert "team" in done.stdout, done.stderr
    assert "supervisor.cli.status" in done.stdout
    assert not SLOW & set(done.stdout.split())


def test_history_environments_and_lines_behind_a_cursor(running: SimpleNamespace) -> None:
    client = running.client
    history = client.history("team")
    assert history["location"] == "team"
    assert history["generations"][-1]["generation"] == history["serving"]
    assert history["generations"][-1]["counts"] == {"job": 2, "schedule": 1}
    assert client.history("broken") == {"location": "broken", "serving": None, "generations": []}
    environments = client.environments()
    assert sorted(name for one in environments for name in one["locations"]) == ["broken", "team"]
    (one,) = client.environments("team")
    assert one["locations"] == ["team"]
    assert {"name", "version"} == set(one["packages"][0])
    assert {package["name"] for package in one["packages"]} >= {"click", "pytest"}
    everything = client.logs("team", lines=1000)
    behind = client.logs("team", after=0)
    assert behind["lines"] == everything["lines"]
    assert client.logs("team", after=everything["next"], timeout=0)["lines"] == []
    for method in (client.history, client.environments):
        with pytest.raises(UnknownLocationError):
            method("nobody")
