"""What of a module's definitions real Dagster releases take, and what they hide: as each does itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import RELEASES
from .eras import (
    CURRENT,
    OLDEST,
    SINCE_DEFINITIONS,
    SINCE_JOBS,
    Environment,
    Load,
    by_key,
    module,
    names,
    warnings,
)

pytestmark = [pytest.mark.real_dagster, pytest.mark.timeout(600)]


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
    folders = {str(tmp_path / "shop/defs" / name) for name in ("sales", "tables")}
    assert {str(tmp_path / "shop/defs"), *folders} <= set(answer["report"]["folders"])
    definitions = """
        import dagster as dg
        from pathlib import Path

        @dg.definitions
        def defs():
            return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
        """
    module(tmp_path, definitions, "shop/definitions.py")
    loaded = load_target(python, tmp_path, kind="python_module", name="shop.definitions")
    assert names(loaded)["asset"] == names(answer)["asset"]
    assert folders <= set(loaded["report"]["folders"])
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
