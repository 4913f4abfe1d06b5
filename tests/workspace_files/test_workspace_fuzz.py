"""Whatever stands in a file, reading it gives specs or a ConfigurationError, never anything else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.errors import ConfigurationError
from supervisor.workspace_files import Selection, identify, resolve
from supervisor.workspace_files.assembly import name_problem
from supervisor.workspace_files.keys import OWN_KEYS, WORKSPACE, WORKSPACE_LIST

bounded = settings(
    max_examples=150,
    derandomize=True,  # the same examples in every run; raise max_examples to search
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

KEYS = [
    *WORKSPACE.fields,
    *WORKSPACE_LIST.item.shape.fields,  # type: ignore[attr-defined]
    *OWN_KEYS,
    *("relative_path", "module_name", "package_name", "attribute", "location_name", "target"),
    *("working_directory", "executable_path", "name", "python", "requirements", "project", "host"),
    *("port", "socket", "ssl", "policy", "memory", "nice", "locations", "code_source", "build"),
    *("python_file", "module", "file", "fn", "<<", "a", ""),
]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(
        ["a", "a.py", "m.n", "5s", "1GB", "always", "auto", "{{ x }}", "~", "a/b", "x:y"]
    ),
    st.text(max_size=20),
)
TREES = st.recursive(
    SCALARS,
    lambda child: st.one_of(
        st.lists(child, max_size=4),
        st.dictionaries(st.sampled_from(KEYS), child, max_size=5),
        st.just({"env": "SET"}),
    ),
    max_leaves=25,
)
WORKSPACES = st.fixed_dictionaries(
    {
        "load_from": st.lists(
            st.dictionaries(st.sampled_from(KEYS[:12]), TREES, max_size=2), max_size=4
        )
    },
    optional={key: TREES for key in WORKSPACE.fields if key != "load_from"},
)


def read(directory: Path, name: str, data: bytes) -> None:
    (directory / name).write_bytes(data)
    selection = Selection(files=(Path(name),))
    try:
        spec = resolve(selection, cwd=directory, environ={"SET": "1"})
    except ConfigurationError as error:
        assert error.problems
        assert len(error.problems) <= 1000
        for problem in error.problems:
            assert problem.position.file.startswith(str(directory))
            assert "\n" not in str(problem)
            str(problem).encode()
        return
    assert identify(selection, cwd=directory) == (spec.directory, spec.key)
    assert len({location.name for location in spec.locations}) == len(spec.locations)
    for location in spec.locations:
        json.dumps(location.metadata, allow_nan=False)
        if location.target:
            assert location.target.working_directory.is_absolute()
            assert not name_problem(location.name)


@pytest.mark.slow
@bounded
@given(TREES)
def test_any_tree(tmp_path: Path, tree: object) -> None:
    read(tmp_path, "w.yaml", yaml.safe_dump(tree).encode("utf-8", "replace"))


@pytest.mark.slow
@bounded
@given(WORKSPACES)
def test_trees_that_look_like_workspaces(tmp_path: Path, tree: object) -> None:
    read(tmp_path, "w.yaml", yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "replace"))


@pytest.mark.slow
@bounded
@given(
    st.text(alphabet=st.sampled_from("ab:-?!&*<>|%@`'\"[]{},#~\\\n \t0\u00e9\u2028x="), max_size=60)
)
@pytest.mark.parametrize("name", ["w.yaml", "dg.toml", "pyproject.toml"])
def test_any_text_of_special_characters(tmp_path: Path, name: str, text: str) -> None:
    read(tmp_path, name, text.encode())


@bounded
@given(st.binary(max_size=80))
@pytest.mark.parametrize("name", ["w.yaml", "dg.toml"])
def test_any_bytes(tmp_path: Path, name: str, data: bytes) -> None:
    read(tmp_path, name, data)


@bounded
@given(st.binary(max_size=60))
def test_any_env_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "e.env").write_bytes(data)
    read(tmp_path, "w.yaml", b"load_from: [python_module: {module_name: m, env_file: e.env}]")


@bounded
@given(
    st.dictionaries(
        st.sampled_from(["directory_type", "project", "workspace", "cli", "tool", "x"]),
        st.recursive(
            st.one_of(
                st.booleans(),
                st.integers(-9, 9),
                st.sampled_from(["a", "project", "workspace", "."]),
            ),
            lambda child: st.one_of(
                st.lists(child, max_size=3),
                st.dictionaries(
                    st.sampled_from(
                        ["root_module", "projects", "path", "dg", "dagster", "modules", "name"]
                    ),
                    child,
                    max_size=3,
                ),
            ),
            max_leaves=8,
        ),
        max_size=3,
    )
)
def test_any_table(tmp_path: Path, table: dict[str, object]) -> None:
    def inline(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {inline(child)}" for key, child in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(inline, value)) + "]"
        return json.dumps(value)

    text = "".join(f"{key} = {inline(value)}\n" for key, value in table.items())
    read(tmp_path, "dg.toml", text.encode())
