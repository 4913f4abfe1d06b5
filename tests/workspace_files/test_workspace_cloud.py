"""Workspaces in dagster_cloud.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
from loading import write
from workspaces import AUTOLOAD, CLOUD, FILE, MODULE, PACKAGE, WORKSPACE, found, names, refused

from supervisor.specs import EnvironmentSpec, Target
from supervisor.workspace_files import Selection


def test_a_cloud_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "dagster_cloud.yaml": """\
                defaults:
                  image: base
                  container_context: {k8s: {env_vars: [A=1], namespace: n}}
                  build: {registry: reg}
                locations:
                  - location_name: one
                    code_source: {python_file: defs.py}
                    build: {directory: ./one}
                    working_directory: src
                    executable_path: venv/bin/python
                    attribute: defs
                    container_context: {k8s: {env_vars: [B=2]}}
                  - location_name: two
                    code_source: {module_name: two.defs}
                    image: other
                    agent_queue: q
                    git: {commit_hash: abc}
                    pex_metadata: {pex_tag: t}
                  - {location_name: three, code_source: {package_name: p}}
                  - {location_name: four, code_source: {autoload_defs_module_name: a}}
                """
        },
    )
    one, two, three, four = found(tmp_path).locations
    assert one.target == Target(FILE, str(tmp_path / "one/defs.py"), tmp_path / "one/src", "defs")
    assert one.environment.executable_path == str(tmp_path / "one/venv/bin/python")
    assert one.metadata == {
        "image": "base",
        "registry": "reg",
        "container_context": {"k8s": {"env_vars": ["A=1", "B=2"], "namespace": "n"}},
    }
    assert two.name == "two"
    assert two.target == Target(MODULE, "two.defs", tmp_path)
    assert two.metadata["image"] == "other"
    assert two.metadata["agent_queue"] == "q"
    assert two.metadata["git"] == {"commit_hash": "abc"}
    assert three.target == Target(PACKAGE, "p", tmp_path)
    assert four.target == Target(AUTOLOAD, "a", tmp_path)


def test_a_cloud_file_is_known_by_its_content(tmp_path: Path) -> None:
    write(tmp_path, {"x.yaml": CLOUD, "dagster_cloud.yaml": WORKSPACE})
    assert names(found(tmp_path, Selection(files=(Path("x.yaml"),)))) == ["c"]
    assert names(found(tmp_path)) == ["w.py"]


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ("{code_source: {module_name: m}}", "locations[0]: the key location_name is missing"),
        ("{location_name: a}", "locations[0]: the key code_source is missing"),
        (
            "{location_name: a, code_source: {module_name: m, python_file: f}}",
            "locations[0].code_source: python_file is a second code source beside module_name",
        ),
        (
            "{location_name: a, code_source: {}}",
            "locations[0].code_source: this names no code source",
        ),
        (
            "{location_name: a, code_source: {module_name: m}, env: {A: b}}",
            "locations[0].env: env does not belong here: a cloud file has no such key",
        ),
        (
            "{location_name: a, code_source: {autoload_defs_module_name: m}, attribute: x}",
            "locations[0].attribute: attribute cannot stand beside",
        ),
        ("{location_name: '{{ name }}', code_source: {module_name: m}}", "a template"),
        ("{location_name: a/b, code_source: {module_name: m}}", "holds a slash"),
    ],
)
def test_mistakes_in_cloud_files(tmp_path: Path, item: str, problem: str) -> None:
    write(tmp_path, {"dagster_cloud.yaml": f"locations:\n- {item}\n"})
    problems = refused(tmp_path)
    assert len(problems) == 1
    assert problem in problems[0]
    assert problems[0].startswith("dagster_cloud.yaml:2:")


def test_duplicate_names_in_a_cloud_file(tmp_path: Path) -> None:
    item = "{location_name: a, code_source: {module_name: m}}"
    write(tmp_path, {"dagster_cloud.yaml": f"locations:\n- {item}\n- {item}\n"})
    (problem,) = refused(tmp_path)
    assert "taken already" in problem


def test_a_script_with_a_block_is_its_own_environment(tmp_path: Path) -> None:
    listed = "locations: [{location_name: a, code_source: {python_file: a.py}}]\n"
    write(
        tmp_path,
        {"dagster_cloud.yaml": listed, "a.py": "# /// script\n# dependencies = []\n# ///\n"},
    )
    (one,) = found(tmp_path).locations
    assert one.environment == EnvironmentSpec(script=tmp_path / "a.py")
