"""``supervise launch`` without a supervisor that runs, as CI uses it."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from commands import COMMAND, supervise, variables
from launched import journals
from monitored import one_op
from supervised import DEADLINE, make_workspace

ENDLESS = """
    print("running", flush=True)
    try:
        time.sleep(1000)
    finally:
        print("cleaned up", flush=True)
    """


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "team.py": one_op("print('done', os.environ.get('DAGSTER_HOME'))"),
        "other.py": one_op("pass", "open('loaded', 'w').close()"),
        "endless.py": one_op(ENDLESS),
        "broken.py": "syntax error here",
    }
    make_workspace(tmp_path, files, {name[:-3]: {} for name in files})
    return tmp_path


def launch(folder: Path, runtime: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return supervise(*arguments, cwd=folder, runtime=runtime)


def test_only_the_location_of_the_run_is_started(folder: Path, runtime: Path) -> None:
    done = launch(folder, runtime, "launch", "--standalone", "team", "nightly")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "done None"
    assert "success in" in done.stdout.splitlines()[-1]
    assert "team: ready" in done.stderr
    assert not (folder / "loaded").exists()
    assert len(journals(folder)) == 1
    assert launch(folder, runtime, "status").returncode == 3


def test_a_file_is_launched_without_a_workspace(folder: Path, runtime: Path) -> None:
    done = launch(folder, runtime, "-f", "team.py", "launch", "nightly", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "success"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["tem", "nightly"], 4, "did you mean team?"),
        (["team", "nightli"], 4, "did you mean nightly?"),
        (["team", "nightly", "--set", "oops=1"], 2, "oops"),
        (["broken", "nightly"], 4, "broken has no process to run nightly: it is failed"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else str(one)[:20],
)
def test_what_cannot_be_run_is_refused(
    arguments: list[str], status: int, text: str, folder: Path, runtime: Path
) -> None:
    done = launch(folder, runtime, "launch", "--standalone", *arguments)
    assert done.returncode == status, done.stderr
    assert text in done.stderr
    assert ("loading" in done.stderr) is (arguments[0] != "tem")
    assert journals(folder) == {}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_run_and_ends_all(
    number: signal.Signals, folder: Path, runtime: Path
) -> None:
    with subprocess.Popen(
        [*COMMAND, "launch", "--standalone", "endless", "nightly"],
        cwd=folder,
        env=variables(runtime),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "running\n"
        command.send_signal(number)
        out, err = command.communicate(timeout=DEADLINE)
    assert command.returncode == 1, err
    assert "cleaned up" in out
    (journal,) = journals(folder).values()
    final = journal.final()
    assert final is not None
    assert final["state"] == "cancelled"
