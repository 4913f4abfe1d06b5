"""Reading a workspace that runs: which entries what is wrong concerns, and that the others are sound."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from workspaces import MISTAKEN_ENVIRON

from supervisor.desired import Desired
from supervisor.errors import ConfigurationError
from supervisor.workspace_files import Selection, reread, resolve

SOUND, BROKEN = True, False
GOOD = "- python_file: good.py\n"

CASES: dict[str, tuple[str, dict[str | None, bool]]] = {
    "a misspelled selector": (
        f"load_from:\n- python_fil: b.py\n{GOOD}",
        {"b.py": BROKEN, "good.py": SOUND},
    ),
    "a misspelled key": (
        f"load_from:\n- python_file: {{relative_pth: b.py, location_name: b}}\n{GOOD}",
        {"b": BROKEN, "good.py": SOUND},
    ),
    "a misspelled name": (
        f"load_from:\n- python_file: {{relative_path: b.py, location_nam: b}}\n{GOOD}",
        {"b": BROKEN, "good.py": SOUND},
    ),
    "a bad value": (
        f"load_from:\n- python_file: {{relative_path: b.py, load_timeout: soon}}\n{GOOD}",
        {"b.py": BROKEN, "good.py": SOUND},
    ),
    "no target, a name": (
        f"load_from:\n- python_file: {{location_name: b}}\n{GOOD}",
        {"b": BROKEN, "good.py": SOUND},
    ),
    "neither": (f"load_from:\n- 5\n{GOOD}", {None: BROKEN, "good.py": SOUND}),
    "an environment that is not there": (
        f"load_from:\n- python_file: {{relative_path: b.py, environment: e}}\n{GOOD}",
        {"b.py": BROKEN, "good.py": SOUND},
    ),
    "a broken environment that two use": (
        f"""environments: {{e: {{pithon: "3.8"}}, f: {{}}}}
load_from:
- python_file: {{relative_path: b.py, environment: e}}
- python_file: {{relative_path: c.py, environment: e}}
- python_file: {{relative_path: d.py, environment: f}}
{GOOD}""",
        {"b.py": BROKEN, "c.py": BROKEN, "d.py": SOUND, "good.py": SOUND},
    ),
    "an environment whose file is missing": (
        f"""environments: {{e: {{requirements_file: missing.txt}}}}
load_from:
- python_file: {{relative_path: b.py, environment: e}}
{GOOD}""",
        {"b.py": BROKEN, "good.py": SOUND},
    ),
    "an env file that is missing and two use": (
        f"""load_from:
- python_file: {{relative_path: b.py, env_file: missing.env}}
- python_file: {{relative_path: c.py, env_file: missing.env}}
{GOOD}""",
        {"b.py": BROKEN, "c.py": BROKEN, "good.py": SOUND},
    ),
    "broken defaults": (
        f"defaults: {{load_timeout: soon}}\nload_from:\n- python_file: b.py\n{GOOD}",
        {"b.py": BROKEN, "good.py": BROKEN},
    ),
    "an environment in the defaults that is not there": (
        f"""environments: {{f: {{}}}}
defaults: {{environment: e}}
load_from:
- python_file: {{relative_path: b.py, environment: f}}
{GOOD}""",
        {"b.py": SOUND, "good.py": BROKEN},
    ),
    "a value of the defaults that one entry makes wrong": (
        f"""defaults: {{restart: {{max_delay: 5s}}}}
load_from:
- python_file: {{relative_path: b.py, restart: {{initial_delay: 9s}}}}
{GOOD}""",
        {"b.py": BROKEN, "good.py": SOUND},
    ),
    "misspelled defaults": (
        f"default: {{load_timeout: 5s}}\nload_from:\n{GOOD}",
        {"good.py": BROKEN},
    ),
    "a misspelled list": (f"load_form:\n{GOOD}", {"good.py": BROKEN}),
    "no list": ("load_from: 5\n", {None: BROKEN}),
    "another key alone": ("nothing: 5\n", {None: BROKEN}),
    "an empty file": ("", {None: BROKEN}),
    "no YAML": ("load_from: [\n", {None: BROKEN}),
    "an alias to a broken map": (
        f"""load_from:
- python_file: {{relative_path: b.py, limits: &a {{nicee: 1}}}}
- python_file: {{relative_path: c.py, limits: *a}}
{GOOD}""",
        {"b.py": BROKEN, "c.py": BROKEN, "good.py": SOUND},
    ),
    "a key that stands twice in an entry": (
        f"load_from:\n- python_file: {{relative_path: b.py, env: {{}}, env: {{A: b}}}}\n{GOOD}",
        {"b.py": BROKEN, "good.py": SOUND},
    ),
    "a key that stands twice in its metadata": (
        f"load_from:\n- python_file: {{relative_path: b.py, metadata: {{a: {{b: 1, b: 2}}}}}}\n{GOOD}",
        {"b.py": BROKEN, "good.py": SOUND},
    ),
    "a scalar that cannot be": (
        f"load_from:\n- python_file: {{relative_path: b.py, env: {{A: !!int x}}}}\n{GOOD}",
        {"b.py": BROKEN, "good.py": SOUND},
    ),
    "a key that stands twice in an environment": (
        f"""environments: {{e: {{python: "3.8", python: "3.9"}}}}
load_from:
- python_file: {{relative_path: b.py, environment: e}}
{GOOD}""",
        {"b.py": BROKEN, "good.py": SOUND},
    ),
    "a key that stands twice at the top": (
        f"load_from: []\nload_from:\n{GOOD}",
        {None: BROKEN},
    ),
    "a merge of what has a flaw": (
        f"""load_from:
- python_file: &a {{relative_path: b.py, env: {{}}, env: {{}}}}
- python_file: {{<<: *a, location_name: c}}
{GOOD}""",
        {"b.py": BROKEN, "c": BROKEN, "good.py": SOUND},
    ),
    "no port": (
        f"load_from:\n- grpc_server: {{location_name: b}}\n{GOOD}",
        {"b": BROKEN, "good.py": SOUND},
    ),
    "a cloud file": (
        """locations:
- {location_name: b, code_source: {module_nam: m}}
- {location_name: c, code_source: {}}
- {location_name: good, code_source: {module_name: m}}
""",
        {"b": BROKEN, "c": BROKEN, "good": SOUND},
    ),
    "the defaults of a cloud file": (
        """defaults: {image: [x]}
locations:
- {location_name: good, code_source: {module_name: m}}
""",
        {"good": BROKEN},
    ),
}


def again(directory: Path, *files: str) -> Desired:
    selection = Selection(files=tuple(map(Path, files)))
    spec, desired = reread(selection, cwd=directory, environ=MISTAKEN_ENVIRON)
    assert [one.name for one in spec.locations] == [
        one.name for one in desired.entries if one.problem is None
    ]
    return desired


def soundness(desired: Desired) -> dict[str | None, bool]:
    told = {(one.position, one.message) for one in desired.problems}
    for one in desired.entries:
        assert one.problem is not None or one.spec is not None
        assert one.problem is None or (one.problem.position, one.problem.message) in told
    return {one.name: one.problem is None for one in desired.entries}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_concerns_its_entry(tmp_path: Path, name: str) -> None:
    text, expected = CASES[name]
    (tmp_path / "w.yaml").write_text(text)
    desired = again(tmp_path, "w.yaml")
    assert soundness(desired) == expected
    assert {one.places for one in desired.entries} == {(str(tmp_path / "w.yaml"),)}
    with pytest.raises(ConfigurationError) as caught:
        resolve(Selection(files=(Path("w.yaml"),)), cwd=tmp_path, environ=MISTAKEN_ENVIRON)
    assert caught.value.problems == desired.problems


def test_a_file_that_cannot_be_read_concerns_what_needs_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("environments: [\n")
    (tmp_path / "b.yaml").write_text(
        f"load_from:\n- python_file: {{relative_path: b.py, environment: e}}\n{GOOD}"
    )
    desired = again(tmp_path, "a.yaml", "b.yaml")
    assert soundness(desired) == {None: BROKEN, "b.py": BROKEN, "good.py": SOUND}
    assert len(desired.problems) == 1
    assert [one.places[-1].rpartition("/")[2] for one in desired.entries] == [
        "a.yaml",
        "b.yaml",
        "b.yaml",
    ]


def test_each_project_of_a_workspace_is_an_entry(tmp_path: Path) -> None:
    (tmp_path / "dg.toml").write_text(
        dedent("""\
        directory_type = "workspace"
        [workspace]
        projects = [{path = "a"}, {path = "b"}, {path = "c"}, {pth = "d"}]
        """)
    )
    project = 'directory_type = "project"\n[project]\nroot_module = "m"\n'
    for name, text in (("a", project), ("b", "x = [\n"), ("d", project)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dg.toml").write_text(text)
    desired = again(tmp_path, "dg.toml")
    file = str(tmp_path / "dg.toml")
    assert [(one.name, one.places[1:], one.problem is None) for one in desired.entries] == [
        ("a", (str(tmp_path / "a"),), SOUND),
        (None, (str(tmp_path / "b"),), BROKEN),
        (None, (str(tmp_path / "c"),), BROKEN),
        ("d", (str(tmp_path / "d"),), BROKEN),
    ]
    assert {one.places[0] for one in desired.entries} == {file}


def test_each_module_of_a_table_is_an_entry(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        dedent("""\
        [tool.dagster]
        modules = [{type = "module", name = "a"}, {type = "file", name = "b"},
                   {type = "module", name = "c", nme = "x"}]
        """)
    )
    desired = again(tmp_path, "pyproject.toml")
    assert soundness(desired) == {"a": SOUND, None: BROKEN, "c": BROKEN}
