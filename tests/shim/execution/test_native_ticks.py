"""What native schedules and sensors ask for, the same in every Python."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from loading import every_interpreter, write
from places import PROGRAMS, ROOT

MODULE = """\
from runner_shim import *

@op
def go():
    pass

@job
def nightly():
    go()

@job
def hourly():
    go()

plain = ScheduleDefinition("plain", "0 5 * * *", job=nightly, run_config={"config": [1, None]},
                           tags={"team": "risk"}, execution_timezone="Europe/Berlin")
made = ScheduleDefinition("made", "@daily", job=nightly,
                          run_config=lambda context: {"day": str(context.scheduled_execution_time)})

@schedule("@daily", job=nightly)
def one(context):
    context.log.info("for %s", context.scheduled_execution_time.isoformat())
    return RunRequest(partition_key="2026-11-27", tags={"n": 1})

@schedule("@daily", job=nightly)
def two():
    return [RunRequest("a"), RunRequest("b")]

@schedule("@daily", job=nightly)
def config_alone(context):
    return {"ops": {}}

@sensor(jobs=[nightly, hourly])
def files(context):
    seen = int(context.cursor or 0)
    if seen > 1:
        yield SkipReason("nothing after %s" % context.last_run_key)
        return
    context.update_cursor(seen + 1)
    yield RunRequest("file-%d" % seen, job_name="hourly", run_config={"at": (1, 2.5)})

@sensor(job=nightly)
def silent(context):
    pass

@sensor(job=nightly)
def wrong(context):
    return 5

@sensor(job=nightly)
def among(context):
    return [RunRequest(), 5]

@sensor(jobs=[nightly, hourly])
def vague(context):
    return RunRequest("a")

@sensor(job=nightly)
def other(context):
    return RunRequest("a", job_name="nightli")

@sensor(job=nightly)
def many(context):
    return [RunRequest(str(n)) for n in range(1001)]

@sensor(job=nightly)
def odd(context):
    return RunRequest("a", run_config={"when": object})

@sensor(job=nightly)
async def later(context):
    return RunRequest("a")

@sensor(job=nightly)
def leaves(context):
    import sys
    sys.exit(3)

@sensor(job=nightly)
def bad(context):
    return {}["bucket"]
"""
PAGE = (ROOT / "docs" / "automations.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```\n<!-- ticks: (.*?) -->\n", PAGE, re.M | re.S)
AT = 1_764_219_600  # 2025-11-27 05:00 UTC


def ticks(
    folder: Path, python: str, orders: list[dict[str, Any]], module: str = MODULE
) -> list[dict[str, Any]]:
    write(folder, {"defs.py": module})
    target = {
        "kind": "python_file",
        "name": str(folder / "defs.py"),
        "working_directory": str(folder),
    }
    done = subprocess.run(
        [
            python,
            PROGRAMS / "tick_orders.py",
            ROOT,
            json.dumps({"target": target, "orders": orders}),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def request(**fields: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {
        "job": "nightly", "assets": None, "run_key": None, "config": {}, "tags": {}, "partition": None
    }  # fmt: skip
    return {**nothing, **fields}


@pytest.mark.parametrize("python", every_interpreter())
def test_what_they_ask_for(python, tmp_path):
    orders = [{"name": name, "time": AT, "offset": 3600} for name in
              ("plain", "made", "one", "two", "config_alone")]  # fmt: skip
    plain, made, one, two, config = ticks(tmp_path, python, orders)
    assert plain == {
        "result": {
            "requests": [request(config={"config": [1, None]}, tags={"team": "risk"})],
            "skipped": None,
            "cursor": None,
            "logs": [],
            "framework": "native",
        },
        "plain": True,
    }
    assert made["result"]["requests"] == [request(config={"day": "2025-11-27 06:00:00+01:00"})]
    assert not made["plain"]
    assert one["result"]["requests"] == [request(partition="2026-11-27", tags={"n": "1"})]
    logged = {"level": "INFO", "message": "for 2025-11-27T06:00:00+01:00"}
    assert one["result"]["logs"] == [logged]
    assert [each["run_key"] for each in two["result"]["requests"]] == ["a", "b"]
    assert config["result"]["requests"] == [request(config={"ops": {}})]


@pytest.mark.parametrize("python", every_interpreter())
def test_a_sensor_has_its_cursor_and_says_why_it_skips(python, tmp_path):
    orders = [
        {"name": "files"},
        {"name": "files", "cursor": "1", "kind": "sensor", "framework": "native"},
        {"name": "files", "cursor": "2", "last_run_key": "file-1"},
        {"name": "silent"},
    ]
    first, second, third, silent = ticks(tmp_path, python, orders)
    asked = request(job="hourly", run_key="file-0", config={"at": [1, 2.5]})
    assert (first["result"]["requests"], first["result"]["cursor"]) == ([asked], "1")
    assert second["result"]["requests"][0]["run_key"] == "file-1"
    assert third["result"]["skipped"] == "nothing after file-1"
    assert (third["result"]["requests"], third["result"]["cursor"]) == ([], None)
    assert silent["result"]["skipped"] == "it returned nothing to run"


@pytest.mark.parametrize("python", every_interpreter())
def test_what_they_may_not_say_is_named(python, tmp_path):
    expected = {
        "wrong": ("bad_tick", "sensor wrong returned a value of type int, which is no RunRequest"),
        "among": ("bad_tick", "sensor among returned among others a value of type int, which is"),
        "vague": ("bad_tick", "sensor vague has 2 jobs, and a RunRequest names none"),
        "other": ("bad_tick", "sensor other has no job 'nightli'"),
        "many": ("bad_tick", "sensor many asked for 1001 runs, and one tick asks for at most 1000"),
        "odd": ("bad_tick", "the run config of sensor odd.when has a value of type type"),
        "later": ("not_supported", "sensor later is an async function"),
        "leaves": ("system_exit", "sys.exit(3) was called"),
        "bad": ("exception", "KeyError: 'bucket'"),
        "nowhere": ("unknown_definition", "no schedule or sensor is named 'nowhere'"),
    }
    found = ticks(tmp_path, python, [{"name": name} for name in expected])
    for (name, (kind, words)), one in zip(expected.items(), found, strict=True):
        assert one["failure"]["kind"] == kind, (name, one)
        assert words in one["failure"]["message"], (name, one)
    frame = found[list(expected).index("bad")]["failure"]["frames"][-1]
    assert (frame["file"], frame["function"]) == ("defs.py", "bad")


@pytest.mark.parametrize("number", range(2))
def test_the_examples_of_the_guide_ask_for_what_it_says(number, tmp_path):
    assert len(EXAMPLES) == PAGE.count("```python") == 2
    text, orders = EXAMPLES[number]
    asked = json.loads(orders)
    for order, found in zip(asked, ticks(tmp_path, sys.executable, asked, text), strict=True):
        assert len(found["result"]["requests"]) == order["asks"], found
