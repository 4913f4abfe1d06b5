"""Dagster's unmodified webserver and daemon, of today, on code of every release from 0.15 on.

The measure is Dagster itself: its own servers of the same code are in the same page.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import BETWEEN, SERVED
from .eras import CURRENT, FIRST_DEFINITIONS, SOLIDS_AND_OPS, Environment
from .hosted import Hosted, hosted, own

pytestmark = [
    pytest.mark.real_dagster,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("dagster page"),
]

HOST, OLDER_HOST = "webserver-py3.13", "webserver-1.12.2-py3.13"
(FIRST_CHECKS,) = BETWEEN
(BEFORE_LAST,) = SERVED
EVERY = [SOLIDS_AND_OPS, FIRST_DEFINITIONS, FIRST_CHECKS, BEFORE_LAST, CURRENT]
SINCE_CHECKS = [FIRST_CHECKS, BEFORE_LAST, CURRENT]


@pytest.fixture(scope="module")
def here(
    tmp_path_factory: pytest.TempPathFactory, dagster_environment: Environment
) -> Iterator[Hosted]:
    """One page with a location of every release, by us and by Dagster's own server."""
    pythons = {release: dagster_environment(release) for release in EVERY}
    directory = tmp_path_factory.mktemp("page")
    runtime = tmp_path_factory.mktemp("run")
    runtime.chmod(0o700)
    host = dagster_environment(HOST)
    with hosted(directory, runtime, host, pythons, beside=True) as found:
        yield found


def job_of(here: Hosted, release: str, asset: str) -> str:
    """The implicit job of an asset: those with other partitions were in others before 1.8."""
    jobs = here.page.repository(release)["jobs"]
    names = {one["name"]: {solid["name"] for solid in one["solids"]} for one in jobs}
    return next(name for name in names if name.startswith("__ASSET_JOB") and asset in names[name])


@pytest.mark.parametrize("release", EVERY)
def test_the_page_shows_what_it_shows_of_dagsters_own_server(here: Hosted, release: str) -> None:
    ours = here.page.repository(release)
    assert ours == here.page.repository(own(release))
    assert {one["name"] for one in ours["jobs"]} >= {"steps", "long", "quick"}


@pytest.mark.parametrize("release", EVERY)
def test_a_run_has_the_steps_that_it_has_on_dagsters_own_server(here: Hosted, release: str) -> None:
    theirs = here.page.launch(own(release), "steps")
    ours = here.page.launch(release, "steps")
    assert here.page.succeeded(ours) == here.page.succeeded(theirs)


@pytest.mark.parametrize("release", EVERY)
def test_assets_are_materialized(here: Hosted, release: str) -> None:
    run = here.page.launch(release, job_of(here, release, "table"), assets=["table", "report"])
    kinds = [kind for kind, _step in here.page.succeeded(run)]
    assert kinds.count("ASSET_MATERIALIZATION") == 2


@pytest.mark.parametrize("release", EVERY)
def test_one_partition_of_an_asset_is_materialized(here: Hosted, release: str) -> None:
    tags = {"dagster/partition": "eu"}
    run = here.page.launch(
        release, job_of(here, release, "regional"), assets=["regional"], tags=tags
    )
    assert ("ASSET_MATERIALIZATION", "regional") in here.page.succeeded(run)


@pytest.mark.parametrize("release", SINCE_CHECKS)
def test_a_check_of_an_asset_is_run(here: Hosted, release: str) -> None:
    job = job_of(here, release, "table")
    run = here.page.launch(release, job, assets=[], checks=[("table", "sound")])
    kinds = [kind for kind, _step in here.page.succeeded(run)]
    assert "ASSET_CHECK_EVALUATION" in kinds


@pytest.mark.parametrize("release", EVERY)
def test_a_backfill_runs_each_partition(here: Hosted, release: str) -> None:
    runs = here.page.partitions_run(release, "regional", ["eu", "us"])
    assert [one["status"] for one in runs] == ["SUCCESS", "SUCCESS"]


@pytest.mark.parametrize("release", EVERY)
def test_a_run_that_failed_is_retried_from_its_failure(here: Hosted, release: str) -> None:
    told = here.folders[release] / "fail"
    told.touch()
    run = here.page.launch(release, "steps")
    failed = here.page.ended(run)
    told.unlink()
    assert failed["status"] == "FAILURE"
    done = here.page.succeeded(here.page.retry(run))
    assert [step for kind, step in done if kind == "STEP_SUCCESS"] == ["second", "third"]


@pytest.mark.parametrize("release", EVERY)
def test_a_run_is_cancelled_also_after_a_reload(here: Hosted, release: str) -> None:
    page = here.page
    first = page.launch(release, "long")
    second = page.launch(release, "long")
    for run in (first, second):
        page.waiting(run)
    page.cancel(first)
    assert page.ended(first)["status"] == "CANCELED"
    here.edit(release, "Made of the table.", "Made of the table, anew.")
    page.until(
        "the edit", lambda: page.description(release, "report") == "Made of the table, anew."
    )
    assert page.run(second)["status"] == "STARTED"
    page.cancel(second)
    assert page.ended(second)["status"] == "CANCELED"


def test_schedules_and_sensors_fire(here: Hosted) -> None:
    for release in EVERY:
        here.page.turn_on(release, "schedule", "minutely")
        here.page.turn_on(release, "sensor", "arrivals")
    for release in EVERY:
        for name in ("arrivals", "minutely"):
            tick = here.page.tick(release, name)
            assert tick["status"] == "SUCCESS", tick
            assert here.page.ended(tick["runIds"][0])["status"] == "SUCCESS"


def test_a_page_a_year_older_runs_code_of_today(
    tmp_path: Path, runtime: Path, dagster_environment: Environment
) -> None:
    pythons = {"today": dagster_environment(CURRENT)}
    host, shared = dagster_environment(OLDER_HOST), {"instance": "shared"}
    with hosted(tmp_path, runtime, host, pythons, runs=shared) as there:
        page = there.page
        assert {one["name"] for one in page.repository("today")["jobs"]} >= {"steps", "long"}
        page.succeeded(page.launch("today", "steps"))
        launched = there.supervisor.run("launch", "today", "steps")
        assert launched.returncode == 0, launched.stderr
        page.succeeded(launched.stderr.split()[1])
        page.succeeded(page.launch("today", "__ASSET_JOB", assets=["table", "report"]))
        run = page.waiting(page.launch("today", "long"))
        page.cancel(run)
        assert page.ended(run)["status"] == "CANCELED"
