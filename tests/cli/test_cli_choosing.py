"""Several locations at once: by name, pattern, tag and state, in status, orders and logs."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from commands import BROKEN, COMMAND, TEAM, Foreground, foreground, variables
from workspaces import refused

WORKSPACE = """\
defaults: {tags: {owner: data}}
load_from:
  - python_file: {relative_path: team.py, location_name: risk-a, tags: [night, team=risk]}
  - python_file: {relative_path: other.py, location_name: risk-b, tags: {team: risk}}
  - python_file: {relative_path: broken.py, location_name: ml, tags: {team: ml}}
  - grpc_server: {host: elsewhere.example, port: 4266, location_name: far}
"""
OTHER = TEAM.replace("team was loaded", "OTHER was loaded")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreground]:
    runtime = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    folder = tmp_path_factory.mktemp("choosing")
    for name, text in {"team.py": TEAM, "other.py": OTHER, "broken.py": BROKEN}.items():
        (folder / name).write_text(text)
    (folder / "workspace.yaml").write_text(WORKSPACE)
    with foreground(folder, runtime) as running:
        running.until(lambda line: line.startswith("ml: failed"))
        running.read_on()
        running.run("wait", "--timeout", "60")
        yield running
    shutil.rmtree(runtime, ignore_errors=True)


def shown(live: Foreground, *words: str) -> list[str]:
    return [one["name"] for one in live.json("status", *words)["locations"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["risk-a", "risk-b", "ml", "far"]),
        (["risk-*"], ["risk-a", "risk-b"]),
        (["m?", "risk-b"], ["risk-b", "ml"]),
        (["--tag", "team=risk"], ["risk-a", "risk-b"]),
        (["--tag", "team"], ["risk-a", "risk-b", "ml"]),
        (["--tag", "team", "--tag", "night"], ["risk-a"]),
        (["--tag", "owner=data", "--state", "failed"], ["ml"]),
        (["--state", "failed", "--state", "elsewhere"], ["ml", "far"]),
        (["--sort", "name"], ["far", "ml", "risk-a", "risk-b"]),
        (["risk-*", "--state", "failed"], []),
    ],
)
def test_status_of_some(live: Foreground, words: list[str], expected: list[str]) -> None:
    assert shown(live, *words) == expected


def test_the_worst_and_the_largest_come_first(live: Foreground) -> None:
    assert shown(live, "--sort", "state")[0] == "ml"
    assert shown(live, "--sort", "memory")[-1] in ("ml", "far")
    assert len(shown(live, "--sort", "since")) == 4


def test_the_exit_status_is_of_what_is_shown(live: Foreground) -> None:
    assert live.run("status").returncode == 1
    done = live.run("status", "risk-*")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split()[:3] == ["●", "risk-a", "ready"]
    done = live.run("status", "risk-*", "--state", "failed")
    assert (done.returncode, done.stdout) == (0, "no location is in this state\n")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["x*"], "no code location matches 'x*'", "there are risk-a, risk-b, ml, far"),
        (["risk-*", "risc-a"], "no code location is named 'risc-a'", "did you mean risk-a?"),
        (
            ["--tag", "teem=risk"],
            "no code location has the tag 'teem=risk'",
            "did you mean team=risk?",
        ),
        (
            ["--tag", "x"],
            "no code location has the tag 'x'",
            "there are night, owner=data, team=ml, team=risk",
        ),
    ],
)
@pytest.mark.parametrize("command", ["status", "reload", "logs"])
def test_what_is_not_there(
    live: Foreground, command: str, words: list[str], message: str, hint: str
) -> None:
    done = live.run(command, *words)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == f"error: {message}\nhint: {hint}\n"


def test_orders_by_tag_and_pattern(live: Foreground) -> None:
    done = live.run("reload", "--tag", "team=risk", "--json")
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["locations"]) == ["risk-a", "risk-b"]
    done = live.run("restart", "risk-?", "--tag", "night", "--no-wait")
    assert done.stdout.startswith("risk-a: ")
    assert len(done.stdout.splitlines()) == 1
    done = live.run("wait", "--tag", "team=risk", "--timeout", "60")
    assert (done.returncode, done.stderr) == (0, "2 locations ready\n")
    done = live.run("reload")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2, "error: name the locations, or use --tag or --all",
    )  # fmt: skip
    done = live.run("reload", "f*")
    assert done.returncode == 4
    assert "all of these are served elsewhere" in done.stderr


def test_tags_are_told(live: Foreground) -> None:
    (one,) = live.json("status", "risk-a")["locations"]
    assert one["tags"] == {"owner": "data", "night": "", "team": "risk"}
    assert "Tags: owner=data, night, team=risk" in live.run("status", "risk-a").stdout


def test_logs_of_several_in_one_order(live: Foreground) -> None:
    done = live.run("logs", "-n", "1000")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {line.split(" | ")[0].strip() for line in lines} == {"risk-a", "risk-b", "ml"}
    stamps = [line.split(" | ")[1][:23] for line in lines]
    assert stamps == sorted(stamps)
    rows = [json.loads(line) for line in live.run("logs", "risk-*", "--json").stdout.splitlines()]
    assert {row["location"] for row in rows} == {"risk-a", "risk-b"}
    assert set(rows[0]) == {"location", "time", "stream", "text"}


def test_logs_by_text_and_time(live: Foreground) -> None:
    def texts(*words: str) -> set[str]:
        rows = live.run("logs", "--json", *words).stdout.splitlines()
        return {json.loads(row)["text"] for row in rows}

    assert texts("--grep", "WAS lo+aded") == set()
    assert texts("-g", "OTHER") == {"OTHER was loaded"}
    assert texts("-g", "was lo+aded", "risk-*") == {"OTHER was loaded", "team was loaded"}
    assert texts("--since", "1d", "-g", "other was") == {"OTHER was loaded"}
    assert texts("--since", "0.000001s", "risk-a") == set()
    rows = live.run("logs", "-g", "was loaded", "-n", "1", "--tag", "team=risk").stdout
    assert len(rows.splitlines()) == 1
    done = live.run("logs", "-g", "(")
    assert done.returncode == 2
    assert "is no regular expression" in done.stderr


def test_several_logs_are_followed(live: Foreground) -> None:
    following = subprocess.Popen(
        [*COMMAND, "logs", "risk-*", "-n", "1", "-f", "-g", "was loaded"],
        cwd=live.cwd,
        env=variables(live.runtime),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert following.stdout is not None
        # The last line that there was: from now on none is missed.
        assert "was loaded" in following.stdout.readline()
        assert live.run("reload", "risk-*").returncode == 0
        heard: set[str] = set()
        while heard != {"risk-a", "risk-b"}:
            heard.add(following.stdout.readline().split(" | ")[0])
        following.send_signal(signal.SIGINT)
        assert following.wait(60) == 130
    finally:
        following.kill()
        following.wait()
        following.stdout.close()


def test_some_are_watched_in_a_pipe(live: Foreground) -> None:
    watching = subprocess.Popen(
        [*COMMAND, "status", "risk-*", "--state", "stopped", "--watch"],
        cwd=live.cwd,
        env=variables(live.runtime),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watching.stdout is not None
        assert "2 locations of" in watching.stdout.readline()
        assert live.run("stop", "risk-b").returncode == 0
        while not watching.stdout.readline().startswith("risk-b: stopped"):
            pass
        assert live.run("start", "risk-b").returncode == 0
        seen = ""
        while not seen.startswith("risk-b: ready"):
            seen = watching.stdout.readline()
            assert "removed" not in seen
    finally:
        watching.send_signal(signal.SIGINT)
        watching.wait(60)
        watching.stdout.close()


def test_bad_tags_are_refused(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text(
        dedent(
            """
            load_from:
              - python_file: {relative_path: a.py, tags: [x, 5]}
              - python_file: {relative_path: b.py, tags: {"a=b": c}}
              - python_file: {relative_path: c.py, tags: night}
            """
        )
    )
    first, second, third = refused(tmp_path)
    assert "the number 5 does not fit here; expected a name, or name=value" in first
    assert 'the name "a=b" cannot name a tag' in second
    assert "expected a map of names to texts, or a list of names and name=value" in third
