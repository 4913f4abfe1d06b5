"""A Dagster location is the same, byte for byte, in a forked process as in a fresh one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from forkservers import method
from supervised import make_workspace, supervising

from .conftest import PROGRAMS
from .eras import ERAS

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("release", "program"), ERAS.items())
async def test_snapshots_are_the_same_byte_for_byte(
    release: str,
    program: str,
    tmp_path: Path,
    runtime: Path,
    dagster_environment: Callable[[str], Path],
) -> None:
    python = dagster_environment(release)
    shutil.copytree(
        PROGRAMS / program, tmp_path / "team", ignore=shutil.ignore_patterns("__pycache__")
    )
    common = {
        "relative_path": "team/defs.py",
        "working_directory": "team",
        "executable_path": str(python),
    }
    ways = {"fresh": "spawn", "forked": "forkserver", "chosen": "auto"}
    workspace = make_workspace(
        tmp_path, {}, {name: {**common, "start_method": way} for name, way in ways.items()}
    )
    async with supervising(workspace, runtime) as running:
        await running.until(
            lambda: all(running[name].state == "ready" for name in ways), "ready", 300
        )
        assert await method(running, "fresh") == ("spawn", "start_method: spawn")
        for name in ("forked", "chosen"):
            assert await method(running, name) == ("forkserver", ""), await method(running, name)
        fresh = running["fresh"].snapshot
        assert fresh is not None and len(fresh.index()) >= 5
        for name in ("forked", "chosen"):
            snapshot = running[name].snapshot
            assert snapshot is not None
            assert snapshot.definitions == fresh.definitions
            assert snapshot.sources == fresh.sources
            assert snapshot.fingerprint == fresh.fingerprint
            assert snapshot.report["frameworks"] == fresh.report["frameworks"]
            assert snapshot.report["warnings"] == fresh.report["warnings"]
