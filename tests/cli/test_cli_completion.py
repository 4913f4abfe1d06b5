"""What the shell completes of runs, asked as bash asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Foreground, foreground, supervise
from launched import HEAD
from supervised import make_workspace

TEAM = (
    HEAD
    + """
from runner_shim import asset

@asset(partitions_def=["red", "green"])
def color(): pass

@asset
def report(): pass

@op
def work(): pass

@job(partitions_def=["north", "south"])
def nightly():
    work()

@job
def weekly():
    work()
"""
)


@pytest.fixture
def running(tmp_path: Path, runtime: Path) -> Iterator[Foreground]:
    make_workspace(tmp_path, {"team.py": TEAM})
    with foreground(tmp_path, runtime) as one:
        one.run("wait")
        yield one


def completed(running: Foreground, *words: str) -> list[str]:
    done = supervise(
        cwd=running.cwd,
        runtime=running.runtime,
        _SUPERVISE_COMPLETE="bash_complete",
        COMP_WORDS="supervise " + " ".join(words),
        COMP_CWORD=str(len(words)),
    )
    return [line.partition(",")[2] for line in done.stdout.split()]


@pytest.mark.slow
def test_jobs_assets_partitions_and_runs_are_completed(running: Foreground) -> None:
    assert completed(running, "launch", "t") == ["team"]
    assert completed(running, "launch", "team", "n") == ["nightly"]
    assert completed(running, "launch", "team", "--assets", "c") == ["color"]
    assert completed(running, "launch", "team", "--assets", "color,r") == ["color,report"]
    assert completed(running, "launch", "team", "nightly", "--partition", "s") == ["south"]
    partition = completed(running, "launch", "team", "--assets", "color", "--partition", "r")
    assert partition == ["red"]
    run = running.run("launch", "team", "weekly", "--detach").stdout.strip()
    assert completed(running, "runs", "show", run[:4]) == [run]
    assert completed(running, "launch", "none", "n") == []
    assert completed(running, "show", "team", "re") == ["report"]
    assert "nightly" in completed(running, "show", "team", "")
    assert completed(running, "list", "as") == ["asset"]
    assert completed(running, "env", "sync", "te") == ["team"]
