"""How a framework's own records hear of a run that had no time to tell them itself."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from launched import Launched, launching, one_op
from monitored import ended, loaded
from supervised import poll

from runner_shim import records
from supervisor.runs.journal import Journal, boot_id
from supervisor.runs.run import new_id

# As the run's process says it (runner_shim/process/run.py), with what a user's code can reach.
KILLED = """
    from runner_shim import records
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.readlink("/proc/self/fd/" + name).startswith("pipe"):
                os.write(int(name), records.framed(records.pack({"recorded": "acme"})))
        except OSError:
            pass
    os.kill(os.getpid(), 9)
    """
REPORTER = """\
import json, os, sys
start = json.loads(sys.stdin.readline())
with open("heard", "w") as file:
    json.dump({"report": start["report"], "secret": os.environ["SECRET"]}, file)
if len(sys.argv) > 1:
    sys.exit(sys.argv[1])
"""


@pytest.mark.parametrize("trouble", [[], ["the database is away"]])
def test_the_monitor_has_it_told(tmp_path, trouble):
    program = tmp_path / "report.py"
    program.write_text(f"import os\nos.chdir({str(tmp_path)!r})\n{REPORTER}")
    with loaded(tmp_path, one_op(KILLED)) as team:
        journal, request = team.order()
        prepared = {
            "command": [sys.executable, str(program), *trouble],
            "environ": {"SECRET": "hush", "WS_TEST_TOKENER": team.marker},
            "start": {"v": 1, "overlay": None, "report": {"order": {"run_id": "x"}}, "target": {}},
        }
        assert team.fork({**request, "reporter": json.dumps(prepared)}) == ""
        final = ended(journal)
        assert (final["state"], final["untold"]) == ("failure", "acme")
        heard = json.loads((tmp_path / "heard").read_text())
        assert heard["secret"] == "hush"
        assert heard["report"] == {
            "order": {"run_id": "x"},
            "framework": "acme",
            "state": "failure",
            "reason": "its process was killed by SIGKILL in step 'work'",
            "seconds": 20.0,
        }
        assert journal.told() == (not trouble)
        assert journal.untold_because() == "".join(trouble)
        assert not [one for one in journal.path.iterdir() if b"hush" in one.read_bytes()]


def test_a_monitor_that_was_given_nothing_to_tell_it_with_leaves_it_to_a_supervisor(tmp_path):
    with loaded(tmp_path, one_op(KILLED)) as team:
        journal = team.launch()
        assert ended(journal)["untold"] == "acme"
        assert not journal.told()


def lost(folder: Path, framework: str) -> Journal:
    """The journal of a run that ended with its monitor, and is recorded elsewhere, too."""
    runs = folder / ".supervise" / "workspace.yaml" / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    name = new_id()
    journal = Journal(runs / name)
    instance = folder / "instance"
    instance.mkdir(exist_ok=True)
    journal.create(
        {
            "format": 1, "run": name, "location": "team", "job": "nightly", "config": {},
            "tags": {}, "boot": boot_id(), "created": time.time(), "grace": 5.0, "timeout": None,
            "notify": str(folder / "nobody"), "instance": str(instance),
        }
    )  # fmt: skip
    (journal.path / "begun").touch()
    data = records.framed(records.pack({"framework": framework}))
    (journal.path / "recorded").write_bytes(data)
    return journal


async def told(team: Launched, journal: Journal) -> None:
    await poll(journal.told, "it was told")
    await poll(lambda: team.running.daemon.work.runs.get(journal.path.name).told, "it is known")


async def test_a_supervisor_has_it_told_of_a_run_that_is_lost(tmp_path, runtime):
    journal = lost(tmp_path, "acme")
    async with launching(tmp_path, runtime, one_op("pass")) as team:
        row = await team.ended(journal.path.name)
        assert row["state"] == "lost"
        await told(team, journal)
        assert (await team.row(journal.path.name))["untold"] is None


@pytest.mark.slow
async def test_what_cannot_be_told_is_shown_and_told_when_the_location_serves_anew(
    tmp_path, runtime
):
    journal = lost(tmp_path, "dagster")
    name = journal.path.name
    async with launching(tmp_path, runtime, one_op("pass")) as team:
        await team.ended(name)
        runs = team.running.daemon.work.runs
        await poll(lambda: runs.get(name).untold_because, "it was tried")
        row = await team.row(name)
        assert row["untold"] == "dagster"
        assert "No module named 'dagster'" in row["untold_because"]
        # Its records are gone: there is nothing to tell any more.
        (tmp_path / "instance").rmdir()
        await team.ask("reload", locations=["team"])
        await told(team, journal)
        assert (await team.row(name))["untold"] is None
