"""The start of a run where this process is short of something: no run stays in a state for ever."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from supervisor.processes.limits import Cgroups
from supervisor.processes.run_limits import RunLimits
from supervisor.runs.run import Run
from supervisor.runs.store import Runs

ORDER = {"location": "team", "job": "nightly", "tags": {}}


class NoDescriptors:
    """A place whose start fails as it does where this process has no descriptors left."""

    def can_start(self, location: str) -> str:
        return ""

    async def __call__(self, run: Run) -> str:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@contextlib.asynccontextmanager
async def opened(directory: Path, runtime: Path) -> AsyncIterator[Runs]:
    with contextlib.closing(Cgroups()) as cgroups:
        limits = RunLimits(cgroups)
        runs = Runs(
            directory / "runs",
            runtime / "runs.sock",
            NoDescriptors(),
            limits,
            lambda run: None,
            lambda: None,
        )
        await runs.open()
        try:
            yield runs
        finally:
            await runs.close()


async def test_a_start_that_fails_for_want_of_descriptors_fails_the_run(tmp_path, runtime):
    async with opened(tmp_path, runtime) as runs:
        run = await runs.launch(ORDER)
        await asyncio.wait_for(run.changed.wait(lambda: run.ended, 60), 60)
        assert (run.state, run.reason) == ("failure", "it cannot be started: too many open files")
        assert runs.living() == []


async def test_a_journal_that_cannot_be_opened_is_looked_at_again(tmp_path, runtime):
    """The look from time to time takes on what could not be read when it was found."""
    async with opened(tmp_path, runtime) as runs:
        run = await runs.launch(ORDER)
        await asyncio.wait_for(run.changed.wait(lambda: run.ended, 60), 60)
    journal = run.journal.path
    (journal / "final").unlink()
    lock = journal / "monitor.lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(lock.name)  # opening it fails: too many levels of links
    async with opened(tmp_path, runtime) as runs:
        (again,) = runs.living()
        assert not again.ended
        lock.unlink()
        await asyncio.wait_for(again.changed.wait(lambda: again.ended, 60), 60)
        assert again.state == "failure"
    shutil.rmtree(journal)
