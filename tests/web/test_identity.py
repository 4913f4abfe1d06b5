"""Which workspace a page belongs to: one for life, whichever supervisors come and go."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from commands import Foreground, foreground, supervise
from supervised import job, make_workspace, poll_now, save

from .site import Page, Visitor


@contextlib.contextmanager
def page_in(cwd: Path, runtime: Path, *arguments: str) -> Iterator[Page]:
    page = Page(cwd, runtime, *arguments)
    try:
        yield page
    finally:
        page.end()


@contextlib.contextmanager
def running_in(folder: Path, runtime: Path, *arguments: str) -> Iterator[Foreground]:
    with foreground(folder, runtime, *arguments) as running:
        running.until(lambda line: ": ready in" in line)
        yield running


def answers(page: Visitor) -> bool:
    return page.get("/api/v1/status").status == 200


def states(running: Foreground) -> dict[str, str]:
    return {one["name"]: one["state"] for one in running.json("status")["locations"]}


@pytest.mark.slow
def test_a_page_does_not_become_anothers_when_its_supervisor_ends(
    tmp_path: Path, runtime: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    ours = make_workspace(first, {"shared.py": job("one")})
    make_workspace(second, {"shared.py": job("two")})
    with (
        running_in(second, runtime) as other,
        running_in(first, runtime),
        page_in(first, runtime) as page,
    ):
        poll_now(lambda: answers(page), "the page shows its own")
        document = page.api("/status")
        assert document["workspace"] == {
            "name": str(ours),
            "directory": str(first),
            "key": "workspace.yaml",
        }
        assert str(ours) in page.get("/").text
        assert supervise("shutdown", cwd=first, runtime=runtime).returncode == 0
        poll_now(lambda: not answers(page), "the page has lost its own")
        gone = page.get("/api/v1/status")
        assert gone.json()["error"]["code"] == "not_running"
        assert str(ours) in gone.json()["error"]["message"]
        # Buttons and programs alike: what they order is not for the one that is left.
        stop = {"order": "stop", "locations": ["shared"]}
        assert page.post("/api/v1/orders", stop).status == 503
        body = urlencode({"order": "stop", "location": "shared"}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": page.url}
        page.ask("/orders", method="POST", body=body, headers=headers)
        assert states(other) == {"shared": "ready"}
        with running_in(first, runtime):  # and it finds its own again
            poll_now(lambda: answers(page), "the page shows its own again")
            assert page.api("/status")["workspace"]["directory"] == str(first)


@pytest.mark.slow
def test_a_page_where_nothing_stands_keeps_the_one_that_it_took(
    tmp_path: Path, runtime: Path
) -> None:
    first, second, nowhere = tmp_path / "first", tmp_path / "second", tmp_path / "nowhere"
    nowhere.mkdir()
    ours = make_workspace(first, {"one.py": job("one")})
    theirs = make_workspace(second, {"two.py": job("two")})
    none = supervise("web", "--port", "0", cwd=nowhere, runtime=runtime)
    assert (none.returncode, none.stdout) == (3, "")
    assert none.stderr.startswith(f"error: no workspace file is in {nowhere} or above")
    with running_in(first, runtime) as running, contextlib.ExitStack() as later:
        page = later.enter_context(foreground(nowhere, runtime, "web", "--port", "0"))
        assert str(ours) in page.until(lambda line: "stays so" in line)
        visitor = Visitor(page.until(lambda line: "http://" in line).split()[-1])
        poll_now(lambda: answers(visitor), "the page shows the only one")
        later.enter_context(running_in(second, runtime))
        several = supervise("web", "--port", "0", cwd=nowhere, runtime=runtime)
        assert several.returncode == 3
        assert str(ours) in several.stderr and str(theirs) in several.stderr
        assert running.end() == 0
        poll_now(lambda: not answers(visitor), "the page has lost it")
        error = visitor.get("/api/v1/status").json()["error"]
        assert (error["code"], str(ours) in error["message"]) == ("not_running", True)


@pytest.mark.slow
def test_the_page_beside_a_supervisor_is_that_supervisors(tmp_path: Path, runtime: Path) -> None:
    # What a search would find from here is another workspace than the one that is run.
    make_workspace(tmp_path, {"wrong.py": job("wrong")})
    save(tmp_path / "meant.yaml", "load_from: [{python_file: right.py}]\n")
    (tmp_path / "right.py").write_text(job("right"))
    arguments = ("-w", "meant.yaml", "--web-port", "0")
    with foreground(tmp_path, runtime, *arguments) as running:
        url = running.until(lambda line: line.startswith("supervise web: http")).split()[-1]
        page = Visitor(url)
        poll_now(lambda: answers(page), "the page shows its supervisor")
        assert page.api("/status")["workspace"]["name"] == str(tmp_path / "meant.yaml")
        assert page.api("/status")["supervisor"]["pid"] == running.pid


@pytest.mark.slow
def test_a_page_of_flags_that_make_no_sense_does_not_start(tmp_path: Path, runtime: Path) -> None:
    done = supervise("web", "--port", "0", "-a", "defs", cwd=tmp_path, runtime=runtime)
    assert (done.returncode, done.stdout) == (2, "")
    assert "-a needs a target" in done.stderr
