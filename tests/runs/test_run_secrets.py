"""What clients see of a run has no secret of its configuration or its tags in it, whichever method shows it."""

from __future__ import annotations

import json
from typing import Any

from launched import HEAD, journals, launching

from supervisor.errors import RequestError

SECRET = "hunter2-of-the-database"
MODULE = (
    HEAD
    + """
@op(config_schema={"password": str, "url": str, "env": dict})
def work(context):
    context.log.info("connecting with password=" + context.op_config["password"])

@op(config_schema={"password": str})
def fails(context):
    raise ValueError("no access with password=" + context.op_config["password"])

@job(partitions_def=["red", "green"])
def nightly():
    work()

@job
def broken():
    fails()
"""
)
CONFIG = {
    "ops": {
        "work": {
            "config": {
                "password": SECRET,
                "url": f"postgresql://etl:{SECRET}@db/ledger",
                "env": {"TOKEN": SECRET},
            }
        }
    }
}
FAILING = {"ops": {"fails": {"config": {"password": SECRET}}}}
TAGS = {"api_key": SECRET, "from": f"https://etl:{SECRET}@example.com/jobs", "team": "ml"}


async def test_no_answer_about_a_run_has_its_secrets(tmp_path, runtime):
    said: dict[str, list[Any]] = {}
    held = {"tag_concurrency": {"api_key=*": 0}}
    async with launching(tmp_path, runtime, MODULE, runs=held) as team:

        async def ask(method: str, **params: Any) -> dict[str, Any]:
            answer = await team.ask(method, **params)
            said.setdefault(method, []).append(answer)
            return answer

        one = {"location": "team", "job": "nightly", "partition": "red", "config": CONFIG}
        await ask("launch", **one, tags=TAGS, dry_run=True)
        launched = await ask("launch", **one, tags=TAGS)
        run = launched["run"]["run"]
        many = {**one, "partition": None, "partition_range": "red..green", "tags": TAGS}
        span = (await ask("launch", **many))["run"]["run"]
        # All of them wait, and say for which tag.
        waiting = await ask("run", run=run)
        assert "api_key=(hidden)" in waiting["reason"]
        async for news in team.news(span):
            said["follow_run"] = [news]
            break
        for name in (run, span):
            await ask("run", run=name)
            await ask("cancel_run", run=name)
        await ask("runs")
        await ask("runs", parent=span)
        await ask("retry_run", run=run)
        # What runs says nothing of them either, nor does what fails.
        tags = {"password": SECRET, "team": "ml"}
        good = (await ask("launch", **one, tags=tags))["run"]["run"]
        bad = (await ask("launch", location="team", job="broken", config=FAILING, tags=tags))["run"]
        for name in (good, bad["run"]):
            async for news in team.news(name, events=0, out=0):
                said["follow_run"].append(news)
            said["run"].append(await team.ended(name))
        try:
            wrong = {"ops": {"fails": {"config": {"password": [SECRET]}}}}
            await ask("launch", location="team", job="broken", config=wrong, tags=tags)
        except RequestError as refused:
            said["launch"].append(f"{refused} {refused.hint}")
        assert [one["state"] for one in said["run"][-2:]] == ["success", "failure"]
        kinds = {event["type"] for news in said["follow_run"] for event in news.get("events", ())}
        assert {"LOGS", "STEP_FAILURE"} <= kinds
        journal = journals(tmp_path)[good]
    assert said.keys() == {"launch", "run", "runs", "follow_run", "cancel_run", "retry_run"}
    for method, answers in said.items():
        assert SECRET not in json.dumps(answers), method
        assert "ml" in json.dumps(answers), method  # and what is no secret is there
    # The run itself has them.
    order = journal.order()
    assert order is not None
    assert (order["config"], order["tags"]["password"]) == (CONFIG, SECRET)
