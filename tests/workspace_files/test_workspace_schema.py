"""The JSON Schema says what the validator does."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from places import ROOT
from workspace_mistakes import CASES

import supervisor.workspace_files
from supervisor.workspace_files import Selection, json_schema, resolve
from supervisor.workspace_files.keys import WORKSPACE


def wrong(value: Any) -> list[str]:
    """What a validator says of ``value``; in tests as strict as an editor is."""
    validator = Draft202012Validator(json_schema())
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for error in sorted(validator.iter_errors(value), key=lambda one: list(map(str, one.path)))
    ]


def test_it_is_plain_json_with_references_that_lead_somewhere() -> None:
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(schema["properties"]) == set(WORKSPACE.fields)
    text = json.dumps(schema)
    for name in schema["$defs"]:
        assert f'"#/$defs/{name}"' in text


def test_every_key_says_what_it_is_for() -> None:
    def walk(schema: Any) -> None:
        if isinstance(schema, list):
            for child in schema:
                walk(child)
        elif isinstance(schema, dict):
            for key, child in schema.get("properties", {}).items():
                assert key == "env" or child.get("description"), key
            for child in schema.values():
                walk(child)

    walk(json_schema())


GOOD = [
    "load_from: []",
    "environments: {e: {python: '3.8', requirements: [a]}}",
    "repository: {module: a, fn: b}",
    "repository: a.py:fn",
    "load_from: [python_file: a.py, python_module: m, python_package: p, autoload_defs_module: d]",
    "load_from: [python_file: {relative_path: {env: X}, attribute: a, location_name: ''}]",
    "load_from: [python_environment: {name: e, target: {python_module: m}, env: {A: 1, B: {env: X}}}]",
    "load_from: [grpc_server: {port: {env: P}, ssl: true, additional_metadata: {a: [1]}}]",
    "load_from: [python_module: {module_name: m, restart: never, load_timeout: 1m30s, limits: {memory: 1GB}}]",
    "load_from: [python_module: {module_name: m, restart: {policy: always, window: 5}, env_file: [a, b]}]",
    "{load_from: [], notify: [{command: [a, b], events: run_lost}, {webhook: 'http://a', late_after: 1h}]}",
    "{load_from: [], runs: {max_concurrent: none, keep: 30d, retries: 2, on_stop: keep, timeout: 1h}}",
    "{load_from: [], runs: {tag_concurrency: {a: 1, 'b=*': 2}, keep: {count: 1, age: 1d}, retries: {delay: 5}}}",
    "{load_from: [], runs: {tag_concurrency: [{key: a, limit: 1, value: {applyLimitPerUniqueValue: true}}]}}",
    "load_from: [python_module: {module_name: m, runs: {keep: none, max_disk: 1GB, retry_lost: true}}]",
    "load_from: [python_module: {module_name: '${M}', load_timeout: '${T:-5s}', verify: '${V}', tags: [a, b=c]}]",
    "load_from: [python_module: {module_name: m, limits: {memory: '${M}'}, runs: {keep: '${K}'}, tags: {a: 1}}]",
    "load_from: [python_module: {env: M}, python_file: {relative_path: a, env: {B: '${C}'}}]",
]
BAD = [
    "load_from: [python_module: a/b.py]",
    "load_from: [python_module: a.b.]",
    "load_from: [python_module: 'a:b']",
    "load_from: [python_module: {module_name: a, attribute: b.c}]",
    "load_from: [grpc_server: {host: a}]",
    "load_from: [grpc_server: {port: 1, socket: a}]",
    "load_from: [python_module: {module_name: m, env: {'A=B': c}}]",
    "environments: {a/b: {python: '3.9'}}",
    "environments: {'': {python: '3.9'}}",
    "environments: {a: {executable_path: x, requirements: [b]}}",
    "repository: {fn: a}",
    "repository: {module: a, file: b, fn: c}",
    "{}",
    "load_from: {}",
    "load_form: []",
    "load_from: [python_file: '']",
    "load_from: [python_file: 5]",
    "load_from: [{python_file: a, python_module: b}]",
    "load_from: [{}]",
    "load_from: [grpc_server: {port: '1'}]",
    "load_from: [python_module: {module_name: m, envs: {}}]",
    "load_from: [python_module: {attribute: a}]",
    "load_from: [python_module: {module_name: m, load_timeout: 5 mins}]",
    "load_from: [python_module: {module_name: m, restart: sometimes}]",
    "load_from: [python_environment: {target: {python_module: {module_name: m, env: {}}}}]",
    "{load_from: [], notify: [{command: a, events: [never]}]}",
    "{load_from: [], runs: {max_concurrent: all}}",
    "{load_from: [], runs: {keep: often}}",
    "{load_from: [], runs: {keep: {age: 30}}}",
    "{load_from: [], runs: {tag_concurrency: [{key: a}]}}",
    "load_from: [python_module: {module_name: m, runs: {on_stop: wait}}]",
]


@pytest.mark.parametrize("text", GOOD)
def test_it_accepts_what_the_validator_accepts(text: str) -> None:
    assert wrong(yaml.safe_load(text)) == []


# What no schema can say, for it depends on other values, files or variables.
BEYOND = {
    *("environments alone", "duplicate key", "an entry twice by an alias", "twice"),
    *("unset", "unset scalar form", "empty value", "not a number"),
    *("unknown environment", "no environments", "unknown default environment", "name and python"),
    *("no requirements file", "no project", "env file", "option as requirement"),
    *("duration without end", "duration nan", "delays"),
    # A name of what is served elsewhere may be any.
    *("slash", "dots", "control", "long"),
}


@pytest.mark.parametrize("name", sorted(set(CASES) - BEYOND))
def test_it_refuses_every_mistake_that_a_schema_can_see(name: str) -> None:
    try:
        value = yaml.safe_load(CASES[name][0])
    except (yaml.YAMLError, ValueError, RecursionError):
        return  # no editor gets as far as the schema
    assert wrong(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("load_from: [grpc_server: {host: a}]", "load_from/0/grpc_server: 'port' is a required property"),
        ("environments: {a: {executable_path: x, requirements: [b]}}", "environments/a/requirements: "),
    ],
)  # fmt: skip
def test_it_names_the_key(text: str, said: str) -> None:
    (found,) = wrong(yaml.safe_load(text))
    assert found.startswith(said)


@pytest.mark.parametrize("text", BAD)
def test_it_refuses_what_the_validator_refuses(text: str) -> None:
    assert wrong(yaml.safe_load(text)) != []


def _files() -> list[tuple[str, str]]:
    """The example files, and every workspace file that the documentation shows in full."""
    found = [
        (str(path.relative_to(ROOT)), path.read_text())
        for path in ROOT.glob("examples/**/workspace*.yaml")
    ]
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.S)):
            if re.search(r"^load_from:", block, re.M) and "…" not in block:
                found.append((f"{page.name}-{number}", block))
    return found


@pytest.mark.parametrize(("name", "text"), _files(), ids=[name for name, _ in _files()])
def test_it_accepts_all_example_files(name: str, text: str) -> None:
    assert wrong(yaml.safe_load(text)) == []


# As they stand in public projects, of ten years; names are changed.
REAL = [
    "load_from:\n  - python_file: repo.py\n",
    "load_from:\n  - python_package: our_package\n  - python_module: other\n",
    """
    load_from:
      - python_file:
          relative_path: hello_world/repository.py
          working_directory: hello_world
          location_name: hello
          attribute: defs
      - python_module:
          module_name: project.definitions
          working_directory: /opt/dagster/app
    """,
    """
    load_from:
      - grpc_server: {host: user_code, port: 4000, location_name: "example"}
      - grpc_server:
          host: {env: CODE_HOST}
          port: {env: CODE_PORT}
      - grpc_server: {socket: /run/dagster.sock}
    """,
    """
    load_from:
      - python_environment:
          executable_path: "venvs/a/bin/python"
          target: {python_package: {package_name: a, location_name: a}}
      - python_environment: {executable_path: python3.7, target: {python_file: b.py}}
    """,
    "repository: {file: repos.py, fn: define_repo}\nscheduler: {module: dagster_cron.cron_scheduler}\n",
    "load_from:\n  - python_file: {relative_path: a.py, executable_path: .venv/bin/python}\n",
    "load_from:\n  - autoload_defs_module: {module_name: team.defs, location_name: team}\n",
    "load_from: []\n",
]


@pytest.mark.parametrize("text", REAL)
def test_it_accepts_the_forms_of_real_projects(text: str, tmp_path: Path) -> None:
    text = dedent(text)
    assert wrong(yaml.safe_load(text)) == []
    (tmp_path / "w.yaml").write_text(text)
    environ = {"CODE_HOST": "h", "CODE_PORT": "1"}
    resolve(Selection(files=(Path("w.yaml"),)), cwd=tmp_path, environ=environ)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("load_form: []", "load_form"),
        ("load_from: [python_fil: a.py]", "python_fil"),
        ("load_from: [python_file: {relativ_path: a.py}]", "relativ_path"),
        ("load_from: [python_file: {relative_path: a.py, limits: {memry: 1GB}}]", "memry"),
        ("load_from: [python_file: {relative_path: a.py, restart: {polcy: never}}]", "polcy"),
        ("load_from: [python_file: {relative_path: a.py, runs: {retries: {cont: 1}}}]", "cont"),
        ("load_from: [python_file: {relative_path: a.py, runs: {keep: {cont: 1}}}]", "cont"),
        ("load_from: [python_environment: {target: {python_modul: m}}]", "python_modul"),
        ("{load_from: [], environments: {e: {pyton: '3'}}}", "pyton"),
        ("{load_from: [], defaults: {load_timout: 1}}", "load_timout"),
        ("{repository: {modul: a, fn: b}}", "modul"),
    ],
)
def test_a_typo_is_told_by_its_key(text: str, key: str) -> None:
    assert any(f"('{key}' was unexpected)" in one for one in wrong(yaml.safe_load(text)))


def test_what_an_editor_shows_of_a_key_is_valid_there() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].startswith("urn:")
    shown: dict[str, int] = {"default": 0, "examples": 0}

    def walk(part: Any) -> None:
        if isinstance(part, list):
            for one in part:
                walk(one)
        elif isinstance(part, dict):
            validator = Draft202012Validator({**part, "$defs": schema["$defs"]})
            values = part.get("examples", [])
            if "default" in part and not isinstance(part["default"], dict):
                values = [*values, part["default"]]
                shown["default"] += 1
            shown["examples"] += len(part.get("examples", []))
            for value in values:
                assert not list(validator.iter_errors(value)), (part.get("description"), value)
            for one in part.values():
                walk(one)

    walk({key: one for key, one in schema.items() if key != "$id"})
    assert shown["default"] >= 15
    assert shown["examples"] >= 20


def test_every_key_is_documented_with_its_default() -> None:
    document = (ROOT / "docs" / "workspace.md").read_text()
    rows = [line for line in document.splitlines() if line.startswith("|")]
    parts: list[object] = [json_schema()]
    checked = 0
    for part in parts:
        if isinstance(part, list):
            parts += part
        if not isinstance(part, dict):
            continue
        parts += part.values()
        properties = part.get("properties", {})
        for key, one in properties.items() if isinstance(properties, dict) else ():
            assert f"`{key}`" in document or re.search(rf"\b{key}:", document), key
            default = one.get("default") if isinstance(one, dict) else None
            if isinstance(default, str | int | float):
                checked += 1
                shown = re.compile(rf"`{re.escape(str(default).lower())}`", re.IGNORECASE)
                own = [row for row in rows if f"`{key}`" in row]
                assert any(shown.search(row) for row in own), f"{key}: the default {default}"
    assert checked > 30


def test_the_public_names() -> None:
    assert supervisor.workspace_files.__all__ == [
        "Selection",
        "file_in",
        "identify",
        "json_schema",
        "missing_hint",
        "names",
        "reread",
        "resolve",
    ]
    for path in Path(supervisor.workspace_files.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        assert any("__all__" in ast.unparse(node) for node in tree.body), path
