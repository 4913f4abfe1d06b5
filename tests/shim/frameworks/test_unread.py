"""A module whose framework is not read says what it has: with packages that have the same class
names. The real ones are in tests/real/test_unread.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from loading import every_interpreter, failure, load

from runner_shim.frameworks.unread import sentence

AIRFLOW = {
    "airflow/__init__.py": "",
    "airflow/sdk.py": """\
        class DAG(object):
            def __init__(self, name):
                self.name = name

        class BaseOperator(object):
            pass

        example = DAG("example")
        """,
}
PREFECT = {
    "prefect/__init__.py": """\
        class Flow(object):
            def __init__(self, function):
                self.function = function

            def __call__(self):
                raise SystemExit("a flow was called")

        flow = Flow
        """,
}
CELERY = {
    "celery/__init__.py": """\
        class Celery(object):
            def task(self, function):
                return Proxy(function)

        class Proxy(object):
            # As Celery's own, which makes the task when anything is asked of it.
            def __init__(self, function):
                object.__setattr__(self, "_function", function)

            def __getattribute__(self, name):
                raise SystemExit("%s was asked of a task" % name)

            __class__ = property(lambda self: self.anything)
            __bool__ = __eq__ = __hash__ = __call__ = lambda self, *arguments: self.anything

        current_app = Proxy(None)
        """,
}


def said(tmp_path: Path, text: str, files: dict[str, str], **how: object) -> str:
    answer = load(tmp_path, {**files, "defs.py": text}, **how)  # type: ignore[arg-type]
    message: str = failure(answer)["message"]
    return message


@pytest.mark.parametrize("python", every_interpreter())
def test_what_is_not_read_is_named(python, tmp_path):
    text = """\
        from celery import Celery, current_app
        from airflow.sdk import DAG, example

        app = Celery()

        @app.task
        def add(): pass

        @app.task
        def multiply(): pass

        plus = add
        nightly = DAG("nightly")

        class Flow:
            pass

        mine = Flow()
        """
    assert said(tmp_path, text, {**AIRFLOW, **CELERY, **PREFECT}, python=python) == (
        "no definitions found in defs: 1 Airflow DAG and 2 Celery tasks found; "
        "Airflow and Celery are not read"
    )


@pytest.mark.parametrize(
    ("text", "files", "expected"),
    [
        (
            "from prefect import flow\n@flow\ndef a(): pass\n@flow\ndef b(): pass\n"
            "@flow\ndef c(): pass\n",
            PREFECT,
            "3 Prefect flows found; Prefect is not read",
        ),
        (
            "from celery import Celery\napp = Celery()\n",
            CELERY,
            "1 Celery app found; Celery is not read",
        ),
        (
            "import luigi\nclass A(luigi.Task): pass\nclass B(A): pass\nTask = luigi.Task\n",
            {"luigi.py": "class Task(object): pass\n"},
            "2 Luigi tasks found; Luigi is not read",
        ),
        (
            "import kedro\ndef register_pipelines(): raise SystemExit\n",
            {"kedro.py": ""},
            "1 Kedro pipeline registry found; Kedro is not read",
        ),
        (
            "import temporalio\nclass W(object): __temporal_workflow_definition = 1\n"
            "setattr(W, '__temporal_workflow_definition', 1)\n",
            {"temporalio.py": ""},
            "1 Temporal workflow found; Temporal is not read",
        ),
    ],
)
def test_each_kind_of_rule(text, files, expected, tmp_path):
    assert said(tmp_path, text, files) == f"no definitions found in defs: {expected}"


def test_what_a_framework_has_itself_is_no_teams(tmp_path):
    text = "from airflow.sdk import DAG, BaseOperator, example\nimport prefect\n"
    message = said(tmp_path, text, {**AIRFLOW, **PREFECT})
    assert message == "no definitions found in defs"


def test_a_named_object_is_named_and_not_called(tmp_path):
    text = "from prefect import flow\n@flow\ndef nightly(): pass\n"
    message = said(tmp_path, text, PREFECT, attribute="nightly")
    assert message == (
        "attribute nightly of defs is of type prefect.Flow, which is no definition "
        "(1 Prefect flow found; Prefect is not read)"
    )


def test_a_folder_is_looked_at_with_its_submodules(tmp_path):
    one = "from prefect import flow\n@flow\ndef nightly(): pass\n"
    files = {**PREFECT, "team/__init__.py": "", "team/a.py": one, "team/b/c.py": one}
    answer = load(tmp_path, files, kind="autoload_defs_module", name="team")
    assert failure(answer)["message"] == (
        "no definitions found in team: 2 Prefect flows found; Prefect is not read"
    )


def test_definitions_beside_it_are_loaded(tmp_path):
    text = """\
        from prefect import flow
        from runner_shim import job

        @flow
        def nightly(): pass

        @job
        def weekly(): pass
        """
    answer = load(tmp_path, {**PREFECT, "defs.py": text})
    assert [one["name"] for one in answer["document"]["definitions"]] == ["weekly"]


def test_nothing_is_said_of_frameworks_that_are_not_imported() -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> None:
            raise AssertionError(name)

    assert sentence([("a", Hostile()), ("b", Hostile), ("c", 3)]) is None
