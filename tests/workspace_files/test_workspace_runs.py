"""What a workspace says of its runs: the keys, which win, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from textwrap import indent

import pytest
from workspaces import only, problems, read

from supervisor.run_settings import Backoff, Instance, OnStop, Retries, RunSettings, TagLimit
from supervisor.workspace_files import Selection, reread

ALL = """\
  max_concurrent: 4
  tag_concurrency: {database: 2, team=ml: 1, customer=*: 3, 'a=b=c': 0}
  timeout: 1h
  retries: {count: 2, delay: 30s, backoff: exponential}
  retry_lost: true
  keep: {count: 100, age: 400d}
  max_disk: 10GiB
  on_stop: keep
  run_grace: 1m
  instance: shared
"""
READ = RunSettings(
    max_concurrent=4,
    tag_concurrency=(
        TagLimit("database", 2),
        TagLimit("team", 1, "ml"),
        TagLimit("customer", 3, each=True),
        TagLimit("a", 0, "b=c"),
    ),
    timeout=3600.0,
    retries=Retries(2, 30.0, Backoff.EXPONENTIAL),
    retry_lost=True,
    keep_count=100,
    keep_age=400 * 86400.0,
    max_disk=10 * 2**30,
    on_stop=OnStop.KEEP,
    run_grace=60.0,
    instance=Instance.SHARED,
)


def test_the_keys_at_the_top_in_defaults_and_in_a_location(tmp_path: Path) -> None:
    top = read(tmp_path, f"runs:\n{ALL}load_from: [python_file: f.py]\n")
    assert top.runs == READ
    assert only(top).runs == RunSettings()
    inner = indent(f"runs:\n{ALL}", "  ")
    given = read(tmp_path, f"defaults:\n{inner}load_from: [python_file: f.py]\n")
    assert only(given).runs == READ
    assert given.runs == RunSettings()
    item = f"load_from:\n- python_module:\n    module_name: m\n{indent(inner, '  ')}"
    assert only(read(tmp_path, item)).runs == READ


def test_a_location_wins_key_by_key(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        """\
        runs: {timeout: 1h, retries: 3, keep: 30d, on_stop: keep, max_disk: 1GB}
        defaults: {runs: {retries: {count: 1, delay: 5}, timeout: 2h}}
        load_from:
        - python_module: {module_name: m, runs: {timeout: none, keep: 7, max_concurrent: none}}
        """,
    )
    assert spec.runs is not None
    assert only(spec).runs.over(spec.runs) == RunSettings(
        max_concurrent=math.inf,
        timeout=math.inf,
        retries=Retries(1, 5.0),
        keep_count=7,
        keep_age=math.inf,
        max_disk=10**9,
        on_stop=OnStop.KEEP,
    )


@pytest.mark.parametrize(
    ("written", "count", "age"),
    [
        ("500", 500, math.inf),
        ("0", 0, math.inf),
        ("30d", math.inf, 30 * 86400),
        ("1d 12h", math.inf, 36 * 3600),
        ("none", math.inf, math.inf),
        ("{age: 1h}", math.inf, 3600),
        ("{count: 3}", 3, math.inf),
        ("{count: {env: PORT}}", 4266, math.inf),
    ],
)
def test_what_is_kept(tmp_path: Path, written: str, count: float, age: float) -> None:
    runs = read(tmp_path, f"runs: {{keep: {written}}}\nload_from: []\n").runs
    assert runs == RunSettings(keep_count=count, keep_age=age)


def test_dagsters_list_of_tag_limits(tmp_path: Path) -> None:
    runs = read(
        tmp_path,
        """\
        load_from: []
        runs:
          tag_concurrency:
          - {key: database, value: redshift, limit: 4}
          - {key: dagster/backfill, limit: 10}
          - key: user
            value: {applyLimitPerUniqueValue: true}
            limit: 5
          - {key: year, value: 2026, limit: 1}
        """,
    ).runs
    assert runs == RunSettings(
        tag_concurrency=(
            TagLimit("database", 4, "redshift"),
            TagLimit("dagster/backfill", 10),
            TagLimit("user", 5, each=True),
            TagLimit("year", 1, "2026"),
        )
    )


@pytest.mark.parametrize(
    ("written", "path", "message", "expected", "meant"),
    [
        ("5", "runs", "the number 5", "a map of settings", ""),
        ("{max_concurent: 1}", "runs.max_concurent", "unknown key", "", "max_concurrent"),
        ("{max_concurrent_runs: 1}", "runs.max_concurrent_runs", "it is called", "", ""),
        ("{max_concurrent: -1}", "runs.max_concurrent", "-1", "or none", ""),
        ("{tag_concurrency: 5}", "runs.tag_concurrency", "5", "a map of tags", ""),
        ("{tag_concurrency: {'=x': 1}}", "runs.tag_concurrency", '"=x"', "", ""),
        ("{tag_concurrency: {a: b}}", "runs.tag_concurrency.a", '"b"', "a whole number", ""),
        ("{tag_concurrency: [{key: a}]}", "runs.tag_concurrency[0]", "limit is missing", "", ""),
        (
            "{tag_concurrency: [{key: a, limit: 1, value: {each: true}}]}",
            "runs.tag_concurrency[0].value",
            "applyLimitPerUniqueValue is missing",
            "",
            "",
        ),
        ("{timeout: 0}", "runs.timeout", "0", "a duration of at least 0.1 s", ""),
        ("{retries: -1}", "runs.retries", "-1", "a whole number", ""),
        ("{retries: {backoff: linear}}", "runs.retries.backoff", '"linear"', "exponential", ""),
        ("{keep: 30 days}", "runs.keep", '"30 days"', "an age", "30d"),
        ("{keep: -1}", "runs.keep", "-1", "from 0", ""),
        ("{keep: all}", "runs.keep", '"all"', "none", ""),
        ("{keep: {age: 30}}", "runs.keep.age", "30", "an age", "30d"),
        ("{max_disk: 5}", "runs.max_disk", "5", "a size", "5MiB"),
        ("{on_stop: kep}", "runs.on_stop", '"kep"', "cancel or keep", "keep"),
        ("{retry_lost: 1}", "runs.retry_lost", "1", "true or false", ""),
        ("{run_grace: -1}", "runs.run_grace", "-1", "a duration", ""),
    ],
)
def test_what_is_refused(
    tmp_path: Path, written: str, path: str, message: str, expected: str, meant: str
) -> None:
    found = problems(tmp_path, f"load_from: []\nruns: {written}\n")
    problem = next(one for one in found if one.path == path)
    assert message in problem.message
    assert expected in problem.expected
    assert problem.suggestion == meant
    assert problem.position.line == 2


def test_two_files_say_a_key_once(tmp_path: Path) -> None:
    one, two = "load_from: []\nruns: {timeout: 1h}\n", "load_from: []\nruns: {retries: 1}\n"
    assert read(tmp_path, one, two).runs == RunSettings(timeout=3600.0, retries=Retries(1))
    (problem,) = problems(tmp_path, one, two.replace("retries: 1", "retries: 1, timeout: 2h"))
    assert problem.position.file.endswith("v.yaml")
    assert "timeout is said of all runs already, at " in problem.message
    assert "w.yaml:2:8" in problem.message


@pytest.mark.parametrize(
    "text", ["load_from: [", "load_from: []\nruns: {timeout: x}\n", "xyz: 1\n"]
)
def test_a_broken_file_leaves_them_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / "w.yaml").write_text(text)
    (tmp_path / "v.yaml").write_text("load_from: [python_file: f.py]\nruns: {timeout: 1h}\n")
    selection = Selection(files=(Path("v.yaml"), Path("w.yaml")))
    spec, desired = reread(selection, cwd=tmp_path, environ={})
    assert desired.problems
    assert spec.runs is None
    (tmp_path / "w.yaml").write_text("load_from: [{python_file: {relative_path: 5}}]\n")
    spec, desired = reread(selection, cwd=tmp_path, environ={})
    assert desired.problems  # of one location, which is not the whole file's
    assert spec.runs == RunSettings(timeout=3600.0)


def test_its_own_keys_need_no_other_process(tmp_path: Path) -> None:
    location = only(read(tmp_path, "load_from: [python_file: f.py]\n"))
    assert not location.process_differs(replace(location, runs=RunSettings(timeout=1.0)))
