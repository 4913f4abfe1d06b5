"""Which runs are kept, and how the others go."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from launched import journals, launching, one_op
from supervised import poll
from test_adoption import order

from supervisor.run_settings import NONE, RunSettings
from supervisor.runs.journal import Journal
from supervisor.runs.retention import Kept, doomed, remove

NOW = 1_000_000.0


def run(number: int, age: float | None, location: str = "team", size: int = 0) -> Kept:
    return Kept(f"r{number}", location, None if age is None else NOW - age, size)


@pytest.mark.parametrize(
    ("settings", "gone"),
    [
        (RunSettings(), []),
        (RunSettings(keep_count=2, keep_age=NONE), ["r1", "r2"]),
        (RunSettings(keep_count=NONE, keep_age=3000.0), ["r1"]),
        (RunSettings(keep_count=3, keep_age=2500.0), ["r1", "r2"]),
        (RunSettings(keep_count=0), ["r1", "r2", "r3"]),  # the last has only just ended
        (RunSettings(max_disk=40), ["r1"]),
        (RunSettings(max_disk=20), ["r1", "r2", "r3"]),
        (RunSettings(max_disk=0), ["r1", "r2", "r3", "r4"]),
        (RunSettings(max_disk=NONE, keep_count=NONE, keep_age=NONE), []),
    ],
)
def test_what_goes_goes_oldest_first_and_never_while_it_goes_on(
    settings: RunSettings, gone: list[str]
) -> None:
    runs = [run(5, None, size=10)]
    runs += [run(one, age, size=10) for one, age in ((4, 30), (3, 2000), (1, 4000), (2, 2800))]
    assert doomed(runs, settings, {}, NOW) == gone


def test_a_location_that_says_so_is_judged_apart() -> None:
    runs = [run(1, 4000), run(2, 3000), run(3, 2000, "other"), run(4, 1000, "other")]
    assert doomed(runs, RunSettings(keep_count=1), {}, NOW) == ["r1", "r2", "r3"]
    own = {"team": RunSettings(keep_count=NONE, keep_age=NONE)}
    assert doomed(runs, RunSettings(keep_count=1), own, NOW) == ["r3"]


def test_a_journal_is_none_from_the_first_moment_of_its_removal_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a")
    journal.create({"run": "a"})
    remove(journal.path)
    assert list(tmp_path.iterdir()) == []
    remove(journal.path)  # it is gone


def ended(folder: Path, ago: float) -> Journal:
    journal = order(folder, created=time.time() - ago)
    assert journal.finish("success", "", ended=time.time() - ago)
    return journal


async def test_old_journals_and_what_was_left_behind_are_removed(tmp_path, runtime):
    old, new = ended(tmp_path, 7200), ended(tmp_path, 1800)
    left = old.path.with_name(f".{old.path.name}.gone")
    left.mkdir()
    (left / "events").touch()
    async with launching(tmp_path, runtime, one_op("print('x')"), runs={"keep": "1h"}) as team:
        await poll(lambda: set(journals(tmp_path)) == {new.path.name}, "the removal")
        assert [one["run"] for one in (await team.ask("runs"))["runs"]] == [new.path.name]
        run = await team.launch()
        await team.ended(run)
        assert set(journals(tmp_path)) == {new.path.name, run}


async def test_journals_within_a_size(tmp_path, runtime):
    large, small = ended(tmp_path, 7200), ended(tmp_path, 3600)
    (large.path / "out.0").write_bytes(b"x" * 3 * 2**20)
    async with launching(tmp_path, runtime, one_op("print('x')"), runs={"max_disk": "2MiB"}):
        await poll(lambda: set(journals(tmp_path)) == {small.path.name}, "the removal")
