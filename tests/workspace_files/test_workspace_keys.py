"""What our own keys of a location mean: defaults, durations, sizes, env files."""

from __future__ import annotations

from pathlib import Path

import pytest
from loading import write
from workspaces import CLOUD, found, only, read

from supervisor.specs import EnvironmentSpec, Limits, RestartPolicy, RestartSpec, StartMethod
from supervisor.workspace_files import Selection

OWN_KEYS = """\
env: {A: text, B: 3.10, C: yes, D: {env: MODULE}, E: ""}
env_file: one.env
load_timeout: 1m30s
stop_timeout: 0
restart: {policy: always, max_restarts: 2, window: 1h, initial_delay: 500ms, max_delay: 1.5}
limits: {memory: 1.5GiB, cpu: 0.5, open_files: 64, processes: 10, nice: 5}
start_method: spawn
preload: [pandas, sqlalchemy.orm]
verify: false
metadata: {team: [risk, 1]}
"""


@pytest.mark.parametrize(
    "head",
    [
        "python_file:\n    relative_path: f.py\n",
        "python_module:\n    module_name: m\n",
        "python_package:\n    package_name: p\n",
        "autoload_defs_module:\n    module_name: a\n",
        "python_environment:\n    target: {python_module: m}\n",
    ],
)
@pytest.mark.parametrize("where", ["item", "defaults"])
def test_our_own_keys(tmp_path: Path, head: str, where: str) -> None:
    (tmp_path / "one.env").write_text("A=file\nF=file\n")
    keys = "".join(f"    {line}\n" for line in OWN_KEYS.splitlines())
    if where == "item":
        text = f"load_from:\n- {head}{keys}"
    else:
        text = f"defaults:\n{keys}load_from:\n- {head}"
    spec = read(tmp_path, text)
    location = only(spec)
    assert location.env == {
        "A": "text",
        "B": "3.10",
        "C": "yes",
        "D": "team.defs",
        "E": "",
        "F": "file",
    }
    assert (location.load_timeout, location.stop_timeout) == (90.0, 0.0)
    assert location.restart == RestartSpec(RestartPolicy.ALWAYS, 2, 3600.0, 0.5, 1.5)
    assert location.limits == Limits(3 * 2**29, 0.5, 64, 10, 5)
    assert location.start_method is StartMethod.SPAWN
    assert location.preload == ("pandas", "sqlalchemy.orm")
    assert location.verify is False
    assert location.metadata == {"team": ["risk", 1]}
    assert spec.files == (tmp_path / "workspace.yaml", tmp_path / "one.env")
    assert "text" not in repr(location)  # secrets are not shown


def test_preload_can_be_switched_off(tmp_path: Path) -> None:
    spec = read(tmp_path, "load_from: [{python_module: {module_name: m, preload: false}}]")
    assert only(spec).preload == ()
    assert only(read(tmp_path, "load_from: [{python_module: m}]")).preload is None


def test_defaults_lie_below_what_a_location_says(tmp_path: Path) -> None:
    (tmp_path / "base.env").write_text("X=base\nY=base\nZ=base\n")
    (tmp_path / "own.env").write_text("Z=own\n")
    spec = read(
        tmp_path,
        """\
        environments: {e: {}}
        defaults:
          env_file: [base.env]
          env: {Y: defaults}
          restart: {window: 10s}
          limits: {nice: 1, open_files: 32}
          environment: e
          load_timeout: 5
        load_from:
          - python_file:
              relative_path: f.py
              env_file: own.env
              restart: never
              limits: {nice: 2}
              executable_path: /bin/py
          - python_file: {relative_path: g.py, load_timeout: 0.5}
          - grpc_server: {port: 1}
        """,
    )
    f, g, remote = spec.locations
    assert f.env == {"X": "base", "Y": "defaults", "Z": "own"}
    assert f.restart == RestartSpec(RestartPolicy.NEVER, window=10.0)
    assert f.limits == Limits(nice=2, open_files=32)
    assert f.environment == EnvironmentSpec(executable_path="/bin/py")
    assert f.load_timeout == 5.0
    assert g.environment is spec.environments[0]
    assert g.load_timeout == 0.5
    assert not remote.env
    assert remote.environment == EnvironmentSpec()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90", 90.0),
        ("1.5", 1.5),
        ("60s", 60.0),
        ("2m", 120.0),
        ("'2 m'", 120.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("1d", 86400.0),
        ("'45'", 45.0),
        ("{env: SECONDS}", 120.0),
    ],
)
def test_durations(tmp_path: Path, written: str, seconds: float) -> None:
    item = f"python_module: {{module_name: m, load_timeout: {written}}}"
    assert only(read(tmp_path, f"load_from:\n- {item}\n")).load_timeout == seconds


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1048576", 2**20),
        ("512MiB", 2**29),
        ("512 MiB", 2**29),
        ("1GB", 10**9),
        ("2048kB", 2_048_000),
        ("1TiB", 2**40),
        ("1.5GiB", 3 * 2**29),
    ],
)
def test_sizes(tmp_path: Path, written: str, size: int) -> None:
    item = f"python_module: {{module_name: m, limits: {{memory: {written}}}}}"
    assert only(read(tmp_path, f"load_from:\n- {item}\n")).limits.memory == size


def test_env_files_are_read_as_dotenv_reads_them(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# comment\nexport A=1\nB='x y'\nC=\"${A}-${HOME}-${NOPE:-d}\"\nHOME=/h\nD=$A\nE=${HOME}\nF\nG=\n"
    )
    location = only(
        read(tmp_path, "load_from:\n- python_module: {module_name: m, env_file: .env}\n")
    )
    assert location.env == {
        "A": "1",
        "B": "x y",
        "C": "1-/home/ops-d",
        "HOME": "/h",
        "D": "$A",
        "E": "/h",
        "G": "",
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"workspace.yaml": "load_from: [python_file: f.py]\n"}, {"A": "1"}),
        ({"pyproject.toml": '[tool.dagster]\nmodule_name = "m"\n'}, {"A": "1"}),
        (
            {"workspace.yaml": "load_from: [python_file: {relative_path: f.py, env: {A: own}}]\n"},
            {"A": "own"},
        ),
        (
            {
                "workspace.yaml": "load_from: [python_file: {relative_path: f.py, env_file: o.env}]\n",
                "o.env": "B=2\n",
            },
            {"B": "2"},
        ),
        (
            {"workspace.yaml": "defaults: {env_file: []}\nload_from: [python_file: f.py]\n"},
            {},
        ),
        ({"dagster_cloud.yaml": CLOUD}, {}),
    ],
)
def test_the_dotenv_beside_the_workspace(
    tmp_path: Path, files: dict[str, str], expected: dict[str, str]
) -> None:
    write(tmp_path, files)
    (tmp_path / ".env").write_text("A=1\n")
    spec = found(tmp_path)
    assert only(spec).env == expected
    assert tmp_path / ".env" not in spec.files


def test_the_dotenv_of_the_current_directory_with_flags(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n")
    assert only(found(tmp_path, Selection(modules=("m",)))).env == {"A": "1"}


def test_what_is_wrong_with_a_dotenv_that_no_file_names_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n=secret\n")
    spec = read(tmp_path, "load_from: [python_file: f.py]\n")
    assert only(spec).env == {"A": "1"}
    assert spec.warnings == (f"{tmp_path}/.env:2:1: this line cannot be read",)


def test_an_editable_path_is_a_requirement_and_a_project_may_have_a_setup_py_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "setup.py").touch()
    text = "environments: {e: {requirements: ['-e ./x[dev]', '--editable=./y']}, p: {project: old}}"
    e, p = read(tmp_path, f"{text}\nload_from: []\n").environments
    assert e.requirements == ("-e ./x[dev]", "--editable=./y")
    assert p.project == tmp_path / "old"
