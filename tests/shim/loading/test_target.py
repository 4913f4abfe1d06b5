"""Importing targets: forms, working directory, names, what the process looks like."""

from __future__ import annotations

import json
import os

import pytest
from loading import every_interpreter, failure, keys, load, write

JOB = """\
    from runner_shim import job

    @job
    def nightly():
        pass
    """


@pytest.mark.slow
@pytest.mark.parametrize("python", every_interpreter())
def test_every_form_in_every_python(tmp_path, python):
    write(
        tmp_path,
        {
            "defs.py": JOB,
            "risk/__init__.py": "from .inner import nightly\n",
            "risk/inner.py": JOB,
            "folder/a.py": JOB,
            "folder/b/c.py": JOB.replace("nightly", "weekly"),
        },
    )
    answer = load(tmp_path, python=python)
    assert keys(answer) == ["job:nightly"]
    assert answer["sources"] == {"job:nightly": ["defs.py", 3]}
    assert answer["report"]["module"] == "defs"
    assert answer["report"]["files"] == [str(tmp_path / "defs.py")]
    assert answer["path"] == str(tmp_path)
    assert answer["main_file"] is None
    assert answer["argv"] == [str(tmp_path / "defs.py")]

    answer = load(tmp_path, kind="python_module", name="risk.inner", python=python)
    assert keys(answer) == ["job:nightly"]
    assert answer["argv"] == [""]

    answer = load(tmp_path, kind="python_package", name="risk", python=python)
    assert keys(answer) == ["job:nightly"]
    assert answer["report"]["files"] == [
        str(tmp_path / "risk" / "__init__.py"),
        str(tmp_path / "risk" / "inner.py"),
    ]

    answer = load(tmp_path, kind="autoload_defs_module", name="folder", python=python)
    assert keys(answer) == ["job:nightly", "job:weekly"]


@pytest.mark.slow
@pytest.mark.parametrize("python", every_interpreter())
def test_a_second_edit_in_the_same_second_is_seen(tmp_path, python, monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    inner = tmp_path / "inner.py"
    write(tmp_path, {"inner.py": JOB, "defs.py": "from inner import *\n"})
    saved = inner.stat()
    assert keys(load(tmp_path, python=python)) == ["job:nightly"]
    # As long as the other, and saved in the same second: to Python's cache it is the same file.
    inner.write_text(inner.read_text().replace("nightly", "morning"))
    os.utime(inner, ns=(saved.st_atime_ns, saved.st_mtime_ns))
    assert keys(load(tmp_path, python=python)) == ["job:morning"]


def test_bytecode_of_a_file_left_alone_is_cached(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    write(tmp_path, {"defs.py": JOB})
    os.utime(tmp_path / "defs.py", (1_000_000_000, 1_000_000_000))
    load(tmp_path)
    assert list((tmp_path / "__pycache__").glob("defs.*.pyc"))


def test_module_is_registered_under_the_stem(tmp_path):
    answer = load(
        tmp_path,
        {
            "my-defs.py": JOB
            + """
    import sys
    assert sys.modules[__name__].nightly is nightly
    assert __name__ == "my-defs"
    """
        },
        name="my-defs.py",
    )
    assert keys(answer) == ["job:nightly"]


def test_dots_in_a_file_name_are_replaced_and_reported(tmp_path):
    answer = load(tmp_path, {"my.defs.py": JOB}, name="my.defs.py")
    assert answer["report"]["module"] == "my_defs"
    assert [w["code"] for w in answer["report"]["warnings"]] == ["module_renamed"]


@pytest.mark.parametrize("stem", ["json", "runner_shim", "calendar", "sys"])
def test_a_namesake_is_not_broken(tmp_path, stem):
    text = JOB + "\n    import sys, runner_shim\n    before = runner_shim.Definitions\n"
    answer = load(tmp_path, {f"sub/{stem}.py": text}, name=f"sub/{stem}.py")
    assert keys(answer) == ["job:nightly"]
    assert answer["report"]["module"] == stem + "_py"
    (warning,) = answer["report"]["warnings"]
    assert warning["code"] == "module_name_taken"
    assert f"sub/{stem}.py is imported as module {stem}_py" in warning["message"]
    assert warning["file"] == f"sub/{stem}.py"


def test_working_directory_stays_for_later_imports(tmp_path):
    answer = load(
        tmp_path,
        {
            "lib/later.py": "VALUE = 'found'\n",
            "defs.py": """\
                import os
                from runner_shim import JobDefinition, repository

                def make():
                    import later
                    return JobDefinition("a", description=later.VALUE + os.getcwd()[-3:])

                @repository
                def repo():
                    return {"jobs": {"a": make}}
                """,
        },
        working_directory=tmp_path / "lib",
        describe=[["job", "a", None]],
    )
    assert answer["described"][0]["definition"]["description"] == "foundlib"


def test_missing_working_directory(tmp_path):
    found = failure(load(tmp_path, {"defs.py": JOB}, working_directory=tmp_path / "nope" / "x"))
    assert found["kind"] == "missing_working_directory"
    assert "no such file or directory" in found["message"]
    assert found["missing"] == [str(tmp_path / "nope" / "x")]


def test_missing_file_names_a_near_one(tmp_path):
    found = failure(load(tmp_path, {"defs.py": JOB}, name="def.py"))
    assert found["kind"] == "missing_file"
    assert found["message"] == "file def.py does not exist"
    assert found["hint"] == "did you mean defs.py?"
    assert found["missing"] == [str(tmp_path / "def.py")]


def test_file_in_a_missing_directory(tmp_path):
    found = failure(load(tmp_path, {"defs.py": JOB}, name="deep/er/defs.py"))
    assert found["kind"] == "missing_file"
    assert found["missing"] == [str(tmp_path / "deep/er/defs.py")]


def test_directory_instead_of_a_file(tmp_path):
    found = failure(load(tmp_path, {"defs/__init__.py": JOB}, name="defs"))
    assert found["kind"] == "missing_file"
    assert "is a directory" in found["message"]


@pytest.mark.parametrize("kind", ["python_module", "python_package", "autoload_defs_module"])
def test_missing_module_names_a_near_one(tmp_path, kind):
    found = failure(load(tmp_path, {"risk/defs.py": JOB}, kind=kind, name="rsik"))
    assert found["kind"] == "missing_module"
    assert found["message"] == "module rsik does not exist"
    assert found["hint"] == "did you mean risk?"
    assert {str(tmp_path / one) for one in ("rsik", "rsik.py")} <= set(found["missing"])


def test_missing_submodule_of_the_target(tmp_path):
    found = failure(
        load(
            tmp_path,
            {"risk/defs.py": JOB, "risk/__init__.py": ""},
            kind="python_module",
            name="risk.deps",
        )
    )
    assert found["kind"] == "missing_module"
    assert found["message"] == "module risk.deps does not exist"
    assert found["hint"] == "did you mean risk.defs?"
    assert str(tmp_path / "risk" / "deps.py") in found["missing"]


def test_attribute_forms(tmp_path):
    files = {
        "defs.py": JOB
        + """
    def make():
        return [nightly]

    def needs(argument):
        return nightly

    number = 5
    """
    }
    assert keys(load(tmp_path, files, attribute="nightly")) == ["job:nightly"]
    answer = load(tmp_path, attribute="make")
    assert keys(answer) == ["job:nightly"]
    assert answer["report"]["attribute"] == "make"

    found = failure(load(tmp_path, attribute="nightyl"))
    assert found["kind"] == "missing_attribute"
    assert found["hint"] == "did you mean nightly?"
    assert found["files"] == [str(tmp_path / "defs.py")]

    found = failure(load(tmp_path, attribute="needs"))
    assert found["kind"] == "bad_attribute"
    assert "callable without arguments" in found["message"]
    assert (found["file"], found["line"]) == ("defs.py", 10)

    found = failure(load(tmp_path, attribute="number"))
    assert found["kind"] == "bad_attribute"
    assert "type int" in found["message"]


def test_no_definitions(tmp_path):
    found = failure(load(tmp_path, {"defs.py": "x = 1\n"}))
    assert found["kind"] == "no_definitions"
    assert (found["file"], found["line"]) == ("defs.py", 1)


def test_unknown_definition(tmp_path):
    answer = load(tmp_path, {"defs.py": JOB}, describe=[["job", "nightyl", None]])
    found = answer["described"][0]["failure"]
    assert found["kind"] == "unknown_definition"
    assert found["hint"] == "did you mean nightly?"


def test_files_are_the_teams_own(tmp_path):
    answer = load(
        tmp_path / "work",
        {
            "../elsewhere/shared/tool.py": "",
            "namespace/part.py": "",
            "defs.py": "import sys; sys.path.append('../elsewhere')\n"
            "import json.tool, namespace.part, shared.tool\n"
            "from runner_shim import job\njob(lambda: None) if 0 else None\n"
            "@job\ndef a(): pass\n",
        },
    )
    assert answer["report"]["files"] == sorted(
        [
            str(tmp_path / "elsewhere" / "shared" / "tool.py"),
            str(tmp_path / "work" / "defs.py"),
            str(tmp_path / "work" / "namespace" / "part.py"),
        ]
    )
    assert answer["report"]["installed"] == []


def test_installed_modules_are_named(tmp_path):
    site = tmp_path / "lib" / "site-packages"
    answer = load(
        tmp_path,
        {
            "lib/site-packages/pandoc/__init__.py": "",
            "lib/site-packages/pandoc/sub.py": "",
            "defs.py": f"import sys; sys.path.append({str(site)!r})\nimport pandoc.sub\n"
            "from runner_shim import job\n@job\ndef a(): pass\n",
        },
    )
    assert answer["report"]["installed"] == ["pandoc", "pandoc.sub"]
    assert answer["report"]["files"] == [str(tmp_path / "defs.py")]


def test_spawned_children_do_not_start_the_shim_again(tmp_path):
    answer = load(
        tmp_path,
        {
            "work.py": "def double(n):\n    return 2 * n\n",
            "defs.py": """\
                import multiprocessing
                from runner_shim import JobDefinition
                import work
                context = multiprocessing.get_context("spawn")
                with context.Pool(1) as pool:
                    result = pool.map(work.double, [21])
                it = JobDefinition("job%d" % result[0])
                """,
        },
    )
    assert keys(answer) == ["job:job42"]


RICH = """\
    import datetime, enum, decimal
    from pathlib import Path
    from typing import List, Optional
    from runner_shim import *

    class Color(enum.Enum):
        RED = 1

    @op(required_resource_keys={"z", "a"}, config_schema={"n": int, "m": Field(dict, {"k": 1})})
    def load(context, rows: Optional[int], more: "List[str]") -> List[int]:
        '''Loads.

            Indented.
        '''

    @op(out={"x": Out(int), "y": Out(str)})
    def split(rows):
        pass

    @op(ins={"go": In(None)})
    def last(go, left, right):
        pass

    @graph
    def inner(start):
        x, y = split(start)
        return last(go=load(start), left=x, right=[x, y])

    @job(tags={"team": "risk", "n": 1, "l": [2, 1]}, metadata={
        "set": {3, 1, 2}, "mixed": {"b", 1, None, 2.5}, "when": datetime.datetime(2020, 1, 2),
        "path": Path(__file__), "color": Color.RED, "big": 10 ** 30, "nan": float("inf"),
        "price": decimal.Decimal("1.10"), "function": load, "cls": Color, 5: 6})
    def nightly():
        inner(load())

    @schedule(["0 5 * * *", "@daily"], job=nightly, execution_timezone="UTC")
    def morning(context):
        return {}

    @sensor(jobs=[nightly], minimum_interval_seconds=30)
    def watcher(context):
        yield RunRequest()

    @asset(key_prefix=["raw", "db"], kinds={"sql", "python"}, owners=["team:risk"])
    def trades():
        pass

    @asset(deps=[trades, "other"], partitions_def=["b", "a"])
    def report():
        pass

    @resource(config_schema={"url": str})
    def db(context):
        pass

    start = datetime.date(2020, 1, 1)
    months = TimeWindowPartitionsDefinition("0 0 1 * *", start=start, timezone="UTC")
    sets = PartitionSetDefinition("months", job=nightly, partitions=months)
    """


def test_same_definitions_same_bytes_in_every_python(tmp_path):
    documents, sources = {}, {}
    for param in every_interpreter():
        python = param.values[0]
        if python is None:
            continue
        answer = load(tmp_path, {"defs.py": RICH}, python=python)
        keys(answer)
        documents[param.id] = json.dumps(answer["document"])
        sources[param.id] = json.dumps(answer["sources"], sort_keys=True)
        if param.id == "3.6":  # and whatever the hashes of strings
            again = load(tmp_path, python=python, options=("-R",))
            assert json.dumps(again["document"]) == documents[param.id]
    assert len(set(documents.values())) == 1, documents
    assert len(set(sources.values())) == 1, sources


@pytest.mark.slow
@pytest.mark.parametrize("python", every_interpreter()[::7])
def test_fifty_thousand_jobs(tmp_path, python):
    answer = load(
        tmp_path,
        {
            "defs.py": """\
                from runner_shim import JobDefinition, RepositoryDefinition
                jobs = [JobDefinition("job_%05d" % n, tags={"n": str(n)}) for n in range(50000)]
                repo = RepositoryDefinition("many", jobs)
                """
        },
        python=python,
    )
    assert len(keys(answer)) == 50000
    assert answer["sources"]["job:job_00007"] == ["defs.py", 2]


LISTING = """\
import glob, os, pkgutil
from runner_shim import job

here = os.path.dirname(os.path.abspath(__file__))
for path in sorted(glob.glob(os.path.join(here, "jobs", "*.yaml"))):
    job(name=os.path.basename(path)[:-5])(lambda: None)
list(pkgutil.iter_modules([os.path.join(here, "package")]))
os.listdir("/usr")
os.listdir(here)
open(os.path.join(here, "written.txt"), "w").close()

@job
def this():
    pass
"""


@pytest.mark.parametrize("python", every_interpreter())
def test_the_directories_that_the_code_lists_are_reported(tmp_path, python):
    files = {"defs.py": LISTING, "jobs/a.yaml": "", "package/__init__.py": "", "other/x.py": ""}
    report = load(tmp_path, files, python=python)["report"]
    has_hooks = tuple(map(int, report["python"].split("."))) >= (3, 8)
    expected = [str(tmp_path / name) for name in ("jobs", "package")]
    assert report["folders"] == (expected if has_hooks else [])
