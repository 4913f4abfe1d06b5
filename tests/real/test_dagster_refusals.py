"""What real Dagster releases refuse to load, told with its kind and its place."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from .eras import CURRENT, OLDEST, SINCE_JOBS, Environment, Load, by_key, job_name, module, warnings

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]


def test_0_9_pipelines_of_one_name_are_refused(
    dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    file = module(
        tmp_path,
        """
        from dagster import pipeline, repository, solid

        @solid
        def one(context):
            return 1

        @pipeline(name="same")
        def first():
            one()

        @pipeline(name="same")
        def second():
            one()

        @repository
        def repo():
            return [first, second]
        """,
    )
    failure = load_target(dagster_environment(OLDEST), file)["failure"]
    assert failure["kind"] == "duplicate_definition"
    assert "pipeline same" in failure["message"]
    assert failure["file"] == "defs.py"


@pytest.mark.parametrize("release", SINCE_JOBS)
def test_duplicates_and_schedules_without_a_job_are_load_failures(
    release: str, dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    python = dagster_environment(release)
    start = """
        from dagster import ScheduleDefinition, job, op, repository

        @op
        def one():
            return 1

        @op
        def two():
            return 1

        @job(name="same")
        def first():
            one()

        @job(name="same")
        def second():
            two()

        lost = ScheduleDefinition(name="lost", JOB_NAME="missing", cron_schedule="* * * * *")
    """.replace("JOB_NAME", job_name(release))
    duplicate = module(
        tmp_path / "duplicate",
        textwrap.dedent(start) + "\n@repository\ndef repo():\n    return [first, second]\n",
    )
    failure = load_target(python, duplicate)["failure"]
    assert failure["kind"] == "duplicate_definition"
    assert "same" in failure["message"]
    missing = module(
        tmp_path / "missing",
        textwrap.dedent(start) + "\n@repository\ndef repo():\n    return [lost]\n",
    )
    failure = load_target(python, missing)["failure"]
    assert failure["kind"] == "invalid_definition"
    assert "missing" in failure["message"]
    assert not failure["message"].startswith("Invariant failed")
    assert any(frame.get("user") for frame in failure["frames"])


def test_one_property_that_raises_does_not_sink_the_rest(
    dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    file = module(
        tmp_path,
        """
        import dagster as dg

        class Odd(dg.ScheduleDefinition):
            @property
            def tags(self):
                raise RuntimeError("no tags today")

        @dg.op
        def one():
            return 1

        @dg.job
        def plain():
            one()

        odd = Odd(name="odd", job=plain, cron_schedule="0 1 * * *")
        defs = dg.Definitions(jobs=[plain], schedules=[odd])
        """,
    )
    answer = load_target(dagster_environment(CURRENT), file)
    assert by_key(answer)["schedule:odd"]["cron_schedule"] == "0 1 * * *"
    assert "graph" in by_key(answer)["job:plain"]
    assert "schedule odd" in warnings(answer)["undescribable"]
    assert "no tags today" in warnings(answer)["undescribable"]
