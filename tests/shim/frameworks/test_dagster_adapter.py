"""The parts of the Dagster adapter that need no Dagster: what it says where there is none, how an
object is read by its class's name, and how one unreadable property is reported.

Real releases are in tests/real/test_dagster_*.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from runner_shim.frameworks.dagster import read
from runner_shim.frameworks.dagster.adapter import Dagster
from runner_shim.frameworks.dagster.jobs import config_fields, is_job
from runner_shim.frameworks.dagster.partitions import partitions_data


def class_of(module: str, name: str, *bases: type, **members: Any) -> type:
    """A class that says it comes from ``module``, as Dagster's classes do."""
    return type(name, bases or (object,), {"__module__": module, **members})


class Warned:
    """Keeps what it is told, as the loader does."""

    def __init__(self) -> None:
        self.items: list[tuple[str, str]] = []

    def __call__(
        self,
        code: str,
        message: str,
        hint: str | None = None,
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        self.items.append((code, message))


@pytest.fixture
def warned() -> Warned:
    return Warned()


def test_without_dagster_nothing_is_found_and_nothing_imported() -> None:
    assert not Dagster().loaded()
    assert Dagster().discover([("number", 1), ("text", "x")], "module", Warned()) is None
    assert Dagster().from_attribute(object(), "thing", "module", Warned()) is None
    assert Dagster().judge(ValueError("x")) is None
    assert "dagster" not in sys.modules


def test_a_class_is_known_by_its_name_and_package_and_so_are_its_subclasses() -> None:
    schedule = class_of("dagster.core.definitions.schedule", "ScheduleDefinition")
    mine = class_of("team.schedules", "Nightly", schedule)
    namesake = class_of("team.schedules", "ScheduleDefinition")
    assert read.is_a(schedule(), "ScheduleDefinition")
    assert read.is_a(mine(), "SensorDefinition", "ScheduleDefinition")
    assert not read.is_a(namesake(), "ScheduleDefinition")
    assert not read.is_of_dagster(namesake())
    assert read.is_of_dagster(mine())


def test_a_job_without_a_graph_is_not_one_that_runs() -> None:
    preset = class_of("dagster.core.definitions.job", "JobDefinition")
    job = class_of("dagster._core.definitions.job_definition", "JobDefinition", graph=None)
    pipeline = class_of("dagster.core.definitions.pipeline", "PipelineDefinition")
    assert not is_job(preset())
    assert is_job(job())
    assert is_job(pipeline())


@pytest.mark.parametrize(
    ("name", "hidden"),
    [("__ASSET_JOB_0", True), ("__anonymous_asset_job_nightly", True), ("settle", False)],
)
def test_jobs_that_dagster_makes_by_itself_are_hidden(name: str, hidden: bool) -> None:
    assert read.is_hidden_job(name) is hidden


class Unreadable:
    @property
    def tags(self) -> dict[str, str]:
        raise RuntimeError("no tags today")

    @property
    def owners(self) -> list[str]:
        raise KeyError("ann")

    description = "a sensor"


def test_what_cannot_be_read_is_one_warning_naming_the_definition(warned: Warned) -> None:
    reader = read.Reader(warned)
    reader.begin("sensor", "on_file")
    assert reader.tags(Unreadable()) is None
    assert reader.owners(Unreadable()) is None
    assert reader.text(Unreadable(), "description") == "a sensor"
    reader.end()
    reader.end()
    assert warned.items == [
        (
            "undescribable",
            "sensor on_file is described in part: its tags raised RuntimeError: no tags today "
            "(and 1 more)",
        )
    ]


def test_tags_that_are_data_are_shown_as_json(warned: Warned) -> None:
    holder = class_of("dagster.x", "Holder", tags={"b": "text", "a": {"cpu": 1}, "n": 2})()
    assert read.Reader(warned).tags(holder) == {"b": "text", "a": '{"cpu": 1}', "n": "2"}


def test_metadata_is_unwrapped_and_code_references_are_left_to_sources(warned: Warned) -> None:
    reader = read.Reader(warned)
    value = class_of("dagster.metadata", "MarkdownMetadataValue", md_str="**x**")
    reference = class_of("dagster.metadata", "LocalFile", file_path="/a/b.py", line_number=3)
    references = class_of("dagster.metadata", "References", code_references=[reference()])
    found = {"doc": value(), "rows": 3, read.CODE_REFERENCES: references()}
    assert reader.metadata(found) == {"doc": "**x**", "rows": 3}
    assert reader.referenced_source(found) == ["/a/b.py", 3]
    entry = class_of("dagster.metadata", "MetadataEntry", label="size", value=None)()
    entry.entry_data = class_of("dagster.m", "IntMetadataEntryData", value=7)()
    assert reader.metadata([entry]) == {"size": 7}


def wrap(function: Callable[[], None]) -> Callable[[], None]:
    """A wrapper as Dagster's old decorators make them: the function is in the closure alone."""

    def wrapper() -> None:
        function()

    wrapper.__module__ = "dagster.core.definitions.decorators"
    return wrapper


def users_own() -> None:
    """The function that a person wrote."""


def test_the_source_is_the_users_function_below_dagsters_wrappers(warned: Warned) -> None:
    reader = read.Reader(warned)
    line = users_own.__code__.co_firstlineno
    for candidate in (users_own, wrap(users_own), wrap(wrap(users_own))):
        found = reader.source(None, candidate)
        assert found is not None
        assert found[1] == line
    alone = class_of("dagster.x", "Thing")()
    assert reader.source(alone, None) is None


def test_keys_of_a_time_window_are_never_asked_for(warned: Warned) -> None:
    def keys(self: object) -> list[str]:
        raise AssertionError("the keys of a time window change with the day")

    from datetime import datetime

    window = class_of(
        "dagster.partitions",
        "TimeWindowPartitionsDefinition",
        get_partition_keys=keys,
        start=datetime(2024, 1, 1),
        timezone="UTC",
        cron_schedule="0 0 * * *",
        fmt="%Y-%m-%d",
        end_offset=1,
    )
    assert partitions_data(read.Reader(warned), window()) == {
        "type": "time_window",
        "cron_schedule": "0 0 * * *",
        "timezone": "UTC",
        "format": "%Y-%m-%d",
        "start": "2024-01-01T00:00:00",
        "description": "end offset 1",
    }


def test_static_keys_are_cut_and_counted(warned: Warned) -> None:
    static = class_of(
        "dagster.partitions",
        "StaticPartitionsDefinition",
        get_partition_keys=lambda self: [str(number) for number in range(1500)],
    )
    found = partitions_data(read.Reader(warned), static())
    assert found is not None
    assert found["count"] == 1500
    assert len(found["keys"]) == 1000


def test_a_partitions_class_of_the_users_own_is_named(warned: Warned) -> None:
    mine = class_of("team", "Fiscal", class_of("dagster.partitions", "PartitionsDefinition"))
    assert partitions_data(read.Reader(warned), mine()) == {"type": "Fiscal"}


def test_no_config_schema_is_no_config(warned: Warned) -> None:
    reader = read.Reader(warned)
    assert config_fields(reader, object()) is None
    nothing = class_of("dagster.x", "Op", config_schema=None)
    assert config_fields(reader, nothing()) is None


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Duplicate job definition found for job 'x'", "duplicate_definition"),
        ("Duplicate asset key: AssetKey(['a'])", "duplicate_definition"),
        ("Conflicting definitions found in repository with name 'x'", "duplicate_definition"),
        (
            "schedule 's' targets job 'same', but a different job with the same name was provided",
            "duplicate_definition",
        ),
        (
            'ScheduleDefinition "s" targets job "missing" which was not found in this repository.',
            "invalid_definition",
        ),
        (
            "Invariant failed. Description: Bad constructor for job 'wrong': name in JobDefinition "
            "does not match: got 'other'",
            "invalid_definition",
        ),
    ],
)
def test_what_dagster_refuses_is_judged_by_its_own_words(message: str, kind: str) -> None:
    error = class_of("dagster._core.errors", "DagsterError", Exception)
    verdict = Dagster().judge(error(message))
    assert verdict == (kind, message.replace("Invariant failed. Description: ", ""))


def test_an_error_of_user_code_inside_dagster_is_not_dagsters() -> None:
    base = class_of("dagster._core.errors", "DagsterError", Exception)
    wrapped = class_of("dagster._core.errors", "DagsterUserCodeExecutionError", base)
    assert Dagster().judge(wrapped("boom")) is None


def test_the_cause_completes_the_sentence() -> None:
    error = class_of("dagster._core.errors", "DagsterError", Exception)
    outer = error("Failed to resolve asset job x")
    outer.__cause__ = error("no asset is named\n   y")
    assert Dagster().judge(outer) == (
        "invalid_definition",
        "Failed to resolve asset job x: no asset is named y",
    )
