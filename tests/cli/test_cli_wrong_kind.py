"""A definition where one of another kind is wanted, and a name without its location: what is meant is told."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import TEAM, Foreground, foreground, supervise
from supervised import make_workspace

from supervisor.cli.terminal import Terminal

ASSETS = """

from runner_shim import asset

@asset
def raw():
    return 1

defs = Definitions(jobs=[nightly, hourly], schedules=[every_night], assets=[raw])
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreground]:
    folder = tmp_path_factory.mktemp("kinds")
    runtime = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    make_workspace(folder, {"team.py": TEAM + ASSETS})
    with foreground(folder, runtime) as one:
        assert supervise("wait", cwd=folder, runtime=runtime).returncode == 0
        yield one
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("launch team raw", 4, "hint: raw is an asset of team: `supervise launch team --assets raw`"),
        ("launch team --assets nightly", 4, "hint: nightly is a job of team: `supervise launch team nightly`"),
        ("launch team every_night", 4, "hint: every_night is a schedule of team: `supervise tick team every_night`"),
        ("tick team raw", 4, "hint: raw is an asset of team: `supervise launch team --assets raw`"),
        ("launch nightly", 2, "error: the LOCATION is missing: nightly is a job of team: `supervise launch team nightly`"),
        ("show nightly", 2, "error: the LOCATION is missing: nightly is a job of team: `supervise show team nightly`"),
        ("tick nightly", 4, "hint: nightly is a job of team: `supervise launch team nightly`"),
        ("automations off every_night", 2, "`supervise automations off team every_night`"),
        ("tick team", 2, "error: give a NAME: `supervise automations team` lists what there is"),
        ("show nigthly", 4, "error: no code location is named 'nigthly'"),
        ("runs failed", 4, "hint: runs in that state: `supervise runs --state failure`"),
        ("logs 01a21edf-53be-7af4", 4, "hint: that is a run: `supervise runs show 01a21edf-53be-7af4`"),
        ("env sycn", 2, "error: no such command 'sycn'; did you mean 'sync'?"),
        ("list team", 2, "error: team is a location and no kind: `supervise list -l team`"),
    ],
)  # fmt: skip
def test_what_was_meant_is_told(running: Foreground, words: str, status: int, said: str) -> None:
    done = supervise(*words.split(), cwd=running.cwd, runtime=running.runtime)
    assert said in done.stderr
    assert done.returncode == status


@pytest.mark.parametrize("group", ["env", "tokens", "keys", "runs", "automations"])
def test_a_group_alone_lists(running: Foreground, group: str) -> None:
    alone, listed = (
        supervise(*words, "--json", cwd=running.cwd, runtime=running.runtime)
        for words in ([group], [group, "list"])
    )
    assert alone.returncode == 0
    assert alone.stdout == listed.stdout


def test_the_source_line_of_an_error_has_no_label(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().error("syntax error in a.py line 2\n    jobs=[)\n          ^", "mend it")
    assert capsys.readouterr().err.splitlines() == [
        *("error: syntax error in a.py line 2", "    jobs=[)", "          ^", "hint: mend it"),
    ]


def test_without_a_supervisor_it_is_what_is_missing(tmp_path: Path, runtime: Path) -> None:
    done = supervise("tick", "nightly", cwd=tmp_path, runtime=runtime)
    assert done.stderr.splitlines()[0] == "error: give a LOCATION and a NAME"
    assert done.returncode == 2
