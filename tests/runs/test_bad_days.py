"""Runs that flood what they write to, beside others; journals that are cut, and the next supervisor."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from launched import HEAD, Launched, journals, launching, one_op
from monitored import output_size
from supervised import poll, supervising

from supervisor.runs.journal import Journal
from supervisor.runs.run import new_id

FLOODING = (
    HEAD
    + """
@op
def work():
    pass

@job
def nightly():
    work()

@op
def flood(context):
    while not os.path.exists("stop"):
        {line}

@job
def flooding():
    flood()
"""
)
CUT = ("order", "begun", "events", "final")


@pytest.mark.slow
@pytest.mark.parametrize("line", ["print('x' * 1000)", "context.log.info('x' * 100)"])
async def test_a_run_that_floods_holds_up_no_other(line, tmp_path, runtime):
    async with launching(tmp_path, runtime, FLOODING.format(line=line)) as team:
        flooding = await team.launch("flooding")
        journal = journals(tmp_path)[flooding]

        def flooded() -> bool:
            written = journal.path.joinpath("events")
            events = written.stat().st_size if written.exists() else 0
            return output_size(journal, "out") + events > 2 * 1024 * 1024

        await poll(flooded, "much of what it writes")
        for _ in range(3):
            assert (await team.ended(await team.launch()))["state"] == "success"
        assert (await team.row(flooding))["state"] == "running"
        (tmp_path / "stop").touch()
        assert (await team.ended(flooding))["state"] == "success"


def cut(journal: Journal, name: str, size: int) -> Path:
    """A copy of a journal under an id of its own, with one file of it cut."""
    made = shutil.copytree(journal.path, journal.path.with_name(new_id()))
    Journal(made).reorder({**(journal.order() or {}), "run": made.name})
    with (made / name).open("r+b") as file:
        file.truncate(size)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("ended", [True, False], ids=["ended", "under-way"])
async def test_a_journal_that_is_cut_anywhere_has_one_end(ended, tmp_path, runtime):
    module = one_op("print('done')")
    async with launching(tmp_path, runtime, module) as team:
        run = await team.launch()
        await team.ended(run)
    journal = journals(tmp_path)[run]
    made = {}
    for name in CUT if ended else CUT[:-1]:
        size = (journal.path / name).stat().st_size
        for left in sorted({0, 1, 8, size // 2, size - 1}):
            path = cut(journal, name, left)
            if not ended:
                (path / "final").unlink()
            made[path] = name, left
    finals: dict[Path, bytes] = {}
    for _ in range(2):
        async with supervising(tmp_path / "workspace.yaml", runtime) as running:
            await running.ready()
            team = Launched(running)
            for path, where in made.items():
                row = await team.ended(path.name)
                final = Journal(path).final()
                assert final is not None, where
                assert final["state"] == row["state"], where
                whole = (path / "final").read_bytes()
                assert finals.setdefault(path, whole) == whole, where
                assert [one async for one in team.news(path.name, events=0, out=0)], where
                assert not list(path.glob(".final*")), where
            told = await team.ask(
                "runs", location=None, states=[], parent=None, since=0.0, limit=100
            )
            assert {path.name for path in made} <= {one["run"] for one in told["runs"]}
