"""Outputs, failures, retries and resources of native runs."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from places import PROGRAMS
from running import execute, failure, shown, told

from runner_shim import Failure, InvalidDefinitionError, Output, RetryPolicy, asset, job, op

TARGET = PROGRAMS / "native_features.py"


def run(order: dict[str, Any]) -> dict[str, Any]:
    (found,) = execute(TARGET, [order])
    return found


def said(found: dict[str, Any], kind: str) -> list[Any]:
    """The data of all events of a type."""
    return [event["data"] for event in found["events"] if event["type"] == kind]


# --- outputs


def test_outputs_have_names_and_metadata():
    found = run({"job": "branches"})
    assert said(found, "STEP_OUTPUT")[:2] == [
        {"output": "result", "metadata": {"rows": 3}},
        {"output": "low", "metadata": {"half": "lower"}},
    ]


def test_what_is_below_an_output_that_is_left_out_is_skipped_and_no_failure():
    found = run({"job": "branches"})
    assert found["outcome"] == {"state": "success", "failure": None}
    skipped = [step for _, step in told(found, "STEP_SKIPPED")]
    assert skipped == ["high", "higher", "never", "at_last"]
    # A list of several outputs has those that are there.
    assert "show_all: [2]" in shown(found)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("job_that_yields", "yields yields int: only Output(value, output_name) is yielded"),
        ("job_that_yields_twice", "gives its output result twice"),
    ],
)
def test_what_is_yielded_and_is_no_output_is_a_failure(name, words):
    found = failure(run({"job": name}))
    assert words in found["message"]
    assert found["file"] == "native_features.py"


@op(out={"rows": None, "rest": None})
def divide(context, rows, part=2):
    """Rows and the rest."""
    return Output(rows // part, "rows"), rows % part


@asset
def doubled(rows):
    return rows * 2


def test_a_decorated_function_that_is_called_is_a_plain_call():
    rows, rest = divide(None, 7, part=3)
    assert (rows.value, rows.output_name, rest) == (2, "rows", 1)
    assert doubled(4) == 8
    assert doubled(rows=4) == 8


# --- failures and retries


def test_a_failure_has_a_sentence_and_metadata_of_its_own():
    found = run({"job": "told_failure"})
    assert failure(found)["message"].startswith("Failure: too few rows")
    (data,) = said(found, "STEP_FAILURE")
    assert data["metadata"] == {"rows": 2, "password": "(hidden)"}
    assert Failure().args == ("it failed on purpose",)


def test_a_step_with_a_policy_is_called_again_with_a_growing_delay(tmp_path):
    config = {"config": {"directory": str(tmp_path), "fails": 2}}
    found = run({"job": "retried", "config": config})
    assert told(found, "STEP_")[:6] == [
        ("STEP_START", "flaky"),
        ("STEP_UP_FOR_RETRY", "flaky"),
        ("STEP_RESTARTED", "flaky"),
        ("STEP_UP_FOR_RETRY", "flaky"),
        ("STEP_RESTARTED", "flaky"),
        ("STEP_OUTPUT", "flaky"),
    ]
    tries = said(found, "STEP_UP_FOR_RETRY")
    assert [(one["seconds"], one["retry"]) for one in tries] == [(0.01, 1), (0.03, 2)]
    assert "attempt 2 of retry 1" in tries[1]["failure"]["message"]
    assert shown(found) == ["show: 3"]


def test_retries_end(tmp_path):
    config = {"config": {"directory": str(tmp_path), "fails": 9}}
    found = run({"job": "retried", "config": config})
    assert [kind for kind, _ in told(found, "STEP_FAILURE", "STEP_SKIPPED")] == [
        "STEP_FAILURE",
        "STEP_SKIPPED",
    ]
    assert "attempt 3 of retry 2" in failure(found)["message"]


def test_an_op_asks_for_its_retry():
    found = run({"job": "asked_again"})
    assert shown(found) == ["show: 2"]
    causes = said(found, "STEP_UP_FOR_RETRY")[0]["failure"]["causes"]
    assert causes[0]["message"] == "not yet"


def test_a_failure_may_rule_retries_out():
    assert told(run({"job": "no_retries"}), "STEP_UP", "STEP_FAILURE") == [
        ("STEP_FAILURE", "gives_up")
    ]


def test_a_cancel_during_a_delay_works_at_once():
    found = run({"job": "long_delay"})  # of ten minutes
    assert failure(found)["kind"] == "interrupted"
    assert told(found, "RUN_")[-1] == ("RUN_CANCELED", None)
    assert said(found, "STEP_UP_FOR_RETRY")[0]["seconds"] == 600


@pytest.mark.parametrize(
    ("policy", "seconds"),
    [
        (RetryPolicy(3), [0, 0, 0]),
        (RetryPolicy(3, delay=2), [2, 2, 2]),
        (RetryPolicy(3, delay=2, backoff="linear"), [2, 4, 6]),
        (RetryPolicy(3, delay=2, backoff="EXPONENTIAL"), [2, 6, 14]),
    ],
)
def test_delays_grow_as_the_policy_says(policy, seconds):
    assert [policy.seconds(number) for number in (1, 2, 3)] == seconds


def test_a_delay_stays_a_number():
    assert RetryPolicy(10**6, delay=0.5, backoff="exponential").seconds(10**6) < 10**9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_retries": -1}, "max_retries -1"),
        ({"max_retries": True}, "max_retries True"),
        ({"delay": "10"}, "delay '10'"),
        ({"backoff": "doubled"}, "backoff 'doubled'"),
    ],
)
def test_a_wrong_policy_is_refused_where_it_is_written(options, words):
    with pytest.raises(InvalidDefinitionError, match=words) as caught:
        RetryPolicy(**options)
    assert caught.value.file.endswith("test_native_features.py")


def test_what_native_definitions_do_not_have_is_refused_with_a_sentence():
    for wrong, words in (
        (lambda: job(hooks={print})(lambda: None), "has hooks, which native jobs do not have"),
        (lambda: job(max_concurrent=0)(lambda: None), "has the max_concurrent 0"),
        (lambda: op(retry_policy=3)(print_nothing), "has a retry_policy of type int"),
        (lambda: Output(1, metadata=["rows"]), "metadata of an Output is a dict"),
    ):
        with pytest.raises(InvalidDefinitionError, match=words):
            wrong()


def print_nothing():
    pass


# --- resources


def test_teardowns_run_in_reverse_order_and_do_not_hide_the_failure():
    found = run({"job": "with_teardown"})
    assert failure(found)["step"] == "uses_and_fails"
    assert shown(found) == [
        "uses: open db",
        "uses: db cursor",
        "uses: teardown of cursor",
        "uses: close db",
    ]
    (event,) = [one for one in found["events"] if one["type"] == "ENGINE_EVENT"]
    assert (
        "the teardown of resource cursor has failed: ValueError: the cursor is gone"
        in (event["message"])
    )
    assert told(found)[-1] == ("RUN_FAILURE", None)


def test_a_run_whose_teardown_fails_has_failed():
    found = failure(run({"job": "teardown_fails"}))
    assert (found["resource"], "step" in found) == ("cursor", False)


def test_teardowns_run_when_the_run_is_cancelled():
    found = run({"job": "teardown_at_cancel"})
    assert shown(found)[-2:] == ["uses_and_sleeps: cleaned up", "uses_and_sleeps: close db"]
    assert told(found)[-1] == ("RUN_CANCELED", None)


def test_a_resource_that_never_yields_is_a_failure():
    assert failure(run({"job": "never_yields"}))["message"] == (
        "resource never has not yielded its value"
    )


def test_resources_have_config():
    config = {"resources": {"connection": {"config": {"name": "replica"}}}}
    assert "uses: replica cursor" in shown(run({"job": "teardown_fails", "config": config}))


def test_a_resource_that_yields_twice_is_told(tmp_path):
    target = tmp_path / "defs.py"
    target.write_text(
        textwrap.dedent("""\
        from runner_shim import job, op, resource

        @resource
        def db():
            yield 1
            yield 2

        @op(required_resource_keys={"db"})
        def use():
            pass

        @job(resource_defs={"db": db})
        def nightly():
            use()
        """)
    )
    (found,) = execute(target, [{"job": "nightly"}])
    assert "resource db has yielded twice" in failure(found)["message"]
