"""Orders and looks where another supervisor runs: who is meant, who is never touched."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import COMMAND, Foreground, foreground, supervise, variables
from supervised import child_process, environ, job, make_workspace, save

from supervisor import AsyncClient, Client, NotRunningError

ORDERS = [
    ["reload", "--all"],
    ["restart", "--all"],
    ["stop", "--all"],
    ["start", "--all"],
    ["stop", "team"],
    ["wait", "--timeout", "0"],
    ["shutdown"],
    ["shutdown", "--now"],
]
LOOKS = [["status"], ["list"], ["logs", "team"], ["history", "team"], ["snapshot", "team"]]
PROJECT = '[project]\nname = "x"\nversion = "1"\n[tool.dagster]\nmodule_name = "team"\n'


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreground]:
    """The only supervisor that runs; no test may change anything in it."""
    runtime = Path(tempfile.mkdtemp(prefix="ws", dir="/tmp"))
    folder = tmp_path_factory.mktemp("other")
    make_workspace(folder, {"team.py": job("theirs")})
    with foreground(folder, runtime) as running:
        running.until(lambda line: line.startswith("team: ready in"))
        yield running
    shutil.rmtree(runtime, ignore_errors=True)


def untouched(other: Foreground) -> None:
    """Fails unless it runs as it was begun."""
    (team,) = other.json("status")["locations"]
    assert (team["state"], team["generation"], team["restarts"]) == ("ready", 1, 0)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ORDERS, ids=" ".join)
def test_an_order_where_an_unsupervised_workspace_stands(
    other: Foreground, tmp_path: Path, arguments: list[str]
) -> None:
    ours = make_workspace(tmp_path, {"team.py": job("ours")})
    below = tmp_path / "deep" / "down"
    below.mkdir(parents=True)
    for cwd in (tmp_path, below):
        done = supervise(*arguments, cwd=cwd, runtime=other.runtime)
        assert (done.returncode, done.stdout) == (3, "")
        error, hint = done.stderr.splitlines()
        assert error == f"error: no supervisor is running for {ours}"
        path = other.cwd / "workspace.yaml"
        other_one = f"the only supervisor runs for {path}: choose it with -w {path}"
        assert hint == f"hint: start one with `supervise`; {other_one}"
    untouched(other)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ORDERS, ids=" ".join)
def test_an_order_where_nothing_stands(
    other: Foreground, tmp_path: Path, arguments: list[str]
) -> None:
    done = supervise(*arguments, cwd=tmp_path, runtime=other.runtime)
    assert (done.returncode, done.stdout) == (3, "")
    error, hint = done.stderr.splitlines()
    assert error == f"error: no workspace file is in {tmp_path} or above, and none was named"
    assert str(other.cwd / "workspace.yaml") in hint
    untouched(other)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", LOOKS, ids=" ".join)
def test_a_look_takes_a_guess_only_where_nothing_stands(
    other: Foreground, tmp_path: Path, arguments: list[str]
) -> None:
    theirs = str(other.cwd / "workspace.yaml")
    guessed = supervise(*arguments, cwd=tmp_path, runtime=other.runtime)
    assert guessed.returncode == 0, guessed.stderr
    assert guessed.stderr.splitlines() == [
        f"no workspace file in {tmp_path} or above: using the only running supervisor, {theirs}"
    ]
    ours = make_workspace(tmp_path, {"team.py": job("ours")})
    refused = supervise(*arguments, cwd=tmp_path, runtime=other.runtime)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr.splitlines()[0] == f"error: no supervisor is running for {ours}"
    assert theirs in refused.stderr


@pytest.mark.slow
def test_a_project_stands_here_too(other: Foreground, tmp_path: Path) -> None:
    save(tmp_path / "pyproject.toml", PROJECT)
    for command in (["status"], ["stop", "--all"], ["shutdown"]):
        done = supervise(*command, cwd=tmp_path, runtime=other.runtime)
        assert done.returncode == 3
        assert str(tmp_path / "pyproject.toml") in done.stderr
    # One that is not for us is no workspace: then nothing stands here.
    save(tmp_path / "pyproject.toml", '[project]\nname = "x"\nversion = "1"\n')
    assert supervise("status", cwd=tmp_path, runtime=other.runtime).returncode == 0
    assert supervise("stop", "--all", cwd=tmp_path, runtime=other.runtime).returncode == 3
    untouched(other)


@pytest.mark.slow
def test_shutdown_of_what_was_named_and_does_not_run_is_well(
    other: Foreground, tmp_path: Path
) -> None:
    ours = make_workspace(tmp_path, {"team.py": job("ours")})
    for where in (
        ["shutdown", "-w", ours],
        ["-w", ours, "shutdown"],
        ["-f", "team.py", "shutdown"],
    ):
        done = supervise(*where, cwd=tmp_path, runtime=other.runtime)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert "no supervisor is running" in done.stderr
    untouched(other)


def test_shutdown_where_nothing_stands_and_nothing_runs_is_well(
    tmp_path: Path, runtime: Path
) -> None:
    done = supervise("shutdown", cwd=tmp_path, runtime=runtime)
    assert (done.returncode, done.stderr) == (0, "no supervisor is running\n")
    waited = supervise("wait", cwd=tmp_path, runtime=runtime)  # at once: there is nothing to come
    assert waited.returncode == 3


async def test_both_clients_refuse_orders_on_a_guess(other: Foreground, tmp_path: Path) -> None:
    env = environ(other.runtime)
    with Client(directory=tmp_path, environ=env) as client:
        assert client.status()["locations"][0]["name"] == "team"
        for order in (client.reload, client.restart, client.stop, client.start, client.wait):
            with pytest.raises(NotRunningError, match="none was named") as refused:
                order()
            assert refused.value.nothing_here
            assert refused.value.others == (str(other.cwd / "workspace.yaml"),)
        with pytest.raises(NotRunningError):
            client.shutdown()
    async with AsyncClient(directory=tmp_path, environ=env) as other_client:
        assert (await other_client.status())["locations"]
        with pytest.raises(NotRunningError, match="none was named"):
            await other_client.stop("team")
        with pytest.raises(NotRunningError, match="none was named"):
            await other_client.shutdown()
    ours = make_workspace(tmp_path, {"team.py": job("ours")})
    with pytest.raises(NotRunningError, match=str(ours)):
        Client(directory=tmp_path, environ=env)
    untouched(other)


def test_completion_may_guess(other: Foreground, tmp_path: Path) -> None:
    done = supervise(
        cwd=tmp_path,
        runtime=other.runtime,
        _SUPERVISE_COMPLETE="bash_complete",
        COMP_WORDS="supervise stop te",
        COMP_CWORD="2",
    )
    assert (done.stdout.split(), done.stderr) == (["plain,team"], "")


@pytest.mark.slow
def test_wait_waits_for_the_supervisor_that_is_being_started(
    other: Foreground, tmp_path: Path
) -> None:
    ours = make_workspace(tmp_path, {"mine.py": job("ours")})
    with child_process(
        [*COMMAND, "wait", "--json"],
        cwd=tmp_path,
        env=variables(other.runtime),
        stdout=-1,
        stderr=-1,
        text=True,
    ) as waiting:
        with foreground(tmp_path, other.runtime) as running:
            said, errors = waiting.communicate(timeout=60)
            assert waiting.returncode == 0, errors
            assert '"mine": "ready"' in said
            assert running.run("shutdown").returncode == 0
        assert ours.exists()
    untouched(other)


@pytest.mark.slow
def test_one_workspace_has_one_name_whichever_way_one_comes_to_it(
    other: Foreground, tmp_path: Path
) -> None:
    real = tmp_path / "real" / "place"
    ours = make_workspace(real, {"a.py": job("a"), "b.py": job("b")}, {"a": {}})
    (real / "more.yaml").write_text("load_from: [{python_file: b.py}]\n")
    link = tmp_path / "link"
    link.symlink_to(real)
    below = real / "below"
    below.mkdir()
    with foreground(link, other.runtime, PWD=str(link)) as running:
        running.until(lambda line: line.startswith("a: ready in"))
        for cwd, where in (
            (real, []),
            (link, []),
            (below, []),
            (link / "below", []),
            (tmp_path, ["-w", "link/workspace.yaml"]),
            (tmp_path, ["-w", str(ours)]),
            (below, ["-w", "../workspace.yaml"]),
        ):
            done = supervise("wait", *where, cwd=cwd, runtime=other.runtime, PWD=str(cwd))
            assert (done.returncode, done.stderr) == (0, "1 location ready\n"), (cwd, where)
        # Others of this directory are other workspaces, and their orders do not reach this one.
        both = ["-w", "workspace.yaml", "-w", "more.yaml"]
        for where in (both, ["-w", "more.yaml"], ["-f", "a.py"]):
            done = supervise(*where, "stop", "--all", cwd=real, runtime=other.runtime)
            assert done.returncode == 3, done.stderr
        assert running.run("status").returncode == 0
    with foreground(real, other.runtime, *both) as running:
        running.until(lambda line: line.startswith("b.py: ready in"))
        # The two files together are not the one that stands here.
        done = running.run("stop", "--all")
        assert done.returncode == 3
        assert "supervisors run for" in done.stderr and "more.yaml" in done.stderr
        assert running.run(*both, "stop", "b.py").returncode == 0
    untouched(other)


@pytest.mark.slow
def test_what_was_started_by_flags_is_named_with_them(tmp_path: Path, runtime: Path) -> None:
    folder = tmp_path / "solo"
    folder.mkdir()
    (folder / "solo.py").write_text(job("one"))
    with foreground(folder, runtime, "-f", "solo.py") as running:
        running.until(lambda line: line.startswith("solo.py: ready"))
        done = running.run("stop", "--all")
        assert done.returncode == 3
        assert done.stderr.splitlines()[1] == (
            f"hint: the only supervisor runs for -f solo.py in {folder}: choose it with "
            "`supervise -f solo.py ...` in that directory"
        )
        looked = running.run("status")
        assert (looked.returncode, "using the only running" in looked.stderr) == (0, True)
        assert running.run("-f", "solo.py", "stop", "--all").returncode == 0


def test_a_directory_that_is_gone_is_no_workspace(other: Foreground, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = f"mkdir {gone} && cd {gone} && rmdir {gone} && exec " + " ".join(COMMAND)
    with child_process(
        ["sh", "-c", f"{script} stop --all"],
        cwd=tmp_path,
        env={**variables(other.runtime), "PYTHONPATH": os.getcwd()},
        stdout=-1,
        stderr=-1,
        text=True,
    ) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert errors.startswith("error: .: the current directory cannot be used: no such file")
    untouched(other)
