"""The Dagster adapter against real Dagster, from 0.9 to today's: each era's own style of module.

Names and kinds are measured by what each framework itself lists; the rest by reading the module.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import PROGRAMS, RELEASES

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]

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


# --- every era ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("release", "program"), ERAS.items())
def test_names_and_kinds_are_what_the_framework_lists(
    release: str,
    program: str,
    dagster_environment: Environment,
    load_target: Load,
    listed_by_dagster: Callable[[Path, Path], dict[str, list[str]]],
) -> None:
    python = dagster_environment(release)
    file = PROGRAMS / program / "defs.py"
    answer = load_target(python, file)
    assert names(answer) == listed_by_dagster(python, file)
    assert answer["report"]["warnings"] == []
    (framework,) = answer["report"]["frameworks"]
    assert framework["name"] == "dagster"
    if not release.startswith("current"):
        assert framework["version"] == release.split("-")[0]


@pytest.mark.parametrize(("release", "program"), ERAS.items())
def test_the_document_is_the_same_from_run_to_run_and_place_to_place(
    release: str,
    program: str,
    dagster_environment: Environment,
    load_target: Load,
    tmp_path: Path,
) -> None:
    python = dagster_environment(release)
    elsewhere = tmp_path / "another" / "checkout"
    shutil.copytree(PROGRAMS / program, elsewhere)
    first = load_target(python, PROGRAMS / program / "defs.py", hash_seed="1")
    second = load_target(python, elsewhere / "defs.py", hash_seed="2")
    assert first["document"] == second["document"]
    assert first["sources"] == second["sources"]


@pytest.mark.parametrize(("release", "program"), ERAS.items())
def test_sources_are_where_the_definitions_stand(
    release: str, program: str, dagster_environment: Environment, load_target: Load
) -> None:
    file = PROGRAMS / program / "defs.py"
    answer = load_target(dagster_environment(release), file)
    lines = file.read_text().splitlines()
    kinds = {key.split(":")[0] for key in answer["sources"]}
    assert len(answer["sources"]) >= 5, answer["sources"]
    assert kinds & {"job", "pipeline"}
    assert "schedule" in kinds
    for key, (shown, line) in answer["sources"].items():
        assert shown == "defs.py"
        there = lines[line - 1]
        begins_one = there.startswith(("@", "def ", "class "))
        assert begins_one or " = " in there or "lambda" in there, (key, there)


@pytest.mark.parametrize(("release", "program"), ERAS.items())
def test_one_definition_is_described_as_in_the_document(
    release: str, program: str, dagster_environment: Environment, load_target: Load
) -> None:
    file = PROGRAMS / program / "defs.py"
    python = dagster_environment(release)
    answer = load_target(python, file)
    asked = [[d["kind"], d["name"]] for d in answer["document"]["definitions"]]
    described = load_target(python, file, describe=asked)["described"]
    assert [item["definition"] for item in described] == answer["document"]["definitions"]


# --- what each era's module says ------------------------------------------------------------------


def test_0_9_pipelines_modes_presets_and_schedules(
    dagster_environment: Environment, load_target: Load
) -> None:
    found = by_key(load_target(dagster_environment(OLDEST), PROGRAMS / "dagster_0_9" / "defs.py"))
    pipeline = found["pipeline:valuation"]
    assert pipeline["description"] == "Values the book every night."
    assert pipeline["tags"] == {"team": "risk"}
    assert pipeline["presets"] == ["small"]
    assert pipeline["resource_keys"] == ["warehouse"]
    assert [mode["name"] for mode in pipeline["modes"]] == ["prod", "test"]
    assert pipeline["modes"][0]["description"] == "for real"
    announce, load, tidy = pipeline["graph"]["nodes"]
    assert (announce["kind"], load["kind"], tidy["kind"]) == ("solid", "solid", "graph")
    assert announce["after"] == ["tidy.result"]
    assert load["config"] == [
        {"name": "limit", "type": "Int", "required": False, "default": "10"},
        {"name": "path", "type": "String", "required": True},
    ]
    assert load["outputs"] == [{"name": "rows", "type": "String", "description": "the raw rows"}]
    assert tidy["inputs"] == [{"name": "rows", "type": "String", "from": ["load.rows"]}]
    clean, again = tidy["graph"]["nodes"]
    assert (again["name"], again["definition"]) == ("clean_again", "clean")
    assert again["inputs"][0]["from"] == ["clean.result"]
    assert clean["inputs"] == [{"name": "rows", "type": "String", "description": "raw"}]
    assert found["schedule:often"] == {
        "kind": "schedule",
        "name": "often",
        "cron_schedule": "*/10 * * * *",
        "job": "valuation",
        "mode": "prod",
        "op_selection": ["load"],
        "environment_vars": {"REGION": "eu"},
    }
    assert found["schedule:nightly_audit"]["execution_timezone"] == "Europe/London"
    assert found["schedule:nightly_audit"]["partition_set"] == "nightly_audit_partitions"
    assert found["partition_set:regions"]["partitions"] == {"type": "function"}
    assert "valuation in mode test" in found["job:small_valuation"]["description"]


def test_0_15_ops_beside_solids_and_the_first_assets(
    dagster_environment: Environment, load_target: Load
) -> None:
    found = by_key(
        load_target(dagster_environment(SOLIDS_AND_OPS), PROGRAMS / "dagster_0_15" / "defs.py")
    )
    settle = found["job:settle"]
    assert settle["executor"] == "in_process"
    assert settle["resource_keys"] == ["database"]
    assert "modes" not in settle
    fetch = next(node for node in settle["graph"]["nodes"] if node["name"] == "fetch")
    assert fetch["config"][1] == {
        "name": "nested",
        "type": "Shape",
        "required": True,
        "fields": [{"name": "deep", "type": "[String]", "required": True}],
    }
    assert found["job:spread"]["graph"]["nodes"][1]["outputs"][0]["dynamic"] is True
    assert found["pipeline:old_pipeline"]["graph"]["nodes"][0]["kind"] == "solid"
    assert found["job:regional"]["partitions"] == {
        "type": "static",
        "count": 2,
        "keys": ["eu", "us"],
    }
    window = found["job:daily_settle"]["partitions"]
    assert (window["type"], window["timezone"]) == ("time_window", "Europe/Paris")
    assert "keys" not in window
    positions = found["asset:core/positions"]
    assert positions["asset_key"] == ["core", "positions"]
    assert positions["dependencies"] == ["raw/payments"]
    assert positions["group"] == "settlement"
    assert positions["compute_kind"] == "pandas"
    assert positions["metadata"] == {"owner": "pay"}
    assert found["asset:raw/payments"]["is_source"] is True
    assert found["asset:report"]["jobs"] == ["report_job"]
    assert found["sensor:on_file"]["default_status"] == "running"
    assert found["sensor:on_file"]["minimum_interval_seconds"] == 45
    assert found["sensor:on_payments"]["asset_keys"] == ["raw/payments"]
    assert found["sensor:on_payments"]["jobs"] == ["settle"]
    assert found["schedule:daily_settle_schedule"]["partition_set"] == "daily_settle_partition_set"


def test_1_1_definitions_with_partitioned_assets(
    dagster_environment: Environment, load_target: Load
) -> None:
    found = by_key(
        load_target(dagster_environment(FIRST_DEFINITIONS), PROGRAMS / "dagster_1_1" / "defs.py")
    )
    sessions = found["asset:sessions"]
    assert sessions["code_version"] == "3"
    assert sessions["config"] == [{"name": "limit", "type": "Int", "required": True}]
    assert sessions["freshness_policy"]["maximum_lag_minutes"] == 60.0
    assert sessions["metadata"] == {"doc": "**clicks**", "rows": 10}
    assert sessions["resource_keys"] == ["api"]
    dimensions = found["asset:cube"]["partitions"]["dimensions"]
    assert dimensions["region"]["keys"] == ["eu", "us"]
    assert dimensions["day"]["cron_schedule"] == "0 0 * * *"
    assert found["asset:left"]["dependencies"] == ["sessions"]
    assert found["asset:clicks"]["is_source"] is True
    assert found["job:report_job"]["asset_keys"] == ["daily_report"]
    assert found["job:health"]["presets"] == ["default"]
    assert found["schedule:twice"]["cron_schedule"] == ["0 1 * * *", "0 2 * * *"]
    assert found["sensor:on_click"]["asset_selection"] == "sessions"


def test_current_definitions_resources_checks_and_conditions(
    dagster_environment: Environment, load_target: Load
) -> None:
    found = by_key(
        load_target(dagster_environment(CURRENT), PROGRAMS / "dagster_current" / "defs.py")
    )
    features = found["asset:features"]
    assert features["kinds"] == ["python", "torch"]
    assert features["owners"] == ["team:ml", "ann@example.com"]
    assert features["tags"]["tier"] == "gold"
    assert features["automation_condition"] == "eager"
    assert features["freshness_policy"]["fail_window"] == 21600.0
    assert features["metadata"] == {"doc": "**features**", "rows": 10, "set": ["a", "b", "c"]}
    assert features["pools"] == ["gpu"]
    assert features["execution_type"] == "materialization"
    model = found["asset:model"]
    assert model["partition_mappings"] == {"features": "AllPartitionMapping"}
    assert model["backfill_policy"] == {"type": "single_run"}
    assert model["partitions"]["dimensions"]["tenant"] == {"type": "dynamic", "name": "tenants"}
    assert [field["name"] for field in model["config"]] == ["device", "epochs"]
    assert found["asset:raw/events"]["execution_type"] == "external"
    assert found["asset:lake"]["is_observable"] is True
    assert found["asset:left"]["execution_set"] == found["asset:right"]["execution_set"]
    check = found["asset_check:features:complete"]
    assert check["blocking"] is True
    assert (check["asset"], check["check"]) == ("features", "complete")
    assert found["resource:warehouse"]["type"] == "defs.Warehouse"
    assert found["resource:warehouse"]["config"][1] == {
        "name": "url",
        "type": "StringSource",
        "required": False,
        "default": '{"env": "WAREHOUSE_URL"}',
    }
    assert found["resource:model"]["nested"] == ["warehouse"]
    anonymous = found["schedule:anonymous"]
    assert "job" not in anonymous
    assert "features" in anonymous["asset_selection"]
    assert found["sensor:on_file"]["jobs"] == ["health", "regional"]
    assert found["sensor:on_file"]["metadata"] == {"runbook": "https://example.com"}
    assert found["sensor:on_features"]["sensor_type"] == "asset"
    health = found["job:health"]["graph"]["nodes"]
    assert [node["name"] for node in health] == ["inner", "ping", "pong"]
    assert health[0]["graph"]["nodes"][0]["name"] == "add"
    assert health[2]["after"] == ["inner.result"]


# --- lazy repositories ----------------------------------------------------------------------------

LAZY_0_9 = """
    from dagster import PartitionSetDefinition, pipeline, repository, solid

    @solid
    def one(context):
        return 1

    def built():
        open("built", "a").close()

        @pipeline(description="made on demand")
        def first():
            one()

        return first

    def wrong():
        @pipeline
        def other():
            one()

        return other

    def broken():
        raise RuntimeError("the database is away")

    @pipeline
    def ready():
        one()

    @repository
    def lazy():
        return {
            "pipelines": {"first": built, "wrong": wrong, "broken": broken, "ready": ready},
            "partition_sets": {
                "days": lambda: PartitionSetDefinition("days", "first", lambda: ["a"])
            },
        }
"""

LAZY_JOBS = """
    from dagster import ScheduleDefinition, job, op, repository

    @op
    def one():
        return 1

    def built():
        open("built", "a").close()

        @job(description="made on demand")
        def first():
            one()

        return first

    def wrong():
        @job
        def other():
            one()

        return other

    def broken():
        raise RuntimeError("the database is away")

    @job
    def ready():
        one()

    @repository
    def lazy():
        return {
            "jobs": {"first": built, "wrong": wrong, "broken": broken, "ready": ready},
            "schedules": {
                "often": ScheduleDefinition(
                    name="often", JOB_NAME="first", cron_schedule="* * * * *"
                )
            },
        }
"""


@pytest.mark.parametrize("release", RELEASES)
def test_a_lazy_repository_is_listed_without_calling_its_functions(
    release: str, dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    old = release == OLDEST
    kind = "pipeline" if old else "job"
    source = LAZY_0_9 if old else LAZY_JOBS.replace("JOB_NAME", job_name(release))
    file = module(tmp_path, source)
    python = dagster_environment(release)
    answer = load_target(python, file)
    found = by_key(answer)
    for name in ("first", "wrong", "broken"):
        assert found[f"{kind}:{name}"] == {"kind": kind, "name": name, "lazy": True}
    assert "graph" in found[f"{kind}:ready"]
    if old:
        assert found["partition_set:days"] == {
            "kind": "partition_set",
            "name": "days",
            "lazy": True,
        }
    else:
        assert found["schedule:often"]["job"] == "first"
    assert not (tmp_path / "built").exists()

    asked = [[kind, "first"], [kind, "wrong"], [kind, "broken"], [kind, "absent"]]
    first, wrong, broken, absent = load_target(python, file, describe=asked)["described"]
    assert (tmp_path / "built").exists()
    assert first["definition"]["description"] == "made on demand"
    assert first["definition"]["graph"]["nodes"][0]["name"] == "one"
    assert first["source"][0] == "defs.py"
    assert wrong["failure"]["kind"] == "invalid_definition"
    assert "other" in wrong["failure"]["message"]
    assert broken["failure"]["kind"] == "exception"
    assert "the database is away" in broken["failure"]["message"]
    assert absent["failure"]["kind"] == "unknown_definition"


# --- precedence -----------------------------------------------------------------------------------


@pytest.mark.parametrize("release", SINCE_DEFINITIONS)
def test_two_definitions_are_refused_and_an_alias_is_not(
    release: str, dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    python = dagster_environment(release)
    source = """
        from dagster import Definitions, asset

        @asset
        def one():
            return 1

        first = Definitions(assets=[one])
        second = {second}
    """
    two = module(tmp_path / "two", source.format(second="Definitions()"))
    failure = load_target(python, two)["failure"]
    assert failure["kind"] == "ambiguous_definitions"
    assert "defs.first" in failure["message"]
    assert "defs.second" in failure["message"]
    alias = module(tmp_path / "alias", source.format(second="first"))
    assert names(load_target(python, alias)) == {"asset": ["one"]}
    chosen = load_target(python, two, attribute="first")
    assert names(chosen) == {"asset": ["one"]}


@pytest.mark.parametrize("release", SINCE_DEFINITIONS)
def test_what_a_definitions_object_hides_is_a_warning(
    release: str, dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    file = module(
        tmp_path,
        """
        from dagster import Definitions, ScheduleDefinition, asset, job, op, repository, sensor

        @op
        def one():
            return 1

        @job
        def included():
            one()

        @job
        def forgotten():
            one()

        @asset
        def lost():
            return 1

        nightly = ScheduleDefinition(job=included, cron_schedule="0 1 * * *", name="nightly")

        @sensor(job=included)
        def unheard(_context):
            pass

        @repository
        def old():
            return [forgotten]

        defs = Definitions(jobs=[included])
        """,
    )
    answer = load_target(dagster_environment(release), file)
    assert names(answer) == {"job": ["included"]}
    found = warnings(answer)
    assert sorted(found) == [
        "shadowed_assets",
        "shadowed_jobs",
        "shadowed_repositories",
        "shadowed_schedules",
        "shadowed_sensors",
    ]
    assert "old" in found["shadowed_repositories"]
    assert "forgotten" in found["shadowed_jobs"]
    assert "included" not in found["shadowed_jobs"]


@pytest.mark.parametrize("release", SINCE_DEFINITIONS)
def test_assets_loaded_with_a_prefix_are_not_called_hidden(
    release: str, dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    file = module(
        tmp_path,
        """
        from dagster import Definitions, asset, load_assets_from_current_module

        @asset
        def orders():
            return 1

        defs = Definitions(assets=load_assets_from_current_module(key_prefix="shop"))
        """,
    )
    answer = load_target(dagster_environment(release), file)
    assert names(answer) == {"asset": ["shop/orders"]}
    assert warnings(answer) == {}


@pytest.mark.parametrize("release", SINCE_JOBS)
def test_a_single_job_hides_assets(
    release: str, dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    file = module(
        tmp_path,
        """
        from dagster import asset, job, op

        @op
        def one():
            return 1

        @job
        def only():
            one()

        @asset
        def hidden():
            return 1
        """,
    )
    answer = load_target(dagster_environment(release), file)
    assert names(answer) == {"job": ["only"]}
    assert answer["document"]["repositories"] == [{"name": "__repository__only"}]
    assert "hidden" in warnings(answer)["shadowed_assets"]


@pytest.mark.parametrize("release", SINCE_JOBS)
def test_a_single_graph_and_then_all_assets(
    release: str, dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    python = dagster_environment(release)
    graph = module(
        tmp_path / "graph",
        """
        from dagster import graph, op

        @op
        def one():
            return 1

        @graph
        def only():
            one()
        """,
    )
    assert names(load_target(python, graph)) == {"job": ["only"]}
    assets = module(
        tmp_path / "assets",
        """
        from dagster import asset

        @asset
        def one():
            return 1

        @asset
        def two(one):
            return 2
        """,
    )
    answer = load_target(python, assets)
    assert names(answer) == {"asset": ["one", "two"]}
    assert by_key(answer)["asset:two"]["dependencies"] == ["one"]


@pytest.mark.parametrize("release", RELEASES)
def test_several_jobs_or_pipelines_without_a_repository(
    release: str, dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    node, job = ("solid", "pipeline") if release == OLDEST else ("op", "job")
    file = module(
        tmp_path,
        f"""
        from dagster import {job}, {node}

        @{node}
        def one(context):
            return 1

        @{job}
        def first():
            one()

        @{job}
        def second():
            one()
        """,
    )
    python = dagster_environment(release)
    failure = load_target(python, file)["failure"]
    assert failure["kind"] == "ambiguous_definitions"
    assert f"2 {job}s" in failure["message"]
    assert "defs.first, defs.second" in failure["message"]
    assert names(load_target(python, file, attribute="second")) == {job: ["second"]}


@pytest.mark.parametrize("release", RELEASES)
def test_repositories_of_one_module(
    release: str, dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    node, job = ("solid", "pipeline") if release == OLDEST else ("op", "job")
    source = f"""
        from dagster import {job}, {node}, repository

        @{node}
        def one(context):
            return 1

        @{job}
        def shared():
            one()

        @repository
        def left():
            return [shared]

        @repository(name="NAME")
        def right():
            return [shared]
    """
    python = dagster_environment(release)
    answer = load_target(python, module(tmp_path / "two", source.replace("NAME", "right")))
    assert [item["name"] for item in answer["document"]["repositories"]] == ["left", "right"]
    assert [item["repository"] for item in answer["document"]["definitions"]] == ["left", "right"]
    assert f"{job}:shared@left" in answer["sources"]
    same = load_target(python, module(tmp_path / "same", source.replace("NAME", "left")))
    assert [item["name"] for item in same["document"]["repositories"]] == ["left"]
    assert "left" in warnings(same)["duplicate_repository"]


# --- what Dagster refuses -------------------------------------------------------------------------


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


# --- functions and folders ------------------------------------------------------------------------


def test_a_definitions_function_is_called_and_shadows_the_rest(
    dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    python = dagster_environment(CURRENT)
    file = module(
        tmp_path / "good",
        """
        import dagster as dg

        @dg.asset
        def one():
            return 1

        @dg.definitions
        def defs():
            return dg.Definitions(assets=[one])

        other = dg.Definitions()
        """,
    )
    answer = load_target(python, file)
    assert names(answer) == {"asset": ["one"]}
    assert "other" in warnings(answer)["shadowed_definitions"]
    assert names(load_target(python, file, attribute="defs")) == {"asset": ["one"]}
    raising = module(
        tmp_path / "raising",
        """
        import dagster as dg

        @dg.definitions
        def defs():
            raise KeyError("REGION")
        """,
    )
    failure = load_target(python, raising)["failure"]
    assert failure["kind"] == "exception"
    assert failure["frames"][-1]["function"] == "defs"


def test_a_defs_folder_with_components_is_loaded(
    dagster_environment: Environment, load_target: Load, tmp_path: Path
) -> None:
    python = dagster_environment(CURRENT)
    module(tmp_path, "", "shop/__init__.py")
    module(tmp_path, "", "shop/defs/__init__.py")
    module(
        tmp_path,
        """
        import dagster as dg

        @dg.asset
        def orders():
            return 1

        @dg.schedule(cron_schedule="0 1 * * *", target=orders)
        def nightly(_context):
            return {}
        """,
        "shop/defs/sales/orders.py",
    )
    module(
        tmp_path,
        """
        import dagster as dg

        class Tables(dg.Component, dg.Model, dg.Resolvable):
            names: list[str]

            def build_defs(self, context):
                return dg.Definitions(assets=[dg.AssetSpec(name) for name in self.names])
        """,
        "shop/tables.py",
    )
    module(
        tmp_path,
        """
        type: shop.tables.Tables
        attributes:
          names: [customers, refunds]
        """,
        "shop/defs/tables/defs.yaml",
    )
    module(
        tmp_path,
        """
        [tool.dg]
        directory_type = "project"

        [tool.dg.project]
        root_module = "shop"
        """,
        "pyproject.toml",
    )
    answer = load_target(python, tmp_path, kind="autoload_defs_module", name="shop.defs")
    found = by_key(answer)
    assert names(answer)["asset"] == ["customers", "orders", "refunds"]
    assert names(answer)["schedule"] == ["nightly"]
    assert answer["sources"]["asset:orders"][0] == "shop/defs/sales/orders.py"
    components = {item["name"]: item["type"] for item in found.values() if "type" in item}
    assert "shop.tables.Tables" in components.values()
    assert answer["sources"]["component:tables[0]"] == ["shop/defs/tables/defs.yaml", 1]
    assert str(tmp_path / "shop/defs/tables/defs.yaml") in answer["report"]["files"]
    assert str(tmp_path) not in str(answer["document"])
    # Dagster puts its whole catalogue of component types there.
    assert answer["document"]["repositories"] == [{"name": "__repository__"}]

    broken = tmp_path / "shop/defs/tables/defs.yaml"
    broken.write_text("type: shop.tables.Absent\n")
    failure = load_target(python, tmp_path, kind="autoload_defs_module", name="shop.defs")[
        "failure"
    ]
    assert failure["kind"] == "invalid_definition"
    assert "Absent" in failure["message"]
    assert str(broken) in failure["files"]
