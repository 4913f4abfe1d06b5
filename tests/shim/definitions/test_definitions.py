"""The native API as teams use it: decorators, composition, checks at the line that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from loading import ROOT, by_key, every_interpreter, failure, load

import runner_shim
from runner_shim import (
    AssetDefinition,
    DefaultScheduleStatus,
    Definitions,
    Field,
    InvalidDefinitionError,
    JobDefinition,
    Out,
    PartitionSetDefinition,
    RunRequest,
    ScheduleDefinition,
    SensorDefinition,
    SkipReason,
    StaticPartitionsDefinition,
    asset,
    graph,
    job,
    op,
    repository,
    resource,
    schedule,
    sensor,
)

HERE = Path(__file__).name


def source_is_here(definition):
    file, line = definition.source
    return file.endswith(HERE) and line > 1


def test_public_names():
    assert runner_shim.__all__ == [
        "AssetDefinition",
        "Context",
        "DefaultScheduleStatus",
        "DefaultSensorStatus",
        "Definitions",
        "DynamicPartitionsDefinition",
        "Failure",
        "Field",
        "GraphDefinition",
        "In",
        "InvalidDefinitionError",
        "JobDefinition",
        "OpDefinition",
        "Out",
        "Output",
        "PartitionSetDefinition",
        "RepositoryDefinition",
        "ResourceDefinition",
        "RetryPolicy",
        "RetryRequested",
        "RunRequest",
        "ScheduleDefinition",
        "SensorDefinition",
        "SkipReason",
        "StaticPartitionsDefinition",
        "TimeWindowPartitionsDefinition",
        "asset",
        "graph",
        "job",
        "op",
        "repository",
        "resource",
        "schedule",
        "sensor",
    ]
    for name in runner_shim.__all__:
        assert getattr(runner_shim, name).__doc__, name
    with pytest.raises(AttributeError):
        runner_shim.nonsense


def test_the_stub_has_the_same_names():
    stub = (ROOT / "runner_shim" / "__init__.pyi").read_text()
    for name in runner_shim.__all__:
        assert f"class {name}" in stub or f"def {name}(" in stub, name


def test_version_is_the_distributions():
    assert f'version = "{runner_shim.__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("python", every_interpreter())
def test_importing_the_package_imports_nothing_else(python):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules); "
        "import runner_shim; print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['runner_shim']"


def test_decorators_with_and_without_arguments():
    @op
    def one(context):
        "Does it."
        return 1

    @op(name="other", tags={"a": 1})
    def two(value=1):
        return value

    @job
    def first():
        two(one())

    @job(name="second", description="says", owners=["a@b"])
    def named():
        one()

    @asset
    def table():
        return 1

    @resource
    def db(context):
        return 1

    @sensor
    def watcher(context):
        return SkipReason("no")

    assert (one.name, one.description, two.name, two.common["tags"]) == (
        "one",
        "Does it.",
        "other",
        {"a": "1"},
    )
    assert (first.name, named.name, named.description) == ("first", "second", "says")
    assert named.common["owners"] == ["a@b"]
    assert (table.name, db.name, watcher.name) == ("table", "db", "watcher")
    for each in (one, two, first, named, table, db, watcher):
        assert source_is_here(each)
    # Outside of a body they are the functions they were: teams test them.
    assert (one(None), two(5), two(), table()) == (1, 5, 1, 1)
    assert watcher(None).skip_message == "no"


def test_composition_records_nodes_inputs_and_outputs():
    @op(out={"left": Out(int), "right": Out(str, "text")})
    def split(rows: list):
        pass

    @op
    def join(parts, extra: int = 0):
        pass

    @graph
    def inner(start):
        return join(start)

    @job
    def whole():
        left, right = split()
        again = join.alias("again")(parts=[left, right], extra=5)
        join(inner(again), after=right)
        join(split().left)

    nodes = {node["name"]: node for node in whole.data()["graph"]["nodes"]}
    assert list(nodes) == ["again", "inner", "join", "join_2", "split", "split_2"]
    assert nodes["again"]["definition"] == "join"
    assert nodes["again"]["inputs"][0]["from"] == ["split.left", "split.right"]
    assert "from" not in nodes["again"]["inputs"][1]
    assert nodes["join"]["inputs"][0]["from"] == ["inner.result"]
    assert nodes["join"]["after"] == ["split.right"]
    assert nodes["join_2"]["inputs"][0]["from"] == ["split_2.left"]
    assert nodes["inner"]["kind"] == "graph"
    assert nodes["inner"]["graph"]["nodes"][0]["name"] == "join"
    assert nodes["split"]["outputs"] == [
        {"name": "left", "type": "Int"},
        {"name": "right", "type": "String", "description": "text"},
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda one, two: two(one(), one()), "two takes 1 inputs, not 2"),
        (lambda one, two: two(rwos=one()), "two has no input named 'rwos'"),
        (lambda one, two: two(one(), rows=one()), "two has already an input named 'rows'"),
        (lambda one, two: list(one()), "is one value and cannot be unpacked"),
        (lambda one, two: one() or two(), "has no value yet"),
        (lambda one, two: (one.alias("x")(), two.alias("x")()), "has two nodes named 'x'"),
    ],
)
def test_mistakes_in_a_body_are_located(body, said):
    @op
    def one():
        pass

    @op
    def two(rows):
        pass

    with pytest.raises(InvalidDefinitionError) as caught:

        @job
        def broken():
            body(one, two)

    assert said in caught.value.message
    assert caught.value.file.endswith(HERE)
    # The composition that failed is over.
    assert one() is None


def test_a_handle_of_another_graph_is_refused():
    kept = []

    @op
    def one():
        pass

    @op
    def two(rows):
        pass

    @job
    def first():
        kept.append(one())

    with pytest.raises(InvalidDefinitionError, match="output of another graph"):

        @job
        def second():
            two(kept[0])


def test_schedules():
    @job
    def nightly():
        pass

    plain = ScheduleDefinition(cron_schedule="@daily", job=nightly)
    assert plain.name == "nightly_schedule"
    assert plain.data() == {
        "kind": "schedule",
        "name": "nightly_schedule",
        "cron_schedule": "@daily",
        "job": "nightly",
        "default_status": "stopped",
    }

    @schedule(
        ["0 5 * * *", "0 6 * * *"],
        job_name="other",
        default_status=DefaultScheduleStatus.RUNNING,
        execution_timezone="UTC",
        environment_vars={"B": "1", "A": "2"},
    )
    def morning(context):
        "Early."
        return RunRequest(run_key="1")

    assert morning.data() == {
        "kind": "schedule",
        "name": "morning",
        "description": "Early.",
        "cron_schedule": ["0 5 * * *", "0 6 * * *"],
        "execution_timezone": "UTC",
        "job": "other",
        "default_status": "running",
        "environment_vars": ["A", "B"],
    }
    assert morning(None).run_key == "1"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: ScheduleDefinition("s", "61 * * * *", "j"),
            "schedule 's' is wrong: cron string '61 * * * *' has the minute '61'",
        ),
        (lambda: ScheduleDefinition("s", job="j"), "schedule 's' has no cron_schedule"),
        (lambda: ScheduleDefinition("s", "@daily"), "schedule 's' has no job"),
        (
            lambda: ScheduleDefinition("s", "@daily", "j", execution_timezone="Not A Zone"),
            "schedule 's' is wrong: time zone 'Not A Zone'",
        ),
        (
            lambda: ScheduleDefinition("s", "@daily", "j", default_status="on"),
            "default_status 'on': it is running or stopped",
        ),
        (lambda: ScheduleDefinition("s", "@daily", 5), "schedule 's' targets a int"),
        (lambda: SensorDefinition("s", minimum_interval_seconds="x"), "minimum_interval_seconds"),
        (lambda: JobDefinition(""), "a job has the name ''"),
        (lambda: JobDefinition("j", tags=[1]), "job 'j' has tags that are not a dict"),
        (lambda: JobDefinition("j", owners="me"), "job 'j' has owners that are not a list"),
        (lambda: JobDefinition("j", owners=[1]), "job 'j' has owners with a int"),
        (lambda: JobDefinition("j", config_schema={"a": 5}), "config field 'a' of 5"),
        (lambda: JobDefinition("j", partitions_def=["a", "a"]), "partition key 'a' twice"),
        (lambda: JobDefinition("j", ops=[5]), "job 'j' has 5 among its ops"),
        (lambda: AssetDefinition("a", deps="b"), "asset 'a' has deps that are not a list"),
        (lambda: AssetDefinition("a", deps=["b//c"]), "empty part"),
        (lambda: PartitionSetDefinition("p", job_name="j"), "neither partitions nor"),
        (lambda: Definitions(jobs=[5]), "Definitions has a int among its jobs"),
        (lambda: Definitions(jobs=JobDefinition("j")), "jobs is not a list"),
    ],
)
def test_wrong_definitions_are_refused_where_they_are_written(make, said):
    with pytest.raises(InvalidDefinitionError) as caught:
        make()
    assert said in caught.value.message
    assert caught.value.file.endswith(HERE)


def test_decorating_without_a_cron_string():
    with pytest.raises(InvalidDefinitionError, match="has no cron string"):

        @schedule
        def s():
            pass


def test_config_schema():
    it = JobDefinition(
        "j",
        config_schema={
            "n": int,
            "path": Field(str, default_value="x", description="where"),
            "nested": {"flag": bool, "opt": Field(float, is_required=False)},
            "many": [str],
            "named": "Url",
        },
    )
    assert it.config == [
        {"name": "n", "type": "Int", "required": True},
        {
            "name": "path",
            "type": "String",
            "required": False,
            "default": '"x"',
            "description": "where",
        },
        {
            "name": "nested",
            "type": "Shape",
            "required": True,
            "fields": [
                {"name": "flag", "type": "Bool", "required": True},
                {"name": "opt", "type": "Float", "required": False},
            ],
        },
        {"name": "many", "type": "[String]", "required": True},
        {"name": "named", "type": "Url", "required": True},
    ]
    assert JobDefinition("j", config_schema=int).config[0]["name"] == ""


def test_assets():
    @asset(key_prefix="raw", group_name="in", kinds={"sql"}, code_version="2")
    def trades():
        pass

    @asset(deps=[trades, ["a", "b"], "c/d"], required_resource_keys={"db"}, key_prefix=["raw"])
    def report(context, sibling, far, db):
        pass

    assert trades.data() == {
        "kind": "asset",
        "name": "raw/trades",
        "asset_key": ["raw", "trades"],
        "group": "in",
        "kinds": ["sql"],
        "code_version": "2",
        "execution_type": "materialization",
    }
    known = {"raw/sibling", "sibling", "far"}
    assert report.data(known)["dependencies"] == ["a/b", "c/d", "far", "raw/sibling", "raw/trades"]
    assert AssetDefinition("x").data()["execution_type"] == "external"


def test_partitions():
    keys = [str(number) for number in range(1500)]
    data = JobDefinition("j", partitions_def=StaticPartitionsDefinition(keys)).partitions
    assert (data["type"], data["count"], len(data["keys"])) == ("static", 1500, 1000)
    assert JobDefinition("j", partitions_def="names").partitions == {
        "type": "dynamic",
        "name": "names",
    }
    called = []
    made = PartitionSetDefinition("p", pipeline_name="old", partition_fn=lambda: called.append(1))
    assert made.data() == {
        "kind": "partition_set",
        "name": "p",
        "job": "old",
        "partitions": {"type": "function"},
    }
    assert called == []


def test_resources_of_a_job_come_from_its_ops():
    @op(required_resource_keys={"b"})
    def one():
        pass

    @graph
    def inner():
        one()

    @job(resource_defs={"a": object()}, required_resource_keys={"c"})
    def j():
        inner()

    assert j.data()["resource_keys"] == ["a", "b", "c"]
    assert inner.to_job(name="k", tags={"x": "y"}).data()["resource_keys"] == ["b"]


def test_repository_refuses_what_is_no_definition():
    with pytest.raises(InvalidDefinitionError, match="repository 'wrong' has a int"):

        @repository
        def wrong():
            return [5]

    with pytest.raises(InvalidDefinitionError) as caught:

        @repository(name="typo")
        def other():
            return {"job": {}}

    assert caught.value.message == "repository 'typo' has the key 'job'"
    assert caught.value.hint == "did you mean jobs?"


@pytest.mark.parametrize("python", every_interpreter())
def test_a_wrong_definition_is_a_failure_with_its_place(tmp_path, python):
    text = """\
        from runner_shim import *
        s = ScheduleDefinition("early", "0 25 * * *", job_name="x")
        """
    found = failure(load(tmp_path, {"defs.py": text}, python=python))
    assert found["kind"] == "invalid_definition"
    assert found["message"] == (
        "schedule 'early' is wrong: cron string '0 25 * * *' has the hour '25': "
        "25 is not within 0 to 23"
    )
    assert (found["file"], found["line"]) == ("defs.py", 2)
    assert [frame["file"] for frame in found["frames"]] == ["defs.py"]


def test_annotations_that_cannot_be_evaluated(tmp_path):
    text = """\
        from __future__ import annotations
        from runner_shim import *
        @op
        def one(rows: Missing) -> list[Gone]: pass
        @job
        def j(): one()
        """
    node = by_key(load(tmp_path, {"defs.py": text}))["job:j"]["graph"]["nodes"][0]
    assert node["inputs"] == [{"name": "rows", "type": "Missing"}]
    assert node["outputs"] == [{"name": "result", "type": "list[Gone]"}]


@pytest.mark.slow
def test_type_checkers_see_the_stub(tmp_path):
    pytest.importorskip("mypy")
    path = tmp_path / "team.py"
    path.write_text(
        "from runner_shim import Definitions, asset, job, op, schedule\n"
        "@op\ndef one(context: object) -> int:\n    return 1\n"
        "@job(tags={'a': 'b'})\ndef j() -> None:\n    one(None)\n"
        "@schedule('@daily', job=j)\ndef s(context: object) -> object:\n    return {}\n"
        "@asset(deps=['x'])\ndef t() -> None: ...\n"
        "defs = Definitions(jobs=[j], schedules=[s], assets=[t])\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(path)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stdout
