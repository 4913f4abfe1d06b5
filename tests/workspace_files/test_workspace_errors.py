"""Every mistake is told with its place, key path, what was expected and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from location_mistakes import CASES as OF_LOCATIONS
from workspace_mistakes import CASES as OF_FILES
from workspaces import item, problems

CASES = OF_FILES | OF_LOCATIONS


@pytest.mark.parametrize("name", CASES)
def test_one_mistake_is_one_located_problem(tmp_path: Path, name: str) -> None:
    text, line, column, path, message, expected, meant = CASES[name]
    found = problems(tmp_path, text)
    assert len(found) == 1, [str(problem) for problem in found]
    problem = found[0]
    assert problem.position.file == str(tmp_path / "w.yaml")
    assert (problem.position.line, problem.position.column) == (line, column)
    assert problem.path == path
    assert message in problem.message
    assert expected in problem.expected
    assert problem.suggestion == meant
    assert "secret" not in str(problem)


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """\
        environments: {e: {pithon: "3"}}
        load_from:
          - python_file: {relativ_path: a.py, load_timeout: soon}
          - python_module: {module_name: m, environment: f}
          - grpc_server: {}
        """,
        "load_from:\n- python_file: 5\n- nothing: x\n",
    )
    assert [(p.position.file[-6:], p.position.line) for p in found] == [
        ("w.yaml", 1),
        ("w.yaml", 3),
        ("w.yaml", 3),
        ("w.yaml", 4),
        ("w.yaml", 5),
        ("v.yaml", 2),
        ("v.yaml", 3),
    ]


def test_duplicate_names_across_files_name_both_places(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path, "load_from: [python_file: a.py]\n", "\nload_from: [python_file: x/a.py]\n"
    )
    assert str(found) == (
        f'{tmp_path}/v.yaml:2:13: load_from[0].python_file: the location name "a.py" is taken '
        f"already, at {tmp_path}/w.yaml:1:13; expected names that differ; set location_name in one "
        "of them"
    )


def test_a_file_that_cannot_be_read_is_not_blamed_on_the_others(tmp_path: Path) -> None:
    text = "load_from: [python_module: {module_name: m, environment: e}]\n"
    (found,) = problems(tmp_path, text, "environments: {e: {}\n")
    assert found.position.file == str(tmp_path / "v.yaml")


def test_environment_names_are_unique_across_files(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path, "environments: {e: {}}\nload_from: []\n", "environments: {e: {}}\nload_from: []\n"
    )
    assert found.position.file == str(tmp_path / "v.yaml")
    assert f"taken already, at {tmp_path}/w.yaml:1:16" in found.message


def test_environments_alone_in_all_files(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "environments: {e: {}}\n", "environments: {f: {}}\n")
    assert "no file says what to load" in found.message


def test_a_broken_environment_is_told_once(tmp_path: Path) -> None:
    (found,) = problems(
        tmp_path,
        "environments: {e: 5}\nload_from:\n- python_module: {module_name: m, environment: e}\n",
    )
    assert found.path == "environments.e"


def test_a_broken_env_file_is_told_at_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "x.env").write_text("A=1\n=secret\nB='unclosed secret\n")
    found = problems(tmp_path, item("python_module: {module_name: m, env_file: x.env}"))
    assert {p.position.file for p in found} == {str(tmp_path / "x.env")}
    assert 2 in {p.position.line for p in found}
    assert "secret" not in "".join(map(str, found))
