"""``supervise init`` and ``supervise install-service``: what is written, and that nothing is overwritten."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest
from commands import TEAM, supervise
from places import ROOT
from supervised import make_workspace

from supervisor.drafts.unit import unit_text


def test_a_workspace_is_written_once(tmp_path: Path, runtime: Path) -> None:
    (tmp_path / "risk").mkdir()
    (tmp_path / "risk" / "team.py").write_text(TEAM)
    shown = supervise("init", "--stdout", cwd=tmp_path, runtime=runtime)
    assert not (tmp_path / "workspace.yaml").exists()
    first = supervise("init", cwd=tmp_path, runtime=runtime)
    assert first.returncode == 0, first.stderr
    assert (
        first.stdout == f"wrote {tmp_path}/workspace.yaml: 1 location, 0 environments to be made\n"
    )
    assert first.stderr == (
        "next: `supervise check` loads each location once; `supervise` runs them\n"
    )
    text = (tmp_path / "workspace.yaml").read_text()
    assert shown.stdout == text
    again = supervise("init", cwd=tmp_path, runtime=runtime)
    assert (again.returncode, (tmp_path / "workspace.yaml").read_text()) == (1, text)
    assert "is there already, and is not overwritten" in again.stderr
    named = supervise("init", "-o", "workspace.yaml", cwd=tmp_path, runtime=runtime)
    assert (named.returncode, (tmp_path / "workspace.yaml").read_text()) == (1, text)


@pytest.mark.slow
def test_what_is_written_loads(tmp_path: Path, runtime: Path) -> None:
    (tmp_path / "risk").mkdir()
    (tmp_path / "risk" / "team.py").write_text(TEAM)
    supervise("init", "risk", cwd=tmp_path, runtime=runtime)
    done = supervise("check", "-w", "risk/workspace.yaml", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 0, done.stdout + done.stderr


def test_code_servers_are_converted_beside_the_workspace_that_names_them(
    tmp_path: Path, runtime: Path
) -> None:
    (tmp_path / "Procfile").write_text("code: dagster api grpc -f team.py -p 4000\n")
    (tmp_path / "team.py").write_text(TEAM)
    servers = "load_from: [{grpc_server: {port: 4000, location_name: risk}}]\n"
    (tmp_path / "workspace.yaml").write_text(servers)
    done = supervise("init", "--from-dagster", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"wrote {tmp_path}/supervise.yaml: 1 location, ")
    assert "`supervise -w supervise.yaml` runs them" in done.stderr
    assert "location_name: risk\n" in (tmp_path / "supervise.yaml").read_text()
    assert (tmp_path / "workspace.yaml").read_text() == servers


def test_a_unit_is_written_once(tmp_path: Path, runtime: Path) -> None:
    make_workspace(tmp_path, {"team.py": TEAM})
    units = tmp_path / "config" / "systemd" / "user"

    def install(*arguments: str) -> tuple[int, str, str]:
        done = supervise(
            "install-service", *arguments, cwd=tmp_path, runtime=runtime,
            XDG_CONFIG_HOME=str(tmp_path / "config"),
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    status, said, told = install()
    assert (status, said) == (0, f"wrote {units}/supervise.service\n"), told
    assert "systemctl --user daemon-reload && systemctl --user enable --now supervise" in told
    text = (units / "supervise.service").read_text()
    assert f"\nWorkingDirectory={tmp_path}\n" in text
    assert " run -w workspace.yaml\n" in text
    assert "User=" not in text
    assert install()[:2] == (0, f"{units}/supervise.service: up to date\n")
    status, _, told = install("--option=--web")
    assert (status, "is not overwritten" in told) == (1, True)
    assert (units / "supervise.service").read_text() == text
    assert install("--option=--web", "--replace")[0] == 0
    assert " run -w workspace.yaml --web\n" in (units / "supervise.service").read_text()
    shown = install("--stdout", "--system", "--run-as", getpass.getuser())[1]
    assert f"User={getpass.getuser()}\n" in shown
    assert "RuntimeDirectory=supervise\n" in shown
    status, _, told = install("--system", "--run-as", "no-such-user")
    assert (status, told.splitlines()[0]) == (
        2,
        "error: there is no user no-such-user on this machine",
    )


def test_the_unit_of_the_docs_is_the_one_that_is_written() -> None:
    page = (ROOT / "docs" / "systemd.md").read_text()
    unit = unit_text(
        [*("/opt/workspace-supervisor/bin/supervise", "run"), "-w", "workspace.yaml"],
        "/srv/analytics",
        user="analytics",
    )
    assert f"```ini\n{unit}```" in page, "run: python docs/generate.py"


def test_what_a_unit_would_read_otherwise_is_escaped() -> None:
    text = unit_text(["/opt/a b/supervise", "-w", "50%$x.yaml"], "/srv/50%")
    assert 'ExecStart="/opt/a b/supervise" -w 50%%$$x.yaml\n' in text
    assert "WorkingDirectory=/srv/50%%\n" in text


def test_where_nothing_is_found_that_is_said(tmp_path: Path, runtime: Path) -> None:
    done = supervise("init", cwd=tmp_path, runtime=runtime)
    assert done.returncode == 0
    assert done.stdout == f"wrote {tmp_path}/workspace.yaml: examples, and no location yet\n"
    assert "nothing to load was found here" in done.stderr
