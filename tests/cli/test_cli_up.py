"""``supervise up -d``: a supervisor in the background, and what is told of one that does not come up."""

from __future__ import annotations

import os
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commands import BROKEN, TEAM, supervise, supervise_json
from supervised import make_workspace, poll_now


def test_it_returns_once_it_serves_and_goes_on(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    log = tmp_path / ".supervise" / "workspace.yaml" / "output.log"
    done = supervise("up", "-d", cwd=tmp_path, runtime=runtime)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith(f"; output in {log}\n")
        assert "next: `supervise wait`" in done.stderr
        assert supervise("wait", "--timeout", "60", cwd=tmp_path, runtime=runtime).returncode == 0
        document = supervise_json("status", cwd=tmp_path, runtime=runtime)
        pid = document["supervisor"]["pid"]
        assert f"is supervised by pid {pid};" in done.stdout
        assert os.getsid(pid) == pid  # a session of its own
        again = supervise("up", "-d", cwd=tmp_path, runtime=runtime)
        assert (again.returncode, again.stdout) == (
            0,
            f"workspace.yaml is supervised already, by pid {pid}\n",
        )
        assert log.parent.stat().st_mode & 0o777 == 0o700
    finally:
        ended = supervise("shutdown", cwd=tmp_path, runtime=runtime)
    assert ended.returncode == 0
    assert "team: ready" in log.read_text()
    assert "supervise: everything has stopped" in log.read_text()


@pytest.mark.slow
def test_of_two_that_are_started_at_once_one_says_that_it_runs_already(
    tmp_path: Path, runtime: Path
) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(supervise, "up", "-d", cwd=tmp_path, runtime=runtime) for _ in range(2)]
        done = [one.result() for one in both]
    assert supervise("shutdown", cwd=tmp_path, runtime=runtime).returncode == 0
    assert [one.returncode for one in done] == [0, 0], done
    assert len([one for one in done if "supervised already" in one.stdout]) == 1


@pytest.mark.slow
def test_its_output_is_bounded(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    log = tmp_path / ".supervise" / "workspace.yaml" / "output.log"
    log.parent.mkdir(parents=True, mode=0o700)
    too_much = b"x" * (10 * 1024 * 1024 + 1)
    log.write_bytes(too_much)
    assert supervise("up", "-d", cwd=tmp_path, runtime=runtime).returncode == 0
    try:
        assert supervise("wait", "--timeout", "60", cwd=tmp_path, runtime=runtime).returncode == 0
        older = log.with_name("output.log.1")
        poll_now(lambda: "team: ready" in log.read_text(), "it goes on in an empty file")
        assert older.read_bytes() == too_much
        with log.open("ab") as stream:
            stream.write(too_much)
        assert supervise("reload", "team", cwd=tmp_path, runtime=runtime).returncode == 0
        poll_now(lambda: log.stat().st_size < 10_000, "while it runs, too")
        assert older.read_bytes().endswith(b"x")
    finally:
        assert supervise("shutdown", cwd=tmp_path, runtime=runtime).returncode == 0
    assert "everything has stopped" in log.read_text()


@pytest.mark.slow
def test_with_a_web_page_it_says_where_that_is(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    done = supervise("up", "-d", "--web-port", "0", cwd=tmp_path, runtime=runtime)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        _, page = done.stdout.splitlines()
        if "starting" not in page:  # a machine under load takes longer than the command waits
            _, _, url = page.partition("supervise web: ")
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert answer.status == 200
        again = supervise("up", "-d", "--web", cwd=tmp_path, runtime=runtime)
        assert again.stderr.splitlines() == ["hint: `supervise web` serves its page"]
    finally:
        ended = supervise("shutdown", cwd=tmp_path, runtime=runtime)
    assert ended.returncode == 0


def test_one_that_cannot_start_says_why(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": BROKEN})
    wrong = supervise("up", "-d", "--listen", "tcp://nowhere", cwd=tmp_path, runtime=runtime)
    assert wrong.returncode != 0
    assert "error: the supervisor of workspace.yaml has ended" in wrong.stderr
    assert len(wrong.stderr.splitlines()) > 2  # its own words below
    (tmp_path / "workspace.yaml").write_text("load_from: 1\n")
    broken = supervise("up", "-d", cwd=tmp_path, runtime=runtime)
    assert (broken.returncode, "workspace.yaml:1:12" in broken.stderr) == (2, True)
