"""Which instance is used, and what ``dagster dev`` would have set."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.dagster.home import (
    Home,
    choose_home,
    development_environ,
    for_development,
    prepare_home,
)
from supervisor.errors import ConfigurationError


def test_an_option_goes_before_the_file_that_before_the_variable_and_that_before_our_own(
    tmp_path: Path,
) -> None:
    environ = {"DAGSTER_HOME": "/theirs"}
    named, state = Path("/named"), Path("/state")
    assert choose_home(tmp_path, named, environ, state).path == tmp_path
    assert choose_home(None, named, environ, state).path == named
    assert choose_home(None, None, environ, state) == Home(Path("/theirs"), "DAGSTER_HOME")
    relative = choose_home(None, None, {"DAGSTER_HOME": "theirs"}, state)
    assert relative.path == Path.cwd() / "theirs"  # which Dagster itself refuses
    assert choose_home(None, None, {}, state).ours


def test_our_own_instance_reads_the_file_beside_the_workspace_for_as_long_as_it_is_there(
    tmp_path: Path,
) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    home = Home(tmp_path / "state" / "home", "", ours=True)
    assert prepare_home(home, workspace) == []
    ours = (home.path / "dagster.yaml").read_text()
    assert "telemetry" in ours
    for name in ("dagster.yml", "dagster.yaml"):
        (workspace / name).write_text("{}\n")
        assert prepare_home(home, workspace) == []
        assert (home.path / "dagster.yaml").resolve() == workspace / name
    for name in ("dagster.yml", "dagster.yaml"):
        (workspace / name).unlink()
    prepare_home(home, workspace)
    assert (home.path / "dagster.yaml").read_text() == ours


def test_a_file_of_the_operators_own_stays(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", "", ours=True)
    home.path.mkdir()
    (home.path / "dagster.yaml").write_text("mine\n")
    (tmp_path / "dagster.yaml").write_text("{}\n")
    prepare_home(home, tmp_path)
    assert (home.path / "dagster.yaml").read_text() == "mine\n"


def test_the_dotenv_wins_as_it_does_in_dagster_dev(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('A=file\nB="${A}-b"\nONLY_A_NAME\n')
    found = development_environ(tmp_path, {"A": "ours", "C": "c"})
    assert found == {"A": "file", "B": "file-b", "C": "c", "DAGSTER_IS_DEV_CLI": "1"}
    assert development_environ(tmp_path / "none", {}) == {"DAGSTER_IS_DEV_CLI": "1"}


def test_a_dotenv_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigurationError, match="cannot be read: it is not UTF-8"):
        development_environ(tmp_path, {})


def test_a_location_is_in_development_unless_it_is_said_otherwise() -> None:
    assert for_development({"A": "a"}) == {"A": "a", "DAGSTER_IS_DEV_CLI": "1"}
    assert for_development({"DAGSTER_IS_DEV_CLI": ""}) == {"DAGSTER_IS_DEV_CLI": ""}
