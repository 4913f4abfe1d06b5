"""Many at once through Dagster's page: a hundred runs in its queue, a location with two thousand assets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from dagster_page import ENDED

from .eras import CURRENT, Environment
from .hosted import Hosted, hosted
from .test_dagster_kills import server, status
from .test_dagster_page import HOST
from .test_dagster_servers import private_mebibytes

pytestmark = [
    pytest.mark.real_dagster,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("dagster page"),
]

RUNS = 100
MOST_MORE = (
    40  # MiB that the supervisor, and a location with its server, may have more after the runs
)
ASSETS = 2000
WIDE = f"""\
from dagster import Definitions, asset


def made(number):
    @asset(name="a%d" % number, deps=["a%d" % (number - 1)] if number % 10 else [])
    def one(context):
        context.log.info("made")

    return one


defs = Definitions(assets=[made(number) for number in range({ASSETS})])
"""
IN_PROCESS = {"execution": {"config": {"in_process": {}}}}
_COUNT = "query Q($f: RunsFilter!) { runsOrError(filter: $f) { ... on Runs { count } } }"
_STATES = """query Q($f: RunsFilter!) { runsOrError(filter: $f) { ... on Runs { results {
  runId status stats { ... on RunStatsSnapshot { stepsSucceeded } } } } } }"""


@pytest.fixture(scope="module")
def here(
    tmp_path_factory: pytest.TempPathFactory, dagster_environment: Environment
) -> Iterator[Hosted]:
    runtime = tmp_path_factory.mktemp("run")
    runtime.chmod(0o700)
    pythons = dict.fromkeys(("team", "wide"), dagster_environment(CURRENT))
    host = dagster_environment(HOST)
    with hosted(tmp_path_factory.mktemp("size"), runtime, host, pythons) as found:
        yield found


def memory(here: Hosted) -> tuple[float, float]:
    """Private MiB of the supervisor, and of the location and its server."""
    process = status(here)["locations"][0]["process"]["pid"]
    location = private_mebibytes(process) + private_mebibytes(server(here))
    return private_mebibytes(here.supervisor.pid), location


def test_a_hundred_queued_runs_all_end_and_each_ran_once(here: Hosted) -> None:
    page = here.page
    page.succeeded(page.launch("team", "quick", config=IN_PROCESS))
    before = memory(here)
    tags = {"of": "the hundred"}
    runs = [page.launch("team", "quick", tags=tags, config=IN_PROCESS) for _ in range(RUNS)]
    filters = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}

    def over() -> bool:
        found = page.ask(_COUNT, f={**filters, "statuses": list(ENDED)})["runsOrError"]["count"]
        assert found == RUNS, found
        return True

    page.until("all have ended", over, 400.0, every=1.0)
    found = page.ask(_STATES, f=filters)["runsOrError"]["results"]
    assert Counter(one["status"] for one in found) == {"SUCCESS": RUNS}
    steps = {one["runId"]: one["stats"]["stepsSucceeded"] for one in found}
    assert steps == dict.fromkeys(runs, 1)
    for run in runs[:: RUNS // 10]:
        kinds = [kind for kind, _step in page.succeeded(run)]
        assert (kinds.count("RUN_START"), kinds.count("STEP_START")) == (1, 1)
    rows = here.supervisor.json("runs", "-n", "400")["runs"]
    ours = Counter((one["run"], one["state"]) for one in rows if one["run"] in runs)
    assert ours == dict.fromkeys(((run, "success") for run in runs), 1)
    for least, most in zip(before, memory(here), strict=True):
        assert most < least + MOST_MORE, (before, memory(here))


def test_two_thousand_assets_are_listed_and_some_are_made(here: Hosted) -> None:
    page = here.page
    new = here.file("wide").with_suffix(".new")
    new.write_text(WIDE)
    new.replace(here.file("wide"))

    def listed() -> bool:
        nodes = page.repository("wide")["assetNodes"]
        assert {one["assetKey"]["path"][0] for one in nodes} == {f"a{n}" for n in range(ASSETS)}
        return True

    page.until("all assets", listed, 300.0, every=1.0)
    names = ["a100", "a101", "a102"]
    kinds = page.succeeded(page.launch("wide", "__ASSET_JOB", assets=names))
    made = [step for kind, step in kinds if kind == "ASSET_MATERIALIZATION"]
    assert made == names
