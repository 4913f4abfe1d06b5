"""The generations that are kept: how many, for how long, and that none is lost once it was shown."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from commands import foreground, supervise
from places import TESTS
from stores import reopened, snapshot
from supervised import (
    job,
    make_workspace,
    marked,
    poll_now,
    save,
    supervising,
    supervisor_process,
)

from supervisor.snapshots.store import FORGET_SECONDS


async def test_as_many_as_the_location_says(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("one")}, {"a": {"history": 3}})
    async with supervising(workspace, runtime) as running:
        await running.ready()
        await running.watched()
        for number in range(2, 6):
            before = running["a"].generation
            save(tmp_path / "a.py", "raise RuntimeError\n" if number == 3 else job(f"j{number}"))
            await running.until(lambda: running["a"].generation > before, "begun")  # noqa: B023
            await running.settled()
        history, _ = await running.methods.history({"location": "a"})
        # What failed costs nobody a place.
        jobs = [
            list((await running.daemon.store.get("a", one["generation"])).index())
            for one in history["generations"]
        ]
        assert jobs == [["job:j2"], ["job:j4"], ["job:j5"]]
        assert history["serving"] == history["generations"][-1]["generation"]


async def test_a_second_supervisor_knows_what_the_first_one_kept(tmp_path, runtime):
    workspace = make_workspace(tmp_path, {"a.py": job("one")})
    async with supervising(workspace, runtime) as running:
        await running.ready()
    (tmp_path / "a.py").write_text(job("two"))
    async with supervising(workspace, runtime) as running:
        assert running.definitions("a") == ["job:one"] or running["a"].generation > 1
        await running.ready()
        difference, _ = await running.methods.diff({"location": "a"})
        assert (difference["added"], difference["removed"]) == (["job:two"], ["job:one"])
        assert (difference["from"]["generation"], difference["to"]["generation"]) == (1, 2)
        log = await running.log("a")
        assert "the supervisor started; generation 1 was the last that loaded" in log


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(3))
def test_what_was_announced_survives_a_kill_in_that_moment(tmp_path, runtime, marker, round_):
    """Killed as soon as anybody could hear of the new generation: it is on disk by then."""
    workspace = make_workspace(tmp_path, {"a.py": job("one")})
    names = [f"job_{number}" for number in range(2 + round_)]
    with supervisor_process(workspace, runtime, marker) as running:
        running.until(lambda told: told["a"][0] == "ready")
        for name in names:
            save(tmp_path / "a.py", job(name))
            running.until(lambda told: told["a"][2] == [f"job:{name}"])  # noqa: B023
        running.kill()
    (database,) = (tmp_path / ".supervise").rglob("snapshots.db")
    connection = sqlite3.connect(database)
    rows = connection.execute(
        "SELECT definitions FROM snapshots ORDER BY generation DESC"
    ).fetchall()
    connection.close()
    assert names[-1].encode() in rows[0][0]
    # And it is what the next supervisor serves, though the code cannot be loaded any more.
    (tmp_path / "a.py").write_text("while True:\n    pass\n")

    async def served() -> list[str]:
        async with supervising(workspace, runtime) as running:
            return running.definitions("a")

    poll_now(lambda: not marked(marker), "the first one's processes are gone")
    assert asyncio.run(served()) == [f"job:{names[-1]}"]


async def test_the_newest_that_is_whole_is_served(tmp_path):
    store, _ = await reopened(tmp_path / "s.db")
    store.save(snapshot("risk", 1, "a"))
    store.save(snapshot("risk", 2, "b"))
    store.close()
    database = sqlite3.connect(tmp_path / "s.db")
    with database:
        database.execute("UPDATE snapshots SET definitions = x'00ff' WHERE generation = 2")
    database.close()
    store, found = await reopened(tmp_path / "s.db")
    store.close()
    assert found == {"risk": snapshot("risk", 1, "a")}


async def test_a_location_that_left_long_ago_is_forgotten(tmp_path):
    store, _ = await reopened(tmp_path / "s.db")
    long_ago = time.time() - FORGET_SECONDS - 60
    for name, loaded_at in (("here", long_ago), ("gone", long_ago), ("just_gone", time.time())):
        store.save(replace(snapshot(name, 1, "a"), loaded_at=loaded_at))
    store.close()
    from supervisor.snapshots.store import SnapshotStore

    store = SnapshotStore(tmp_path / "s.db", pytest.fail)
    assert set(await store.open({"here"})) == {"here", "gone", "just_gone"}
    store.close()
    store, found = await reopened(tmp_path / "s.db")
    store.close()
    assert set(found) == {"here", "just_gone"}


FULL_DISK = """\
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from stores import snapshot
from supervisor.snapshots.store import SnapshotStore

async def main():
    heard = []
    store = SnapshotStore(Path({path!r}), lambda key, text: heard.append(text))
    found = await store.open()
    assert found["risk"].generation == 3, found
    store.save(snapshot("risk", 4, "d"))
    kept = await store.generations("risk")
    store.close()
    print(kept, *heard)

asyncio.run(main())
"""


def _own_mounts() -> list[str] | None:
    """A command prefix that gives a mount namespace of its own, or None where that is forbidden."""
    prefix = ["unshare", "--mount", *(["--map-root-user"] if os.getuid() else [])]
    if shutil.which("unshare") is None:
        return None
    return prefix if subprocess.run([*prefix, "true"], check=False).returncode == 0 else None


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["read-only", "full"])
def test_history_is_read_from_a_disk_that_cannot_be_written(tmp_path, disk):
    prefix = _own_mounts()
    if prefix is None:
        pytest.skip("no mount namespaces here")

    async def fill_it() -> None:
        store, _ = await reopened(tmp_path / "s.db")
        for generation in (1, 2, 3):
            store.save(snapshot("risk", generation, "a"))
        store.close()

    asyncio.run(fill_it())
    program = tmp_path / "program.py"
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    text = FULL_DISK.format(path=str(mounted / "s.db"), tests=str(TESTS))
    program.write_text(text)
    fill = "mount -o remount,ro tmpfs {0}" if disk == "read-only" else "cat /dev/zero > {0}/fill"
    steps = (
        "mount -t tmpfs -o size=256k tmpfs {0} && cp {1} {0} && ({2}) 2>/dev/null; {3} {4}"
    ).format(mounted, tmp_path / "s.db", fill.format(mounted), sys.executable, program)
    done = subprocess.run(
        [*prefix, "sh", "-c", steps], capture_output=True, text=True, cwd=tmp_path.parent
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        f"[1, 2, 3, 4] the snapshot store {mounted / 's.db'} cannot be written ("
    )
    assert not list(mounted.glob("*damaged*"))


@pytest.mark.slow
def test_the_command(tmp_path, runtime):
    make_workspace(tmp_path, {"a.py": job("one")})
    with foreground(tmp_path, runtime) as running:
        running.until(lambda line: line.startswith("a: ready"))
        assert supervise("reload", "a", cwd=tmp_path, runtime=runtime).returncode == 0
        save(tmp_path / "a.py", job("two"))
        running.until(lambda line: "added job:two" in line)
        done = supervise("history", "a", cwd=tmp_path, runtime=runtime)
        assert done.returncode == 0
        head, first, second, third = done.stdout.splitlines()
        assert head.split()[:3] == ["GENERATION", "LOADED", "IN"]
        assert [line.split()[0] for line in (first, second, third)] == ["1", "2", "3"]
        fingerprints = [
            line.split("KiB" if "KiB" in line else " B ")[1].split()[0]
            for line in (first, second, third)
        ]
        assert fingerprints[1] == f"={fingerprints[0]}"
        assert fingerprints[2][0] != "="
        assert "serving" in third and "serving" not in second
        data = json.loads(supervise("history", "a", "--json", cwd=tmp_path, runtime=runtime).stdout)
        assert [one["generation"] for one in data["generations"]] == [1, 2, 3]
        difference = supervise("diff", "a", "1", "3", cwd=tmp_path, runtime=runtime)
        assert difference.stdout.splitlines() == [
            "a: generation 1 → 3",
            "+ job:two",
            "- job:one",
        ]
        missing = supervise("history", "b", cwd=tmp_path, runtime=runtime)
        assert missing.returncode == 4
