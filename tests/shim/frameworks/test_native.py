"""What a location of native definitions has: precedence, names, targets, laziness."""

from __future__ import annotations

import pytest
from loading import by_key, every_interpreter, failure, keys, load

HEAD = "from runner_shim import *\n"
OLDEST_AND_NEWEST = [every_interpreter()[0], every_interpreter()[7]]


def defs(text: str) -> dict[str, str]:
    return {"defs.py": HEAD + text}


def codes(answer):
    return [warning["code"] for warning in answer["report"]["warnings"]]


def test_loose_definitions_are_all_gathered(tmp_path):
    text = """
@job
def a(): pass
@job
def b(): pass
@asset
def t(): pass
alias = a
@resource
def db(context): pass
"""
    answer = load(tmp_path, defs(text))
    assert keys(answer) == ["asset:t", "job:a", "job:b", "resource:db"]
    assert answer["document"]["repositories"] == []
    assert answer["report"]["frameworks"] == [{"name": "native", "version": "0.1.0"}]
    assert codes(answer) == []


def test_a_definitions_object_hides_the_rest_and_says_so(tmp_path):
    text = """
@job
def used(): pass
@job
def hidden(): pass
@repository
def repo(): return [used]
every = ScheduleDefinition("every", "@daily", used)
defs = same = Definitions(schedules=[every], resources={"db": object(), "url": "x"})
"""
    answer = load(tmp_path, defs(text))
    assert keys(answer) == ["job:used", "resource:db", "resource:url", "schedule:every"]
    assert codes(answer) == ["shadowed_repositories", "shadowed_definitions"]
    first, second = answer["report"]["warnings"]
    assert first["message"] == "Definitions object defs hides a repository: repo (defs.py line 7)"
    assert "job hidden" in second["message"]
    assert "used" not in second["message"]
    assert (second["file"], second["line"]) == ("defs.py", 5)


def test_two_definitions_objects_are_ambiguous(tmp_path):
    text = "one = Definitions()\ntwo = Definitions()\n"
    found = failure(load(tmp_path, defs(text)))
    assert found["kind"] == "ambiguous_definitions"
    assert found["message"] == (
        "defs has 2 Definitions objects: one (defs.py line 2), two (defs.py line 3)"
    )
    assert (found["file"], found["line"]) == ("defs.py", 3)
    assert keys(load(tmp_path, attribute="two")) == []


def test_an_empty_definitions_object_is_found(tmp_path):
    assert keys(load(tmp_path, defs("d = Definitions()\n"))) == []


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST)
def test_several_repositories_may_share_names(tmp_path, python):
    text = """
@job
def a(): "one"
@repository(description="first", metadata={"k": 1})
def r1(): return [a, ScheduleDefinition("s", "@daily", a)]
@repository
def r2(): return [JobDefinition("a"), SensorDefinition("s", job_name="a")]
"""
    answer = load(
        tmp_path, defs(text), python=python, describe=[["job", "a", "r1"], ["job", "a", "r2"]]
    )
    assert answer["document"]["repositories"] == [
        {"description": "first", "metadata": {"k": 1}, "name": "r1"},
        {"name": "r2"},
    ]
    assert keys(answer) == ["job:a@r1", "job:a@r2", "schedule:s@r1", "sensor:s@r2"]
    assert answer["sources"]["job:a@r1"] == ["defs.py", 3]
    assert [d["definition"].get("description") for d in answer["described"]] == ["one", None]
    assert answer["described"][0]["definition"]["repository"] == "r1"


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST)
def test_the_ops_of_jobs_have_sources(tmp_path, python):
    text = """
@op
def fetch(): pass
@graph
def prepare(): return fetch()
@job
def a(): prepare()
def other():
    @op(name="twice")
    def first(): pass
    return first
@op
def twice(): pass
@job
def b():
    twice()
    other()()
r = RepositoryDefinition("r", [a, b])
"""
    answer = load(tmp_path, defs(text), python=python)
    assert answer["sources"]["op:fetch"] == ["defs.py", 3]
    assert answer["sources"]["graph:prepare"] == ["defs.py", 5]
    # Which of two is meant cannot be told.
    assert "op:twice" not in answer["sources"]


def test_two_repositories_of_one_name(tmp_path):
    text = """
a = RepositoryDefinition("same", [JobDefinition("first")])
b = RepositoryDefinition("same", [JobDefinition("second")])
"""
    answer = load(tmp_path, defs(text))
    assert keys(answer) == ["job:second"]
    assert codes(answer) == ["duplicate_repository"]
    assert (
        "the one at defs.py line 4 is used, the one at defs.py line 3 is not"
        in (answer["report"]["warnings"][0]["message"])
    )


LAZY = """
import os, sys

def called(name, make):
    def function():
        with open("calls", "a") as stream:
            stream.write(name + "\\n")
        return make()
    return function

@job
def eager(): pass

@repository
def seed():
    return {
        "jobs": {
            "a": called("a", lambda: JobDefinition("a", description="made")),
            "wrong": called("wrong", lambda: JobDefinition("other")),
            "kind": lambda: SensorDefinition("kind"),
            "raises": lambda: {}["x"],
            "exits": lambda: sys.exit(2),
            "eager": eager,
        },
        "schedules": {
            "s": called("s", lambda: ScheduleDefinition("s", "@daily", job_name="a")),
            "lost": lambda: ScheduleDefinition("lost", "@daily", job_name="nope"),
            "bad": lambda: ScheduleDefinition("bad", "@dayly", job_name="a"),
        },
        "sensors": {"n": called("n", lambda: SensorDefinition("n", job_name="a"))},
        "partition_sets": {"p": called("p", lambda: None)},
    }
"""


@pytest.mark.slow
@pytest.mark.parametrize("python", every_interpreter())
def test_lazy_entries_are_made_one_at_a_time(tmp_path, python):
    answer = load(tmp_path, defs(LAZY), python=python)
    assert not (tmp_path / "calls").exists()
    found = by_key(answer)
    assert found["job:a"] == {"kind": "job", "name": "a", "lazy": True}
    assert found["schedule:s"] == {"kind": "schedule", "name": "s", "lazy": True}
    assert "lazy" not in found["job:eager"]
    assert len(found) == 11
    assert answer["sources"]["job:a"][0] == "defs.py"

    names = [["job", "a"], ["job", "a"], ["schedule", "s"], ["job", "eager"]]
    answer = load(tmp_path, python=python, describe=[[*name, None] for name in names])
    described = answer["described"]
    assert described[0] == described[1]
    assert described[0]["definition"] == {"description": "made", "kind": "job", "name": "a"}
    assert described[0]["source"] == ["defs.py", 19]
    assert described[2]["definition"]["job"] == "a"
    assert (tmp_path / "calls").read_text().split() == ["a", "s"]


def test_lazy_entries_that_are_wrong_cost_only_themselves(tmp_path):
    wrong = ["wrong", "kind", "raises", "exits"]
    asked = [["job", name, None] for name in wrong]
    asked += [["schedule", "lost", None], ["schedule", "bad", None], ["partition_set", "p", None]]
    answer = load(tmp_path, defs(LAZY), describe=[*asked, ["job", "a", None]])
    found = [each.get("failure") for each in answer["described"]]
    assert found[0]["kind"] == "invalid_definition"
    assert found[0]["message"] == (
        "job 'wrong' of repository 'seed' is made under the name 'other': "
        "key and name must be the same"
    )
    assert (found[0]["file"], found[0]["line"]) == ("defs.py", 6)
    assert "returned a runner_shim.definitions.triggers.SensorDefinition" in found[1]["message"]
    assert (found[2]["kind"], found[2]["exception"]["type"]) == ("exception", "KeyError")
    assert (found[2]["file"], found[2]["line"]) == ("defs.py", 22)
    assert found[3]["kind"] == "system_exit"
    assert found[4]["message"].startswith("schedule 'lost' targets job 'nope', which does not")
    assert "'@dayly' is no cron word" in found[5]["message"]
    assert "returned a NoneType" in found[6]["message"]
    assert found[7] is None


def test_an_eager_entry_of_another_name_is_refused_at_once(tmp_path):
    text = '@repository\ndef r(): return {"jobs": {"key": JobDefinition("name")}}\n'
    found = failure(load(tmp_path, defs(text)))
    assert "job 'key' of repository 'r' is made under the name 'name'" in found["message"]


def test_targets_are_included_and_must_exist(tmp_path):
    text = """
target = JobDefinition("target")
defs = Definitions(
    schedules=[ScheduleDefinition("s", "@daily", "target")],
    sensors=[SensorDefinition("n", jobs=[target])],
)
"""
    assert keys(load(tmp_path, defs(text))) == ["job:target", "schedule:s", "sensor:n"]


def test_a_schedule_for_a_job_that_does_not_exist(tmp_path):
    text = """
nightly = JobDefinition("nightly")
s = ScheduleDefinition("s", "@daily", "nightyl")
"""
    found = failure(load(tmp_path, defs(text)))
    assert found["kind"] == "invalid_definition"
    assert found["message"] == (
        "schedule 's' targets job 'nightyl', which does not exist (defs.py line 4)"
    )
    assert found["hint"] == "did you mean nightly?"
    assert (found["file"], found["line"]) == ("defs.py", 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'a = JobDefinition("x")\nb = JobDefinition("x")\n',
            "two definitions are named 'x': the job at defs.py line 2 and the job at "
            "defs.py line 3",
        ),
        (
            'a = ScheduleDefinition("x", "@daily", JobDefinition("j"))\n'
            'b = SensorDefinition("x")\n',
            "the schedule at defs.py line 2 and the sensor at defs.py line 3",
        ),
        (
            '@asset(key_prefix="p")\ndef a(): pass\nb = AssetDefinition("a", key_prefix=["p"])\n',
            "two definitions are named 'p/a'",
        ),
        (
            'a = JobDefinition("x")\nb = SensorDefinition("n", job=JobDefinition("x"))\n',
            "sensor 'n' (defs.py line 3) targets a job 'x' (defs.py line 3) that is not the job "
            "of that name here (defs.py line 2)",
        ),
        (
            'r = RepositoryDefinition("r", {"jobs": {"x": lambda: 1}, "pipelines": {"x": len}})\n',
            "two definitions are named 'x'",
        ),
    ],
)
def test_duplicates_name_both_places(tmp_path, text, said):
    found = failure(load(tmp_path, defs(text)))
    assert found["kind"] == "duplicate_definition"
    assert said in found["message"]
    assert found["file"] == "defs.py"


def test_several_problems_are_told_together(tmp_path):
    text = 's = ScheduleDefinition("s", "@daily", "x")\nt = SensorDefinition("t", job_name="y")\n'
    found = failure(load(tmp_path, defs(text)))
    assert "schedule 's' targets job 'x'" in found["message"]
    assert "1 more: sensor 't' targets job 'y'" in found["hint"]


def test_an_asset_that_no_run_can_make_is_a_warning(tmp_path):
    text = """
@asset
def invoices(): return 1
@asset
def total(invoicess, invoices, rate=3): return invoicess
@asset
def far(elsewhere): return elsewhere
@asset(deps=["elsewhere"])
def fine(): return 1
"""
    answer = load(tmp_path, defs(text))
    assert codes(answer) == ["unknown_asset", "unknown_asset"]
    far, total = answer["report"]["warnings"]
    assert total["message"].startswith("asset total takes the value of invoicess, which nothing")
    assert total["hint"] == "did you mean invoices?"
    assert far["hint"] == "name it in deps, and read it in the function"


def test_jobs_and_schedules_may_share_a_name(tmp_path):
    text = 's = ScheduleDefinition("x", "@daily", JobDefinition("x"))\nr = AssetDefinition("x")\n'
    assert keys(load(tmp_path, defs(text))) == ["asset:x", "job:x", "schedule:x"]


@pytest.mark.parametrize("python", OLDEST_AND_NEWEST)
def test_a_folder_gathers_from_all_its_modules(tmp_path, python):
    files = {
        "team/__init__.py": "",
        "team/a.py": HEAD + 'd = Definitions(jobs=[JobDefinition("a")], resources={"k": 1})\n',
        "team/deep/er/b.py": HEAD + 'd = Definitions(jobs=[JobDefinition("b")])\n',
        "team/c/__init__.py": HEAD + "@repository\ndef r(): return [JobDefinition('c')]\n",
        "team/d.py": HEAD + "from .a import d as imported\n@asset\ndef t(): pass\n",
        "team/__main__.py": "raise SystemExit(1)\n",
        "team/not-a-module.py": "raise SystemExit(1)\n",
    }
    answer = load(tmp_path, files, kind="autoload_defs_module", name="team", python=python)
    assert keys(answer) == ["asset:t", "job:a", "job:b", "job:c", "resource:k"]
    assert len(answer["report"]["files"]) == 5


def test_a_folder_with_a_broken_module(tmp_path):
    files = {"team/a.py": HEAD + "@job\ndef a(): pass\n", "team/b.py": "import nope\n"}
    found = failure(load(tmp_path, files, kind="autoload_defs_module", name="team"))
    assert found["kind"] == "import_error"
    assert found["file"] == "team/b.py"
    assert str(tmp_path / "team" / "a.py") in found["files"]


def test_the_body_of_a_repository_that_raises(tmp_path):
    found = failure(load(tmp_path, defs("@repository\ndef r():\n    raise ValueError('x')\n")))
    assert found["kind"] == "exception"
    assert [frame["function"] for frame in found["frames"]] == ["<module>", "r"]
    assert found["message"] == "ValueError: x (at defs.py line 4)"
