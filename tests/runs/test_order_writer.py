"""Orders that come at once are written together, and each succeeds or fails alone."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from supervised import DEADLINE

from supervisor.runs.journal import Journal
from supervisor.runs.left import read_runs
from supervisor.runs.order_writer import OrderWriter


async def test_many_at_once_are_all_there_and_the_bad_ones_are_named(tmp_path: Path) -> None:
    directory, instance = tmp_path / "runs", tmp_path / "instances" / "team"
    writer = OrderWriter(directory)
    names = [f"run-{number}" for number in range(200)]
    orders = {name: {"run": name, "instance": str(instance)} for name in names}
    taken, unfit = names[7], names[70]
    Journal(directory / taken).path.mkdir(parents=True)
    (directory / taken / "order").touch()
    orders[unfit]["config"] = object()  # type: ignore[assignment]
    async with asyncio.timeout(DEADLINE):
        outcomes = await asyncio.gather(
            *(writer.create(Journal(directory / name), orders[name]) for name in names),
            return_exceptions=True,
        )
    failed = {
        name: outcome for name, outcome in zip(names, outcomes, strict=True) if outcome is not None
    }
    assert failed.keys() == {taken, unfit}
    assert isinstance(failed[taken], OSError)
    assert not isinstance(failed[unfit], OSError)
    assert instance.is_dir()
    assert {path.name for path in directory.iterdir()} == set(names) - {unfit}
    for name in names:
        if name not in failed:
            assert Journal(directory / name).order() == orders[name]


async def test_what_is_refused_is_not_started_by_the_next_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "runs"
    directory.mkdir()
    fsync = os.fsync

    def bad_disk(file: int) -> None:
        if os.fstat(file).st_ino == directory.stat().st_ino:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(file)

    monkeypatch.setattr(os, "fsync", bad_disk)
    writer = OrderWriter(directory)
    journals = [Journal(directory / name) for name in ("a", "b", "c")]
    outcomes = await asyncio.gather(
        *(writer.create(one, {"run": one.path.name}) for one in journals), return_exceptions=True
    )
    assert [getattr(one, "errno", one) for one in outcomes] == [errno.EIO] * 3
    with pytest.raises(OSError, match="Input/output"):
        Journal(directory / "d").create({"run": "d"})
    assert read_runs(directory) == []
    assert list(directory.iterdir()) == []


async def test_one_whose_caller_is_cancelled_holds_up_no_other(tmp_path: Path) -> None:
    directory = tmp_path / "runs"
    writer = OrderWriter(directory)
    first, second, third = (
        asyncio.create_task(writer.create(Journal(directory / name), {"run": name}))
        for name in ("a", "b", "c")
    )
    await asyncio.sleep(0)
    second.cancel()
    async with asyncio.timeout(DEADLINE):
        await first
        await third
    with pytest.raises(asyncio.CancelledError):
        await second
    assert Journal(directory / "c").order() == {"run": "c"}
