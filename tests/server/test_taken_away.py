"""What a supervisor keeps on disk is taken away while it runs: it says so, and makes it anew."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Foreground, foreground, supervise
from supervised import job, make_workspace, poll_now, save

from supervisor import Client
from supervisor.runtime_dir import RuntimeDirectory

pytestmark = pytest.mark.slow

MARKER = "WS_TEST_MARKER"


def state_of(folder: Path) -> Path:
    return folder / ".supervise" / "workspace.yaml"


def kept(folder: Path) -> dict[int, str]:
    """The generations of ``a`` that another process finds on disk, and what each defines."""
    with contextlib.closing(sqlite3.connect(state_of(folder) / "snapshots.db")) as database:
        rows = database.execute("SELECT generation, definitions FROM snapshots").fetchall()
    return {number: data.decode("latin-1") for number, data in rows}


def reload_to(running: Foreground, name: str) -> None:
    """Save ``a.py`` with the job ``name`` and wait until it is announced."""
    save(running.cwd / "a.py", job(name))
    running.until(lambda line: f"added job:{name}" in line)


def refused(running: Foreground, *arguments: str | Path, **extra: str) -> str:
    """The hint of a second supervisor, which must not start."""
    done = running.run(*map(str, arguments), **extra)
    assert done.returncode == 2, (done.stdout, done.stderr)
    error, hint = done.stderr.splitlines()
    assert error == f"error: workspace.yaml is already supervised by pid {running.pid}"
    return hint


def conditions(running: Foreground) -> dict[str, dict[str, str]]:
    found = running.json("status")["supervisor"]["conditions"]
    return {one["key"]: one for one in found}


def served_after_a_kill(folder: Path, runtime: Path, running: Foreground) -> str:
    """What a next supervisor serves of the first one's when nothing can be loaded any more."""
    running.process.kill()
    running.process.wait()
    save(folder / "a.py", "raise SystemExit(1)\n")
    with foreground(folder, runtime) as again:
        again.until(lambda line: line.startswith("a: failed"))
        return again.run("list").stdout


# The state directory.


def test_the_state_directory_and_parts_of_it_are_made_anew(tmp_path, runtime):
    make_workspace(tmp_path, {"a.py": job("first")})
    state = state_of(tmp_path)
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("a: ready"))
        for number, (gone, named) in enumerate(
            (
                (tmp_path / ".supervise", ".supervise, workspace.yaml, logs, lock were"),
                (state, "workspace.yaml, logs, lock were"),
                (state / "logs", "logs was"),
                (state / "lock", "lock was"),
            )
        ):
            shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
            if gone.name in (".supervise", "lock"):
                assert "use `supervise status`" in refused(running)
            running.until(lambda line: f"{named} removed and" in line)  # noqa: B023
            assert (state / "lock").read_text() == f"{running.pid}\n"
            assert (tmp_path / ".supervise/.gitignore").exists()
            reload_to(running, f"after_{number}")
            assert f"after_{number}" in kept(tmp_path)[number + 2]
            assert (state / "logs" / "a.log").stat().st_size > 0
            assert "created again" in (state / "supervisor.log").read_text()
        assert sorted(kept(tmp_path)) == [1, 2, 3, 4, 5], "all that it knew of is there"
        assert conditions(running) == {}
        assert "after_3" in served_after_a_kill(tmp_path, runtime, running)


def test_what_cannot_be_made_anew_is_said_until_it_is(tmp_path, runtime):
    make_workspace(tmp_path, {"a.py": job("first")})
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("a: ready"))
        shutil.rmtree(tmp_path / ".supervise")
        (tmp_path / ".supervise").touch()
        running.until(lambda line: "cannot be created again" in line)
        reload_to(running, "second")
        told = conditions(running)
        assert {"state_directory", "store_unwritable"} <= told.keys()
        assert str(state_of(tmp_path)) in told["state_directory"]["message"]
        assert told["state_directory"]["hint"] == "remove what stands there instead"
        refused(running)
        (tmp_path / ".supervise").unlink()
        running.until(lambda line: "removed and are created again" in line)
        poll_now(lambda: conditions(running) == {}, "no condition is left")
        assert "second" in kept(tmp_path)[2]


def test_two_supervisors_in_one_directory_lose_their_state_together(tmp_path, runtime):
    make_workspace(tmp_path, {"a.py": job("first")})
    shutil.copy(tmp_path / "workspace.yaml", tmp_path / "other.yaml")
    with (
        foreground(tmp_path, runtime) as one,
        foreground(tmp_path, runtime, "-w", "other.yaml") as other,
    ):
        for running in (one, other):
            running.until(lambda line: line.startswith("a: ready"))
        shutil.rmtree(tmp_path / ".supervise")
        for running, name in ((one, "workspace.yaml"), (other, "other.yaml")):
            running.until(lambda line: "created again" in line)
            lock = tmp_path / ".supervise" / name / "lock"
            poll_now(lambda: lock.exists() and lock.read_text(), "locked")  # noqa: B023
            assert lock.read_text() == f"{running.pid}\n"
            assert running.run("run", "-w", name).returncode == 2
        assert one.run("ps").stdout.count("\n") == 3


# The store. What is announced is on disk in this moment, whoever looks.


def _truncate(database: Path) -> None:
    os.truncate(database, 0)


def _remove(database: Path) -> None:
    for path in database.parent.glob("snapshots.db*"):
        path.unlink()


def _remove_log(database: Path) -> None:
    database.with_name("snapshots.db-wal").unlink()


def _remove_index(database: Path) -> None:
    database.with_name("snapshots.db-shm").unlink()


def _truncate_log(database: Path) -> None:
    os.truncate(database.with_name("snapshots.db-wal"), 0)


def _replace(database: Path) -> None:
    save(database, "of another program\n")


def _replace_by_a_database(database: Path) -> None:
    other = database.with_name("other")
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE snapshots (location, generation)")
    other.replace(database)


def _overwrite(database: Path) -> None:
    database.write_text("x" * 100_000)


def _directory(database: Path) -> None:
    database.unlink()
    database.mkdir()


@pytest.mark.parametrize("noticed", ["at once", "while idle"])
def test_a_store_that_was_lost_holds_what_was_announced(tmp_path, runtime, noticed):
    make_workspace(tmp_path, {"a.py": job("first")})
    database = state_of(tmp_path) / "snapshots.db"
    # inotify tells of the first one, a look finds the second.
    ways: tuple[Callable[[Path], None], ...] = (
        (_remove, _truncate)
        if noticed == "while idle"
        else (
            _remove,
            _truncate,
            _remove_log,
            _remove_index,
            _truncate_log,
            _replace,
            _replace_by_a_database,
            _overwrite,
            _directory,
        )
    )
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("a: ready"))
        for number, damage in enumerate(ways):
            damage(database)
            if noticed == "while idle":
                running.until(lambda line: f"{database} was removed, replaced or changed" in line)
                assert max(kept(tmp_path)) == number + 1
            reload_to(running, f"after_{number}")
            assert f"after_{number}" in kept(tmp_path)[number + 2], damage.__name__
        assert f"after_{len(ways) - 1}" in served_after_a_kill(tmp_path, runtime, running)


# The runtime directory.


def test_the_runtime_directory_and_its_files_are_made_anew(tmp_path, runtime):
    make_workspace(tmp_path, {"a.py": job("first")})
    xdg = runtime / "xdg"
    xdg.mkdir(mode=0o700)
    with foreground(tmp_path, xdg) as running:
        running.until(lambda line: line.startswith("a: ready"))
        meeting = RuntimeDirectory.for_workspace(
            tmp_path, "workspace.yaml", {"XDG_RUNTIME_DIR": str(xdg)}
        ).path
        with Client(tmp_path / "workspace.yaml", environ={"XDG_RUNTIME_DIR": str(xdg)}) as client:
            pid = client.status("a")["locations"][0]["process"]["pid"]
            for gone in ("control.sock", "shims.sock", "supervisor.json", "files", meeting,
                         meeting.parent, xdg):  # fmt: skip
                if gone == "files":
                    for path in meeting.iterdir():
                        path.unlink()
                elif isinstance(gone, str):
                    (meeting / gone).unlink()
                else:
                    shutil.rmtree(gone)
                # Before it is noticed, and afterwards.
                if gone in ("files", xdg):
                    found = running.json("ps")["supervisors"]
                    assert [one["pid"] for one in found] == [running.pid]
                assert running.run("status").returncode == 0
                running.until(lambda line: "removed and" in line)
                assert client.status("a")["locations"][0]["process"]["pid"] == pid
                for directory in (meeting, meeting.parent, xdg):
                    assert directory.stat().st_mode & 0o777 == 0o700
            assert "use `supervise status`" in refused(running)
            assert running.run("reload", "a").returncode == 0
            assert client.status()["supervisor"]["conditions"] == []
        assert running.run("shutdown").returncode == 0
        assert list(xdg.glob("*/*")) == []


def test_a_runtime_directory_that_is_not_ours_is_never_followed(tmp_path, runtime):
    make_workspace(tmp_path, {"a.py": job("first")})
    other = runtime / "other"
    other.mkdir()
    base = runtime / "workspace-supervisor"
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("a: ready"))
        with Client(
            tmp_path / "workspace.yaml", environ={"XDG_RUNTIME_DIR": str(runtime)}
        ) as client:
            client.status()
            shutil.rmtree(base)
            base.symlink_to(other)
            running.until(lambda line: "clients cannot connect" in line)
            (told,) = client.status()["supervisor"]["conditions"]
            assert told["key"] == "runtime_directory"
            assert "is not a directory of yours" in told["message"]
            assert "remove it" in told["hint"]
            done = running.run("status")
            assert done.returncode == 1
            error, hint = done.stderr.splitlines()
            assert error.startswith(
                f"error: pid {running.pid} supervises {tmp_path}/workspace.yaml and cannot be "
                "reached: its runtime directory"
            )
            assert f"`kill {running.pid}`" in hint
            assert f"`kill {running.pid}` stops it" in refused(running)
            assert running.run("shutdown").returncode == 1, "it has not ended"
            assert list(other.iterdir()) == []
            base.unlink()
            running.until(lambda line: "are created again" in line)
            poll_now(lambda: not client.status()["supervisor"]["conditions"], "it is not true")
        assert running.run("reload", "a").returncode == 0
        assert running.run("shutdown").returncode == 0
        assert list(base.glob("*")) == []


def test_one_that_is_suspended_and_has_no_files_is_told_of(tmp_path, runtime):
    make_workspace(tmp_path, {"a.py": job("first")})
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("a: ready"))
        os.kill(running.pid, signal.SIGSTOP)
        try:
            shutil.rmtree(tmp_path / ".supervise")
            shutil.rmtree(runtime / "workspace-supervisor")
            hint = refused(running)
            assert f"it is suspended: `kill -CONT {running.pid}` lets it go on" in hint
            done = running.run("status")
            assert done.returncode == 1
            assert f"pid {running.pid} supervises" in done.stderr
            assert f"`kill -CONT {running.pid}`" in done.stderr
        finally:
            os.kill(running.pid, signal.SIGCONT)
        running.until(lambda line: "are created again" in line)
        assert running.run("status").returncode == 0


# The workspace's own directory.


def test_a_directory_that_was_moved_is_not_made_anew(tmp_path, runtime):
    folder, away = tmp_path / "here", tmp_path / "away"
    locations = {"a": {}, "managed": {"relative_path": "a.py", "environment": "own"}}
    python = {"own": {"python": f"{sys.version_info[0]}.{sys.version_info[1]}"}}
    file = make_workspace(folder, {"a.py": job("first")}, locations, environments=python)
    with foreground(folder, runtime) as running:
        assert running.run("wait").returncode == 0
        running.cwd = tmp_path
        folder.rename(away)
        running.until(lambda line: f"the workspace's directory {folder} is gone" in line)
        status = running.run("status", "-w", str(file))
        assert "still serving generation 1" in status.stdout or "ready" in status.stdout
        assert f"`kill {running.pid}`" in status.stdout
        done = running.run("reload", "--all", "-w", str(file))
        assert done.returncode == 1
        assert "no such file or directory" in done.stdout
        assert f"{folder} is gone: no environment is made in it" in done.stdout
        assert not folder.exists()
        # Its lock went along, and says who has it and under which name.
        moved = supervise("-w", away / "workspace.yaml", cwd=tmp_path, runtime=runtime)
        assert f"already supervised by pid {running.pid}" in moved.stderr
        assert f"supervise shutdown -w {file}" in moved.stderr
        away.rename(folder)
        running.until(lambda line: line.startswith("resolved: the workspace's directory"))
        assert running.run("wait", "-w", str(file)).returncode == 0
        running.cwd = folder
        reload_to(running, "second")
        # The audit of the orders meanwhile is tried again from time to time.
        poll_now(lambda: conditions(running) == {}, "nothing is amiss")
        assert "second" in max(kept(folder).items())[1]


# Environments.


def test_a_virtualenv_that_was_removed_is_made_anew(tmp_path, runtime):
    locations = {"a": {"environment": "own"}}
    python = {"own": {"python": f"{sys.version_info[0]}.{sys.version_info[1]}"}}
    make_workspace(tmp_path, {"a.py": job("first")}, locations, environments=python)
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("a: ready"))
        prefix = (tmp_path / ".supervise/envs/own/current").resolve()
        shutil.rmtree(prefix)
        running.until(lambda line: line.startswith("a: ready in"))
        assert (prefix / "bin" / "python").exists()
        shutil.rmtree(prefix / "lib")
        assert running.run("reload", "a").returncode == 0
        assert list(prefix.glob("lib/*/site-packages"))
        poll_now(lambda: not running.json("status")["locations"][0]["conditions"], "it is not true")


# Links that lead to a workspace.


def test_the_name_of_a_workspace_stays_when_its_link_leads_elsewhere(tmp_path, runtime):
    for number in (1, 2):
        make_workspace(tmp_path / "releases" / str(number), {"a.py": job("first")})
    current = tmp_path / "current"
    current.symlink_to("releases/1")
    with foreground(tmp_path, runtime, "-w", "current/workspace.yaml") as running:
        running.until(lambda line: line.startswith("a: ready"))
        one, two = (tmp_path / "releases" / name / "workspace.yaml" for name in "12")
        refused(running, "-w", "current/workspace.yaml")
        refused(running, "-w", one)
        assert running.run("status", "-w", str(one)).returncode == 0
        (tmp_path / "next").symlink_to("releases/2")
        (tmp_path / "next").replace(current)
        for named in ("current/workspace.yaml", two):
            refused(running, "-w", named)
        running.until(lambda line: "current/.supervise/workspace.yaml: .supervise" in line)
        for cwd, extra in ((current, {"PWD": str(current)}), (two.parent, {})):
            done = supervise("status", cwd=cwd, runtime=runtime, **extra)
            assert done.returncode == 0, done.stderr
            done = supervise(cwd=cwd, runtime=runtime, **extra)
            assert f"already supervised by pid {running.pid}" in done.stderr
        shutil.rmtree(one.parent)
        done = running.run("history", "a", "-w", str(two))
        assert done.returncode == 0
        assert kept(current)[1], "it went along"
        assert (two.parent / ".supervise/workspace.yaml/lock").read_text() == f"{running.pid}\n"


def test_a_shell_that_went_through_a_link_means_the_link(tmp_path, runtime):
    make_workspace(tmp_path / "release", {"a.py": job("first")})
    current = tmp_path / "current"
    current.symlink_to("release")
    with foreground(current, runtime, PWD=str(current)) as running:
        running.until(lambda line: line.startswith("a: ready"))
        (found,) = running.json("ps")["supervisors"]
        assert found["directory"] == str(current)
        assert supervise("wait", cwd=tmp_path / "release", runtime=runtime).returncode == 0


# A check.


def test_a_check_whose_files_go_ends_well(tmp_path, runtime):
    gate = (
        "import os, time\nopen('begun', 'w').close()\nwhile not os.path.exists('go'):\n"
        "    time.sleep(0.01)\n"
    )
    make_workspace(tmp_path, {"a.py": gate + job("first")})
    with foreground(tmp_path, runtime, "check") as running:
        poll_now((tmp_path / "begun").exists, "it loads")
        shutil.rmtree(tmp_path / ".supervise")
        shutil.rmtree(runtime / "workspace-supervisor")
        poll_now(lambda: list((tmp_path / ".supervise").glob("*check*/lock")), "made anew")
        (tmp_path / "go").touch()
        running.rest()
        assert running.process.wait(60) == 0, running.seen
    assert list(runtime.glob("*/*")) == []
    assert list((tmp_path / ".supervise").glob("*check*")) == []
