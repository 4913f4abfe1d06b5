"""``${NAME}`` in the values of a workspace file."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import dedent

import pytest
from workspaces import CLOUD, PROJECT, only, read

from supervisor.errors import ConfigurationError
from supervisor.specs import RemoteEndpoint, RestartPolicy
from supervisor.workspace_files import Selection, reread, resolve

ENVIRON = {
    "HOME": "/home/ops",
    "TEAM": "risk",
    "PASSWORD": "hunter2-hunter2",
    "EMPTY": "",
    "PORT": "4266",
    "PRICE": "$5 ${TEAM}",
}


def of(directory: Path, text: str, name: str = "w.yaml") -> list[str]:
    """The problems of a workspace file."""
    (directory / name).write_text(dedent(text))
    selection = Selection(files=(Path(name),))
    with pytest.raises(ConfigurationError) as caught:
        resolve(selection, cwd=directory, environ=ENVIRON)
    return [str(problem).replace(f"{directory}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("${TEAM}", "risk"),
        ("a-${TEAM}-${PORT}b", "a-risk-4266b"),
        ("${TEAM:-other}", "risk"),
        ("${NOT_SET:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${NOT_SET:-}", ""),
        ("${EMPTY}", ""),
        ("${NOT_SET:-a:-b $x}", "a:-b $x"),
        ("$${TEAM}", "${TEAM}"),
        ("$$${TEAM}", "$${TEAM}"),
        ("$TEAM and $$ and $(x)", "$TEAM and $$ and $(x)"),
        ("${PRICE}", "$5 ${TEAM}"),
    ],
)
def test_what_a_text_becomes(tmp_path: Path, written: str, meant: str) -> None:
    (tmp_path / "w.yaml").write_text(
        f"load_from: [python_file: {{relative_path: f.py, env: {{A: '{written}'}}}}]\n"
    )
    spec = resolve(Selection(files=(Path("w.yaml"),)), cwd=tmp_path, environ=ENVIRON)
    assert only(spec).env["A"] == meant


def test_it_works_wherever_a_single_value_stands(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(
        dedent(
            """
            environments:
              lab: {python: "3.${MINOR:-11}", requirements: ["pkg-${TEAM}"]}
            defaults: {environment: "${LAB:-lab}"}
            runs: {timeout: "${LIMIT:-none}", keep: "${KEEP:-30}", max_concurrent: "${MOST:-4}"}
            load_from:
              - python_file:
                  relative_path: ${TEAM}/defs.py
                  location_name: ${TEAM}-${PORT}
                  load_timeout: ${SECONDS:-90s}
                  restart: ${RESTART:-never}
                  verify: ${VERIFY:-false}
                  limits: {memory: "${MEMORY:-1GiB}"}
                  runs: {keep: "${AGE:-2d}"}
              - grpc_server: {host: "${TEAM}.example", port: "${PORT}", ssl: "${TLS:-true}"}
            """
        )
    )
    spec = resolve(Selection(files=(Path("w.yaml"),)), cwd=tmp_path, environ=ENVIRON)
    one, far = spec.locations
    assert one.name == "risk-4266"
    assert one.target is not None
    assert one.target.name == f"{tmp_path}/risk/defs.py"
    assert (one.load_timeout, one.verify, one.limits.memory) == (90.0, False, 2**30)
    assert one.restart.policy is RestartPolicy.NEVER
    assert (one.environment.name, one.environment.python) == ("lab", "3.11")
    assert one.environment.requirements == ("pkg-risk",)
    assert one.runs.keep_age == 2 * 86400
    assert far.remote == RemoteEndpoint("risk.example", 4266, ssl=True)
    assert spec.runs is not None
    assert (spec.runs.timeout, spec.runs.keep_count, spec.runs.max_concurrent) == (math.inf, 30, 4)


def test_an_unset_one_names_the_key_the_line_and_the_remedy(tmp_path: Path) -> None:
    text = """
        load_from:
          - python_file:
              relative_path: ${TEEM}/defs.py
              runs: {keep: "${KEPT}"}
    """
    assert of(tmp_path, text) == [
        "w.yaml:4:22: load_from[0].python_file.relative_path: the environment variable TEEM is not "
        "set; expected it in the supervisor's environment, or a default: ${TEEM:-…}; did you mean "
        "TEAM?",
        "w.yaml:5:20: load_from[0].python_file.runs.keep: the environment variable KEPT is not set; "
        "expected it in the supervisor's environment, or a default: ${KEPT:-…}",
    ]


@pytest.mark.parametrize("written", ["${", "${}", "${1A}", "${A", "${A-b}", "${A:-${B}}", "a ${ b"])
def test_what_is_no_reference_is_refused(tmp_path: Path, written: str) -> None:
    (problem,) = of(
        tmp_path, f"load_from: [python_file: {{relative_path: f.py, env: {{A: '{written}'}}}}]"
    )
    assert "begins no name of a variable; expected ${NAME}, ${NAME:-default}, or $${" in problem


def test_a_value_that_does_not_fit_is_not_shown(tmp_path: Path) -> None:
    text = """
        load_from:
          - python_file:
              relative_path: f.py
              load_timeout: ${PASSWORD}
          - python_module: ${TEAM}/${PASSWORD}
          - grpc_server: {port: "${EMPTY}"}
    """
    problems = of(tmp_path, text)
    assert [problem.split(": ", 2)[2] for problem in problems] == [
        "the environment variable PASSWORD gives a value that cannot be used here; expected a "
        "duration of at least 0.1 s, such as 60s, 2m, 500ms or a number of seconds",
        "the environment variables TEAM and PASSWORD give a value that cannot be used here; "
        "expected a dotted module name",
        "the environment variable EMPTY gives a value that cannot be used here; expected a whole "
        "number from 1 to 65535",
    ]
    assert "hunter2" not in str(problems)


def test_names_metadata_and_other_files_are_taken_as_they_are(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        """
        load_from:
          - python_file: {relative_path: f.py, metadata: {a: "${NOT_SET}"}, env: {"${X}": "1"}}
        """,
        CLOUD.replace("module_name: m", "python_file: '${NOT_SET}.py'"),
    )
    cloud, own = spec.locations
    assert dict(own.metadata) == {"a": "${NOT_SET}"}
    assert dict(own.env) == {"${X}": "1"}
    assert cloud.target is not None
    assert cloud.target.name.endswith("/${NOT_SET}.py")
    (tmp_path / "dg.toml").write_text(
        PROJECT.replace("[tool.dg]\n", "").replace("tool.dg.", "")
        + 'code_location_name = "${TEAM}"\n'
    )
    project = resolve(Selection(files=(Path("dg.toml"),)), cwd=tmp_path, environ=ENVIRON)
    assert only(project).name == "${TEAM}"


def test_a_broken_entry_keeps_the_name_that_a_variable_gives(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(
        "load_from:\n- python_file: {relative_path: f.py, location_name: '${TEAM}', verify: 5}\n"
    )
    _, desired = reread(Selection(files=(Path("w.yaml"),)), cwd=tmp_path, environ=ENVIRON)
    assert [one.name for one in desired.entries] == ["risk"]
