"""The JSON Schema says what the validator does."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import ROOT

import supervisor.workspace_files
from supervisor.workspace_files import json_schema
from supervisor.workspace_files.keys import OWN_KEYS, WORKSPACE


def accepts(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """As much of JSON Schema as ours uses; an unknown keyword fails the test."""
    known = {"$schema", "title", "description", "deprecated", "$defs"}
    for keyword, wanted in schema.items():
        if keyword in known:
            continue
        is_map, is_number = isinstance(value, dict), isinstance(value, int | float)
        is_number = is_number and not isinstance(value, bool)
        checks: dict[str, Any] = {
            "$ref": lambda w=wanted: accepts(
                root["$defs"][w.removeprefix("#/$defs/")], value, root
            ),
            "anyOf": lambda w=wanted: any(accepts(option, value, root) for option in w),
            "enum": lambda w=wanted: value in w,
            "type": lambda w=wanted: any(
                _is(kind, value) for kind in ([w] if isinstance(w, str) else w)
            ),
            "minLength": lambda w=wanted: not isinstance(value, str) or len(value) >= w,
            "pattern": lambda w=wanted: (
                not isinstance(value, str) or __import__("re").search(w, value)
            ),
            "minimum": lambda w=wanted: not is_number or value >= w,
            "exclusiveMinimum": lambda w=wanted: not is_number or value > w,
            "maximum": lambda w=wanted: not is_number or value <= w,
            "items": lambda w=wanted: (
                not isinstance(value, list) or all(accepts(w, item, root) for item in value)
            ),
            "minItems": lambda w=wanted: not isinstance(value, list) or len(value) >= w,
            "required": lambda w=wanted: not is_map or all(key in value for key in w),
            "minProperties": lambda w=wanted: not is_map or len(value) >= w,
            "maxProperties": lambda w=wanted: not is_map or len(value) <= w,
            "properties": lambda w=wanted: (
                not is_map or all(accepts(w[key], value[key], root) for key in value if key in w)
            ),
            "additionalProperties": lambda w=wanted: (
                not is_map
                or all(
                    w is not False and accepts(w, value[key], root)
                    for key in value
                    if key not in schema.get("properties", {})
                )
            ),
        }
        if not checks[keyword]():
            return False
    return True


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    types = {"string": str, "integer": int, "number": (int, float), "array": list, "object": dict}
    return isinstance(value, types.get(kind, ()))


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
]
BAD = [
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
    schema = json_schema()
    assert accepts(schema, yaml.safe_load(text), schema)


@pytest.mark.parametrize("text", BAD)
def test_it_refuses_what_the_validator_refuses(text: str) -> None:
    schema = json_schema()
    assert not accepts(schema, yaml.safe_load(text), schema)


def test_every_key_is_documented() -> None:
    document = (ROOT / "docs" / "workspace.md").read_text()
    for key in [*WORKSPACE.fields, *OWN_KEYS]:
        assert f"`{key}`" in document, key


def test_the_public_names() -> None:
    assert supervisor.workspace_files.__all__ == [
        "Selection",
        "identify",
        "json_schema",
        "names",
        "reread",
        "resolve",
    ]
    for path in Path(supervisor.workspace_files.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        assert any("__all__" in ast.unparse(node) for node in tree.body), path
