"""The four eras of Dagster that the tests load, and what is read from an answer of the adapter."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .conftest import RELEASES

OLDEST, SOLIDS_AND_OPS, FIRST_DEFINITIONS, CURRENT = RELEASES
ERAS = {
    OLDEST: "dagster_0_9",
    SOLIDS_AND_OPS: "dagster_0_15",
    FIRST_DEFINITIONS: "dagster_1_1",
    CURRENT: "dagster_current",
}
SINCE_JOBS = [SOLIDS_AND_OPS, FIRST_DEFINITIONS, CURRENT]
SINCE_DEFINITIONS = [FIRST_DEFINITIONS, CURRENT]

Environment = Callable[[str], Path]
Load = Callable[..., Any]


def module(directory: Path, source: str, name: str = "defs.py") -> Path:
    file = directory / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(source))
    return file


def by_key(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    assert "failure" not in answer, answer["failure"]
    return {f"{d['kind']}:{d['name']}": d for d in answer["document"]["definitions"]}


def names(answer: dict[str, Any]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for item in by_key(answer).values():
        result.setdefault(item["kind"], []).append(item["name"])
    return result


def warnings(answer: dict[str, Any]) -> dict[str, str]:
    assert "failure" not in answer, answer["failure"]
    return {item["code"]: item["message"] for item in answer["report"]["warnings"]}


def job_name(release: str) -> str:
    """What a schedule's parameter for the name of its job was called."""
    return "pipeline_name" if release == SOLIDS_AND_OPS else "job_name"
