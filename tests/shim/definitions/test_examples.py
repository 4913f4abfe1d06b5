"""The examples of docs/definitions.md: they load, run as the page says, and fit their types."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from places import ROOT
from running import execute

PAGE = (ROOT / "docs" / "definitions.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```\n(?:<!-- orders: (.*?) -->\n)?", PAGE, re.M | re.S)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs_as_the_page_says(number, tmp_path):
    text, orders = EXAMPLES[number]
    assert orders, f"no orders follow:\n{text}"
    target = tmp_path / "defs.py"
    target.write_text(text)
    kept: dict[str, Any] = {"storage": str(tmp_path / "values")}
    for order, found in zip(
        json.loads(orders),
        execute(target, [{**kept, **one} for one in json.loads(orders)]),
        strict=True,
    ):
        assert found.get("outcome", found) == {"state": "success", "failure": None}, order


def test_there_are_examples_of_everything_new_to_a_reader():
    for name in ("RetryPolicy", "Output", "resource", "max_concurrent", "partitions_def", "sensor"):
        assert any(name in text for text, _ in EXAMPLES), name


def test_a_called_op_or_asset_is_a_plain_call():
    space: dict[str, Any] = {}
    exec(EXAMPLES[0][0], space)  # noqa: S102 - our own page
    assert space["scale"]([1, 2]) == [2, 4]


@pytest.mark.slow
def test_the_examples_fit_the_types(tmp_path):
    folder = tmp_path / "examples"
    folder.mkdir()
    for number, (text, _) in enumerate(EXAMPLES):
        (folder / f"example_{number}.py").write_text(text)
    wrong = (
        "from runner_shim import Output, RetryPolicy, job, op\n"
        "RetryPolicy(max_retries='2')\n"
        "Output(1, metadata=3)\n"
        "@job(max_concurrent='4')\n"
        "def nightly() -> None: ...\n"
        "@op(retry_policy=3)\n"
        "def load() -> None: ...\n"
    )
    (folder / "wrong.py").write_text(wrong)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--check-untyped-defs", "--cache-dir",
         str(tmp_path / "cache"), str(folder)],
        capture_output=True, text=True, check=False, timeout=300, cwd=ROOT,
    )  # fmt: skip
    places = [
        line.partition(": error:")[0] for line in done.stdout.splitlines() if "error:" in line
    ]
    assert [one.rpartition("/")[2] for one in places] == [
        f"wrong.py:{line}" for line in (2, 3, 4, 6)
    ], done.stdout
