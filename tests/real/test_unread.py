"""What real frameworks that are not read leave in a module is recognized, and nothing is called."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import find_interpreter, find_uv

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]

# Framework -> what to install, a module of a team's, and what is said of it.
MODULES = {
    "apscheduler": (
        "apscheduler<4",
        """\
        from apscheduler.schedulers.background import BackgroundScheduler
        scheduler = BackgroundScheduler()
        """,
        "1 APScheduler scheduler found; APScheduler is not read",
    ),
    "celery": (
        "celery",
        """\
        from celery import Celery, Task, current_app, shared_task
        app = Celery("team")

        @app.task
        def add(): raise SystemExit("called")

        plus = add

        @shared_task
        def multiply(): raise SystemExit("called")

        @app.task(lazy=False)
        def divide(): raise SystemExit("called")
        """,
        "3 Celery tasks found; Celery is not read",
    ),
    "dramatiq": (
        "dramatiq",
        """\
        import dramatiq
        from dramatiq.brokers.stub import StubBroker
        dramatiq.set_broker(StubBroker())

        @dramatiq.actor
        def send(): raise SystemExit("called")
        """,
        "1 Dramatiq actor found; Dramatiq is not read",
    ),
    "fastapi": (
        "fastapi",
        """\
        from fastapi import FastAPI
        app = FastAPI()

        @app.get("/a")
        def a(): raise SystemExit("called")

        @app.post("/b")
        def b(): raise SystemExit("called")
        """,
        "2 FastAPI routes found; FastAPI is not read",
    ),
    "huey": (
        "huey",
        """\
        from huey import MemoryHuey
        huey = MemoryHuey()

        @huey.task()
        def count(): raise SystemExit("called")
        """,
        "1 Huey task found; Huey is not read",
    ),
    "kedro": (
        "kedro",
        """\
        from kedro.pipeline import node, pipeline
        whole = pipeline([node(lambda a: a, "a", "b", name="copy")])
        """,
        "1 Kedro pipeline found; Kedro is not read",
    ),
    "luigi": (
        "luigi",
        """\
        import luigi
        from luigi import Task

        class Rows(Task): pass

        class Report(luigi.Task): pass
        """,
        "2 Luigi tasks found; Luigi is not read",
    ),
    "metaflow": (
        "metaflow",
        """\
        from metaflow import FlowSpec, step

        class Train(FlowSpec):
            @step
            def start(self): self.next(self.end)

            @step
            def end(self): pass
        """,
        "1 Metaflow flow found; Metaflow is not read",
    ),
    "prefect": (
        "prefect",
        """\
        from prefect import flow, task

        @task
        def load(): raise SystemExit("called")

        @flow
        def nightly(): raise SystemExit("called")
        """,
        "1 Prefect flow found; Prefect is not read",
    ),
    "procrastinate": (
        "procrastinate",
        """\
        import procrastinate
        from procrastinate.testing import InMemoryConnector
        app = procrastinate.App(connector=InMemoryConnector())

        @app.task
        def send(): raise SystemExit("called")
        """,
        "1 Procrastinate task found; Procrastinate is not read",
    ),
    "rq": (
        "rq",
        """\
        import redis, rq
        queue = rq.Queue(connection=redis.Redis())
        """,
        "1 RQ queue found; RQ is not read",
    ),
    "taskiq": (
        "taskiq",
        """\
        import taskiq
        broker = taskiq.InMemoryBroker()

        @broker.task
        async def send(): raise SystemExit("called")
        """,
        "1 Taskiq task found; Taskiq is not read",
    ),
    "temporal": (
        "temporalio",
        """\
        from temporalio import activity, workflow

        @activity.defn
        def load(): raise SystemExit("called")

        @workflow.defn
        class Nightly:
            @workflow.run
            async def run(self): pass
        """,
        "1 Temporal workflow found; Temporal is not read",
    ),
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    interpreter = find_interpreter("3.11") or find_interpreter("3.12")
    if interpreter is None:
        pytest.skip("no recent CPython on this machine")
    folder = tmp_path_factory.mktemp("frameworks") / "environment"
    python = folder / "bin" / "python"
    requirements = [requirement for requirement, _text, _said in MODULES.values()]
    for command in (
        [find_uv(), "venv", "-q", "--python", str(interpreter), str(folder)],
        [find_uv(), "pip", "install", "-q", "--python", str(python), *requirements],
    ):
        subprocess.run(command, check=True, timeout=500)
    return python


@pytest.mark.parametrize("name", MODULES)
def test_what_a_team_has_is_named(
    name: str,
    environment: Path,
    load_target: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # some write a profile there
    _requirement, text, said = MODULES[name]
    file = tmp_path / "team.py"
    file.write_text(textwrap.dedent(text))
    failure = load_target(environment, file)["failure"]
    assert failure["kind"] == "no_definitions"
    assert failure["message"] == f"no definitions found in team: {said}"
