"""Loads targets in real interpreters, as a shim would, for the tests of runner_shim."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
DRIVER = Path(__file__).parent / "programs" / "load_target.py"
VERSIONS = ("3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")


def interpreter(version: str) -> str | None:
    """The path of ``python<version>`` from PATH or pyenv, or None."""
    for home in sorted((Path.home() / ".pyenv" / "versions").glob(version + ".*")):
        if (home / "bin" / "python").exists():
            return str(home / "bin" / "python")
    found = shutil.which("python" + version)
    if found and "shims" not in found:
        return found
    return None


def every_interpreter() -> list[Any]:
    """Parameters for a test in each version; a version that is not there is a skip."""
    params = []
    for version in VERSIONS:
        marks = [] if interpreter(version) else [pytest.mark.skip(f"no python {version} here")]
        params.append(pytest.param(interpreter(version), id=version, marks=marks))
    return params


def write(directory: Path, files: dict[str, str]) -> None:
    """Write dedented texts into files below the directory."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def load(
    directory: Path,
    files: dict[str, str] | None = None,
    *,
    kind: str = "python_file",
    name: str = "defs.py",
    attribute: str | None = None,
    python: str | None = None,
    describe: list[list[str | None]] | None = None,
    working_directory: Path | None = None,
    options: tuple[str, ...] = (),
) -> dict[str, Any]:
    """What the driver prints for a target: ``document`` … or ``failure``; see its docstring."""
    write(directory, files or {})
    request = {
        "kind": kind,
        "name": str(directory / name) if kind == "python_file" else name,
        "attribute": attribute,
        "working_directory": str(working_directory or directory),
        "describe": describe or [],
    }
    done = subprocess.run(
        [python or sys.executable, *options, str(DRIVER), str(ROOT), json.dumps(request)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd="/",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def keys(answer: dict[str, Any]) -> list[str]:
    """``kind:name[@repository]`` of each definition, in the document's order."""
    assert "failure" not in answer, answer["failure"].get("traceback", answer["failure"])
    return [
        f"{d['kind']}:{d['name']}" + (f"@{d['repository']}" if "repository" in d else "")
        for d in answer["document"]["definitions"]
    ]


def failure(answer: dict[str, Any]) -> dict[str, Any]:
    """The failure, which must be there."""
    assert "failure" in answer, keys(answer)
    result: dict[str, Any] = answer["failure"]
    return result


def by_key(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The definitions by their key."""
    return dict(zip(keys(answer), answer["document"]["definitions"], strict=True))
