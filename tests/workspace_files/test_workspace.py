"""What every form of a workspace file means: its locations, environments and several files."""

from __future__ import annotations

from pathlib import Path

import pytest
from workspaces import AUTOLOAD, FILE, MODULE, PACKAGE, only, read

from supervisor.errors import ConfigurationError
from supervisor.specs import EnvironmentSpec, RemoteEndpoint, SourcePosition, Target, TargetKind
from supervisor.workspace_files import Selection, resolve


@pytest.mark.parametrize(
    ("item", "name", "kind", "target", "attribute", "working_directory"),
    [
        ("python_file: a/b.py", "b.py", FILE, "{}/a/b.py", None, "{}"),
        ("python_file: /opt/b.py", "b.py", FILE, "/opt/b.py", None, "{}"),
        ("python_file: ~/b.py", "b.py", FILE, "/home/ops/b.py", None, "{}"),
        ("python_file: ../b.py", "b.py", FILE, "{}/../b.py", None, "{}"),
        ("python_file: {relative_path: b.py}", "b.py", FILE, "{}/b.py", None, "{}"),
        (
            "python_file: {relative_path: a/b.py, attribute: defs}",
            "b.py:defs",
            FILE,
            "{}/a/b.py",
            "defs",
            "{}",
        ),
        (
            "python_file: {relative_path: b.py, location_name: risk, attribute: d}",
            "risk",
            FILE,
            "{}/b.py",
            "d",
            "{}",
        ),
        (
            "python_file: {relative_path: b.py, location_name: ''}",
            "b.py",
            FILE,
            "{}/b.py",
            None,
            "{}",
        ),
        (
            "python_file: {relative_path: a/b.py, working_directory: a}",
            "b.py",
            FILE,
            "{}/a/b.py",
            None,
            "{}/a",
        ),
        ("python_module: team.defs", "team.defs", MODULE, "team.defs", None, "{}"),
        ("python_module: {module_name: team}", "team", MODULE, "team", None, "{}"),
        (
            "python_module: {module_name: team, working_directory: src, attribute: x}",
            "team:x",
            MODULE,
            "team",
            "x",
            "{}/src",
        ),
        (
            "python_module: {module_name: {env: MODULE}}",
            "team.defs",
            MODULE,
            "team.defs",
            None,
            "{}",
        ),
        ("python_module: {env: MODULE}", "team.defs", MODULE, "team.defs", None, "{}"),
        ("python_package: team", "team", PACKAGE, "team", None, "{}"),
        (
            "python_package: {package_name: team, working_directory: /srv}",
            "team",
            PACKAGE,
            "team",
            None,
            "/srv",
        ),
        ("autoload_defs_module: team.defs", "team.defs", AUTOLOAD, "team.defs", None, "{}"),
        (
            "autoload_defs_module: {module_name: t, location_name: n}",
            "n",
            AUTOLOAD,
            "t",
            None,
            "{}",
        ),
        (
            "python_environment: {executable_path: p, target: {python_file: {relative_path: b.py, location_name: x}}}",
            "x",
            FILE,
            "{}/b.py",
            None,
            "{}",
        ),
        (
            "python_environment: {executable_path: p, target: {python_module: team}}",
            "team",
            MODULE,
            "team",
            None,
            "{}",
        ),
        (
            "python_environment: {executable_path: p, target: {python_package: {package_name: t, attribute: a}}}",
            "t:a",
            PACKAGE,
            "t",
            "a",
            "{}",
        ),
    ],
)
def test_selectors(
    tmp_path: Path,
    item: str,
    name: str,
    kind: TargetKind,
    target: str,
    attribute: str | None,
    working_directory: str,
) -> None:
    location = only(read(tmp_path, f"load_from:\n- {item}\n"))
    if kind is FILE:
        target = str(
            Path(target.replace("{}/..", str(tmp_path.parent)).replace("{}", str(tmp_path)))
        )
    assert location.name == name
    assert location.target == Target(
        kind, target, Path(working_directory.replace("{}", str(tmp_path))), attribute
    )
    assert location.origin == SourcePosition(str(tmp_path / "workspace.yaml"), 2, 3)
    assert location.form == item.split(":")[0]


def test_a_yaml_list_of_items_in_every_style(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        """\
        load_from:
          - python_file:
              relative_path: "x.py"
          - {python_module: 'y'}
        """,
    )
    assert [location.name for location in spec.locations] == ["x.py", "y"]
    assert spec.title == spec.key == "workspace.yaml"
    assert spec.directory == tmp_path
    assert spec.files == (tmp_path / "workspace.yaml",)
    assert spec.state_directory == tmp_path / ".supervise"


def test_an_empty_workspace_is_valid(tmp_path: Path) -> None:
    assert read(tmp_path, "load_from: []\n").locations == ()


@pytest.mark.parametrize(
    ("keys", "remote", "name"),
    [
        ("{port: 4266}", RemoteEndpoint("localhost", 4266), "grpc:localhost:4266"),
        ("{host: h, port: {env: PORT}}", RemoteEndpoint("h", 4266), "grpc:h:4266"),
        ("{socket: /run/x}", RemoteEndpoint("localhost", socket="/run/x"), "grpc:localhost:/run/x"),
        ("{port: 1, ssl: true, location_name: n}", RemoteEndpoint("localhost", 1, ssl=True), "n"),
    ],
)
def test_grpc_servers_are_listed_and_never_started(
    tmp_path: Path, keys: str, remote: RemoteEndpoint, name: str
) -> None:
    location = only(read(tmp_path, f"load_from:\n- grpc_server: {keys}\n"))
    assert (location.target, location.remote, location.name) == (None, remote, name)


def test_metadata_is_data_that_can_travel(tmp_path: Path) -> None:
    metadata = "{a: 2020-01-01, b: 99999999999999999999, c: .nan, d: 18446744073709551615, e: ~}"
    item = f"load_from:\n- python_module: {{module_name: m, metadata: {metadata}}}\n"
    assert only(read(tmp_path, item)).metadata == {
        "a": "2020-01-01",
        "b": "99999999999999999999",
        "c": ".nan",
        "d": 2**64 - 1,
        "e": None,
    }


def test_metadata_is_kept_as_it_is(tmp_path: Path) -> None:
    location = only(
        read(
            tmp_path,
            "load_from:\n- grpc_server: {port: 1, additional_metadata: {a: {env: X}, b: [1, no]}}\n",
        )
    )
    assert location.metadata == {"a": {"env": "X"}, "b": [1, False]}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("executable_path: venv/bin/python", {"executable_path": "{}/venv/bin/python"}),
        ("executable_path: ~/py", {"executable_path": "/home/ops/py"}),
        ("executable_path: python3.8", {"executable_path": "python3.8"}),
        ("python: 3.10", {"python": "3.10"}),
        ('python: ">=3.8,<3.11"', {"python": ">=3.8,<3.11"}),
        ("python: ./py", {"python": "{}/py"}),
        ("requirements: [a==1, 'b  # why']", {"requirements": ("a==1", "b")}),
        ("requirements: |\n      a==1\n      # no\n\n      b", {"requirements": ("a==1", "b")}),
        ("requirements_file: reqs.txt", {"requirements_file": "{}/reqs.txt"}),
        ("project: proj", {"project": "{}/proj"}),
        ("project: proj/pyproject.toml", {"project": "{}/proj"}),
    ],
)
def test_environments(tmp_path: Path, keys: str, expected: dict[str, object]) -> None:
    (tmp_path / "reqs.txt").write_text("x")
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj" / "pyproject.toml").write_text("")
    for key, value in expected.items():
        if isinstance(value, str):
            text = value.replace("{}", str(tmp_path))
            expected[key] = Path(text) if key in ("requirements_file", "project") else text
    item = "python_environment:\n    target: {python_module: m}\n"
    anonymous = read(tmp_path, f"load_from:\n- {item}    {keys}\n")
    assert only(anonymous).environment == EnvironmentSpec(**expected)  # type: ignore[arg-type]
    named = read(tmp_path, f"environments:\n  n:\n    {keys}\nload_from:\n- {item}    name: n\n")
    spec = EnvironmentSpec(name="n", **expected)  # type: ignore[arg-type]
    assert only(named).environment == spec
    assert named.environments == (spec,)
    if "requirements_file" in expected:
        assert tmp_path / "reqs.txt" in named.files
    if "project" in expected:
        assert tmp_path / "proj" / "pyproject.toml" in named.files


def test_one_environment_is_one_object_for_all_that_name_it(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        """\
        environments:
          risk: {python: "3.8"}
          plain: {}
        load_from:
          - python_module: {module_name: a, environment: risk}
          - python_environment: {name: risk, target: {python_module: b}}
          - python_module: {module_name: c, executable_path: /bin/py}
          - python_module: d
          - python_module: {module_name: e, environment: plain}
        """,
    )
    a, b, c, d, e = (location.environment for location in spec.locations)
    assert a is b
    assert a.managed
    assert c == EnvironmentSpec(executable_path="/bin/py")
    assert d == EnvironmentSpec()
    assert e == EnvironmentSpec(name="plain")
    assert a.origin == SourcePosition(str(tmp_path / "workspace.yaml"), 2, 9)


@pytest.mark.parametrize(
    ("block", "kind", "target", "name"),
    [
        ("{module: team.repos, fn: define}", MODULE, "team.repos", "team.repos:define"),
        ("{file: a/repos.py, fn: define}", FILE, "{}/a/repos.py", "repos.py:define"),
        ("team.repos:define", MODULE, "team.repos", "team.repos:define"),
        ("a/repos.py:define", FILE, "{}/a/repos.py", "repos.py:define"),
    ],
)
def test_the_repository_block_of_old(
    tmp_path: Path, block: str, kind: TargetKind, target: str, name: str
) -> None:
    spec = read(
        tmp_path,
        f"repository: {block}\nscheduler: {{module: a, fn: b}}\npartitions: {{file: a, fn: b}}\n",
        names=("repository.yaml",),
    )
    location = only(spec)
    target = target.replace("{}", str(tmp_path))
    assert location.target == Target(kind, target, tmp_path, "define")
    assert location.name == name
    assert len(spec.warnings) == 3
    assert all(f"{tmp_path}/repository.yaml:" in warning for warning in spec.warnings)


def test_repository_comes_before_load_from(tmp_path: Path) -> None:
    spec = read(tmp_path, "load_from: [{python_module: m}]\nrepository: {module: r, fn: f}\n")
    assert [location.name for location in spec.locations] == ["r:f", "m"]


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        """\
        defaults: {metadata: {base: &base {working_directory: src, load_timeout: 7}}}
        load_from:
          - python_module: {<<: *base, module_name: a}
          - python_module: {<<: *base, module_name: b, load_timeout: 8}
        """,
    )
    a, b = spec.locations
    assert a.target is not None
    assert a.target.working_directory == tmp_path / "src"
    assert (a.load_timeout, b.load_timeout) == (7.0, 8.0)


def test_several_files_merge_and_share_environments(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        "load_from: [{python_file: {relative_path: a.py, environment: e}}]\n",
        "load_from: [{python_file: b.py}]\n",
        "environments: {e: {python: '3.9'}}\n",
        names=("one/a.yaml", "two/b.yaml", "envs.yaml"),
    )
    a, b = spec.locations
    assert a.environment.python == "3.9"
    assert a.target is not None
    assert b.target is not None
    assert a.target.name == str(tmp_path / "one" / "a.py")
    assert b.target.working_directory == tmp_path / "two"
    assert spec.directory == tmp_path / "one"
    assert spec.title == "a.yaml, b.yaml, envs.yaml"
    assert spec.key.startswith("a.yaml+b.yaml+envs.yaml-")


def test_a_moved_line_changes_no_spec(tmp_path: Path) -> None:
    text = "environments: {e: {}}\nload_from:\n- python_module: {module_name: m, environment: e}\n"
    assert read(tmp_path, text).locations == read(tmp_path, "# note\n\n" + text).locations


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "workspace.yaml"
    path.write_bytes(b"\xef\xbb\xbfload_from:\r\n- python_file: \xc3\xa9.py\r\n")
    spec = resolve(Selection(files=(path,)), cwd=Path("/"), environ={})
    assert only(spec).name == "é.py"


def test_a_symlinked_file_keeps_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.yaml").write_text("load_from: [{python_file: f.py}]\n")
    (tmp_path / "workspace.yaml").symlink_to("data/w.yaml")
    spec = resolve(Selection(files=(Path("workspace.yaml"),)), cwd=tmp_path, environ={})
    assert spec.directory == tmp_path
    target = only(spec).target
    assert target is not None
    assert target.name == str(tmp_path / "f.py")


def test_extras_and_groups_of_a_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    item = "- python_environment:\n    target: {python_module: m}\n"
    text = f"load_from:\n{item}    project: .\n    extras: [a]\n    groups: [dev, test]\n"
    environment = only(read(tmp_path, text)).environment
    assert (environment.extras, environment.groups) == (("a",), ("dev", "test"))
    text = f'load_from:\n{item}    python: "3.11"\n    groups: [dev]\n'
    with pytest.raises(
        ConfigurationError, match="groups are those of a project, and none is named"
    ):
        read(tmp_path, text)


def test_a_script_with_a_block_is_its_own_environment(tmp_path: Path) -> None:
    script = tmp_path / "a.py"
    script.write_text("import os\n")
    text = "load_from:\n- python_file: a.py\n"
    plain = read(tmp_path, text)
    assert only(plain).environment == EnvironmentSpec()
    assert script in plain.awaited  # the block may be written later
    script.write_text('# /// script\n# dependencies = ["a"]\n# ///\n')
    assert only(read(tmp_path, text)).environment == EnvironmentSpec(script=script)
    own = "load_from:\n- python_file: {relative_path: a.py, executable_path: /bin/py}\n"
    assert only(read(tmp_path, own)).environment == EnvironmentSpec(executable_path="/bin/py")


def test_a_lock_is_taken_once_it_is_there(tmp_path: Path) -> None:
    text = "environments: {a: {requirements: [x]}, c d: {requirements: [x]}, e: {python: 3.9}}\n"
    text += "load_from: []\n"
    lock = tmp_path / "supervise-locks" / "c_d.txt"
    before = read(tmp_path, text)
    assert [one.lock for one in before.environments] == [None, None, None]
    assert lock in before.awaited
    lock.parent.mkdir()
    lock.write_text("")
    assert [one.lock for one in read(tmp_path, text).environments] == [None, lock, None]
