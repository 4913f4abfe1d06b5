"""Values that outlive a run: those of assets, and those that a retry from the failure takes."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
from places import PROGRAMS
from running import execute, failure, shown, told, validate

from runner_shim.execution.values import AssetValues, StepValues, quoted
from runner_shim.loading.load_failure import LoadFailure

JOBS = PROGRAMS / "native_features.py"
ASSETS = PROGRAMS / "native_assets.py"


class Runs:
    """Orders with directories below ``root``: one for the kept values, one for each run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.storage = root / "values"
        self._numbers = itertools.count(1)
        (root / "calls").mkdir()

    def of(self, order: dict[str, Any]) -> dict[str, Any]:
        directory = self.root / f"run {next(self._numbers)}"
        directory.mkdir()
        return {"directory": str(directory), "storage": str(self.storage), **order}

    def __call__(self, order: dict[str, Any]) -> dict[str, Any]:
        full = self.of(order)
        (found,) = execute(ASSETS if order.get("assets") else JOBS, [full])
        return {**found, "order": full}

    def assets(self, *keys: str, **also: Any) -> dict[str, Any]:
        return self({"assets": list(keys), **also})

    def job(self, name: str, fails: int) -> dict[str, Any]:
        directory = str(self.root / "calls")
        return self({"job": name, "config": {"config": {"directory": directory, "fails": fails}}})

    def again(self, run: dict[str, Any]) -> dict[str, Any]:
        return self(self.retry(run))

    @staticmethod
    def retry(run: dict[str, Any]) -> dict[str, Any]:
        left_out = ("directory", "from_failure")
        order = {key: run["order"][key] for key in run["order"] if key not in left_out}
        return {**order, "from_failure": {"run": "r1", "directory": run["order"]["directory"]}}

    def calls(self) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in (self.root / "calls").iterdir()}


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


def refused(found: dict[str, Any]) -> dict[str, Any]:
    assert found["events"] == []
    refusal: dict[str, Any] = found["refused"]
    return refusal


# --- assets


def test_an_asset_gets_what_an_earlier_run_has_kept(runs):
    assert runs.assets("prices")["outcome"]["state"] == "success"
    assert shown(runs.assets("orders")) == ["orders: prices: 3"]


def test_a_value_that_is_not_kept_is_refused_with_the_remedy(runs):
    found = refused(runs.assets("orders"))
    assert found["kind"] == "not_kept"
    assert found["message"] == "asset orders takes the value of prices, which is not kept"
    assert found["hint"] == "launch prices first, or with it: +orders"
    assert validate(ASSETS, [runs.of({"assets": ["orders"]})])[0] == found


def test_without_a_place_for_values_they_are_not_kept(runs):
    assert runs.assets("prices", storage=None)["outcome"]["state"] == "success"
    assert refused(runs.assets("orders", storage=None))["kind"] == "not_kept"
    assert not runs.storage.exists()


def test_a_default_stands_in_for_a_value_that_is_not_kept(tmp_path):
    target = tmp_path / "defs.py"
    target.write_text(
        "from runner_shim import asset\n"
        "@asset\n"
        "def rate():\n"
        "    return 2\n"
        "@asset\n"
        "def price(context, rate=1):\n"
        "    context.log.info(str(rate))\n"
    )
    order = {"storage": str(tmp_path / "values")}
    orders = [{**order, "assets": [name]} for name in ("price", "rate", "price")]
    found = execute(target, orders)
    assert [shown(one) for one in found] == [["price: 1"], [], ["price: 2"]]


def test_values_belong_to_a_partition(runs):
    runs.assets("prices")
    runs.assets("sales", partition_key="eu")
    assert shown(runs.assets("margin", partition_key="eu")) == ["margin: eu 3"]
    assert refused(runs.assets("margin", partition_key="us"))["message"] == (
        "asset margin takes the value of sales, which is not kept for us"
    )
    assert refused(runs.assets("margin", partition_key="asia"))["kind"] == "unknown_partition"
    found = refused(runs.assets("total"))
    assert "which has partitions, and has none itself" in found["message"]


def test_a_new_value_replaces_the_old_one(runs):
    runs.assets("prices")
    before = sorted(path.relative_to(runs.storage) for path in runs.storage.rglob("*"))
    runs.assets("prices")
    after = sorted(path.relative_to(runs.storage) for path in runs.storage.rglob("*"))
    assert before == after == [Path(".new"), Path("prices"), Path("prices/value")]


def test_a_value_that_cannot_be_pickled_fails_its_asset(runs):
    found = failure(runs.assets("stream"))
    assert found["message"].startswith("the value of asset stream cannot be pickled: TypeError")
    assert "io_manager_key" in found["hint"]
    assert list(runs.storage.glob("**/value")) == []
    assert list((runs.storage / ".new").iterdir()) == []


def test_a_damaged_value_is_said_to_be_so(runs):
    runs.assets("prices")
    value = runs.storage / "prices" / "value"
    value.write_bytes(value.read_bytes()[:-5])
    found = failure(runs.assets("orders"))
    assert found["message"].startswith("the value of asset prices cannot be read: ")
    assert found["hint"] == "materialize it again with the code of today"
    assert found["step"] == "orders"


def test_a_place_that_cannot_be_written_is_named(runs):
    runs.storage.write_text("a file")
    found = failure(runs.assets("prices"))
    assert found["message"].startswith("the value of asset prices cannot be kept in ")
    assert str(runs.storage) in found["message"]


def test_an_io_manager_keeps_values_instead(runs):
    order = {"partition_key": "us"}
    found = runs.assets("measured", "core/region", "core/continent", **order)
    assert shown(found) == [
        "measured: lake keeps measured [1, 2]",
        "core/region: measured: [10, 20]",
        "core/continent: region: US",
        "core/region: flushed [('core/region', 'us')]",
    ]
    made = [e["data"] for e in found["events"] if e["type"] == "ASSET_MATERIALIZATION"]
    assert made[0] == {
        "asset_key": ["measured"],
        "metadata": {"rows": 2, "path": "lake/measured"},
    }
    assert [path.name for path in runs.storage.glob("core*")] == ["core%2fcontinent"]


def test_what_an_io_manager_has_is_its_own_business(runs):
    # In another run nothing is known of it: it is asked.
    assert shown(runs.assets("core/region", partition_key="eu"))[0] == "core/region: measured: [0]"


def test_assets_at_the_same_time(runs):
    config = {"execution": {"max_concurrent": 3}}
    found = runs.assets("prices", "orders", "invoice", "flaky_asset", config=config)
    assert found["outcome"]["state"] == "success"
    assert ("STEP_RESTARTED", "flaky_asset") in told(found)
    assert not (Path(found["order"]["directory"]) / "values").exists()


# --- retries from the failure


@pytest.mark.parametrize("name", ["etl", "parallel_etl"])
def test_a_retry_runs_what_failed_and_what_was_not_run(runs, name):
    first = runs.job(name, fails=1)
    assert failure(first)["step"] == "load"
    second = runs.again(first)
    assert second["outcome"]["state"] == "success"
    assert {step for _, step in told(second, "STEP_START")} == {"load", "report"}
    assert shown(second) == ["report: 8"]
    assert runs.calls() == {"extract": 1, "divide": 1, "load": 2, "report": 1}
    # What it has kept is gone with its success.
    assert [one.name for one in Path(second["order"]["directory"]).iterdir()] == ["steps"]


@pytest.mark.parametrize("name", ["etl", "parallel_etl"])
def test_a_retry_can_be_retried(runs, name):
    first = runs.job(name, fails=2)
    second = runs.again(first)
    assert failure(second)["step"] == "load"
    shutil.rmtree(first["order"]["directory"])  # as runs are removed when they are old
    third = runs.again(second)
    assert third["outcome"]["state"] == "success"
    assert runs.calls() == {"extract": 1, "divide": 1, "load": 3, "report": 1}


def test_a_run_without_a_failure_has_nothing_to_retry(tmp_path):
    target = tmp_path / "defs.py"
    target.write_text(
        "from runner_shim import job, op\n@op\ndef load():\n    pass\n"
        "@job\ndef nightly():\n    load()\n"
    )
    order = {"job": "nightly"}
    retry = {**order, "from_failure": {"run": "r1", "directory": str(tmp_path)}}
    first, second = execute(target, [{**order, "directory": str(tmp_path)}, retry])
    assert first["outcome"]["state"] == "success"
    found = refused(second)
    assert found["kind"] == "nothing_to_retry"
    assert found["message"] == "all steps of run r1 have succeeded: none is left to retry"


def test_a_value_that_was_not_kept_is_refused_not_made_again(runs):
    first = runs.job("etl", fails=1)
    shutil.rmtree(Path(first["order"]["directory"]) / "values")  # as after a kill
    found = refused(runs.again(first))
    assert found["kind"] == "not_kept"
    assert found["message"] == "load takes the output rows of divide, which run r1 has not kept"
    assert "retry the whole run" in found["hint"]
    assert runs.calls()["divide"] == 1


def test_a_value_that_cannot_be_kept_for_a_retry_is_told(runs):
    first = runs.job("etl_of_generators", fails=1)
    assert failure(first)["step"] == "load"
    (event,) = [one for one in first["events"] if one["type"] == "ENGINE_EVENT"]
    assert event["message"].startswith(
        "a retry needs the whole run: output result of generator cannot be pickled"
    )
    assert refused(runs.again(first))["kind"] == "not_kept"


def test_a_run_that_never_began_is_retried_as_a_whole(runs):
    directory = str(runs.root / "calls")
    order = {"job": "etl", "config": {"config": {"directory": directory, "fails": 0}}}
    earlier = {"run": "r1", "directory": str(runs.root / "gone")}
    assert runs({**order, "from_failure": earlier})["outcome"]["state"] == "success"


def test_assets_are_retried_with_the_values_that_are_kept(runs):
    first = runs.assets("prices", "broken_asset", "after_broken")
    assert failure(first)["step"] == "broken_asset"
    second = runs.again(first)
    assert [step for _, step in told(second, "STEP_START")] == ["broken_asset"]


# --- files


def test_names_become_files_that_differ():
    names = ["a/b", "a%2fb", "a.b", "A", "a", "", "ä", "x" * 200, "x" * 201, "..", "\udcff"]
    files = [quoted(name) for name in names]
    assert len(set(files)) == len(files)
    assert all("/" not in file and "." not in file and len(file) <= 150 for file in files)


def test_what_a_run_keeps_for_a_retry_is_bounded(tmp_path):
    values = StepValues(str(tmp_path), most=2 << 20)
    values.put("load", "rows", b"x" * (1 << 20))
    with pytest.raises(LoadFailure, match="output rows of scale is not kept: it is larger than"):
        values.put("scale", "rows", b"x" * (1 << 20))
    assert [path.name for path in tmp_path.iterdir()] == ["load.rows"]
    assert values.get("load", "rows") == b"x" * (1 << 20)


def test_a_value_is_there_whole_or_not_at_all(tmp_path):
    values = AssetValues(str(tmp_path))
    values.put("prices", None, [1])
    with pytest.raises(LoadFailure):
        values.put("prices", None, [1, (one for one in ())])
    assert values.get("prices", None) == [1]
