"""Steps of native runs in processes of their own: order, output, deaths, cancels, values."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
from places import PROGRAMS
from running import execute, failure, printed, shown, told

TARGET = PROGRAMS / "native_features.py"


def run(order: dict[str, Any], target: Path = TARGET) -> dict[str, Any]:
    (found,) = execute(target, [order])
    return found


def test_steps_run_at_the_same_time_in_processes_of_their_own():
    found = run({"job": "parallel"})
    assert found["outcome"] == {"state": "success", "failure": None}
    metadata = [
        event["data"]["metadata"]
        for event in found["events"]
        if event["type"] == "STEP_OUTPUT" and "square_" in event["step"]
    ]
    assert metadata == [{"pid": True}] * 5  # not the process that imported the module
    # What only the team's module can unpickle comes through.
    assert shown(found)[-2:] == ["squares.add_up: [4, 4, 4, 4, 4]", "show_rows: 20"]


def test_no_more_steps_run_than_there_may():
    running, most = set(), 0
    for kind, step in told(run({"job": "parallel"}), "STEP_START", "STEP_SUCCESS"):
        (running.add if kind == "STEP_START" else running.discard)(step)
        most = max(most, len(running))
    assert most <= 3


def test_events_of_a_step_are_in_order():
    found = run({"job": "parallel"})
    for index in range(5):
        step = f"squares.square_{index}"
        assert [kind for kind, name in told(found) if name == step] == [
            "STEP_START",
            "LOGS",
            "STEP_OUTPUT",
            "STEP_SUCCESS",
        ]


def test_lines_are_not_torn():
    lines = printed(TARGET, {"job": "printers"})
    assert sorted(lines) == sorted(
        f"prints_{step} begins {index:02d} and ends" for step in range(4) for index in range(50)
    )


def test_a_step_that_dies_has_failed_and_the_others_go_on():
    found = run({"job": "deaths"})
    ended = {step: kind for kind, step in told(found, "STEP_S", "STEP_F")}
    assert ended == {
        "dies": "STEP_FAILURE",
        "lost": "STEP_SKIPPED",
        "leaves": "STEP_FAILURE",
        "exits": "STEP_FAILURE",
        "dies_once": "STEP_SUCCESS",
        "survivor": "STEP_SUCCESS",
    }
    messages = {
        event["step"]: event["message"]
        for event in found["events"]
        if event["type"] in ("STEP_FAILURE", "STEP_UP_FOR_RETRY")
    }
    assert messages == {
        "dies": "the process of dies was killed by SIGKILL",
        "leaves": "the process of leaves exited with status 7",
        "exits": "sys.exit(3) was called",
        "dies_once": "the process of dies_once was killed by SIGKILL",
    }
    assert "memory" in failure(found)["hint"]
    assert failure(found)["step"] == "dies"


def test_a_value_that_cannot_be_pickled_names_op_output_and_remedy():
    found = run({"job": "unpicklable"})
    said = failure(found)
    assert said["message"].startswith("output result of generator cannot be pickled: TypeError")
    assert "max_concurrent: 1" in said["hint"]
    # One that no other step takes need not be.
    assert ("STEP_SUCCESS", "not_taken") in told(found)


def test_a_cancel_reaches_every_step_and_its_resources():
    found = run({"job": "alone_asleep"})
    assert failure(found)["kind"] == "interrupted"
    assert failure(found)["step"] == "sleeps"
    assert shown(found) == [
        "sleeps: open db",
        "sleeps: asleep",
        "sleeps: cleaned up",
        "sleeps: close db",
    ]
    assert told(found)[-1] == ("RUN_CANCELED", None)


def test_nothing_begins_after_a_cancel():
    found = run({"job": "sleepers"})
    begun = [step for _, step in told(found, "STEP_START")]
    assert "sleeps" in begun
    assert "next" not in begun
    assert told(found)[-1] == ("RUN_CANCELED", None)


def test_a_process_with_threads_is_not_forked_and_says_so(tmp_path):
    target = tmp_path / "defs.py"
    target.write_text(
        textwrap.dedent("""\
        import os
        import threading

        from runner_shim import job, op

        threading.Thread(target=threading.Event().wait, name="metrics", daemon=True).start()
        pid = os.getpid()

        @op
        def load(context):
            context.log.info(str(os.getpid() == pid))

        @job(max_concurrent=4)
        def nightly():
            load()
        """)
    )
    found = run({"job": "nightly"}, target)
    assert shown(found) == ["load: True"]
    (event,) = [one for one in found["events"] if one["type"] == "ENGINE_EVENT"]
    assert event["message"] == (
        "steps run one after the other: a process with threads (metrics) cannot be forked safely"
    )


@pytest.mark.parametrize("left", ["thread", "child", "long"])
def test_a_process_that_is_not_as_it_was_is_not_used_again(left):
    assert shown(run({"job": f"{left}_steps"})) == ["compares: 3"]


def test_short_steps_share_processes():
    (line,) = shown(run({"job": "short_steps"}))
    assert int(line.split()[-1]) <= 3  # 1, but for a machine that is slow


def test_a_stray_byte_in_the_pipe_of_a_step_is_its_own_failure(tmp_path):
    target = tmp_path / "defs.py"
    target.write_text(
        textwrap.dedent("""\
        import os

        from runner_shim import job, op

        @op
        def write_everywhere():
            for descriptor in range(3, 60):
                try:
                    os.write(descriptor, b"\\x04\\x00\\x00\\x00junk")
                except OSError:
                    pass

        @op
        def other():
            pass

        @job(max_concurrent=2)
        def nightly():
            other(), write_everywhere()
        """)
    )
    found = run({"job": "nightly"}, target)
    assert ("STEP_SUCCESS", "other") in told(found)
    assert told(found)[-1][0] in ("RUN_SUCCESS", "RUN_FAILURE")


@pytest.mark.parametrize("number", [1, 2, 8])
def test_how_many_is_a_matter_of_config(number):
    config = {"execution": {"max_concurrent": number}}
    found = run({"job": "parallel", "config": config})
    assert shown(found)[-1] == "show_rows: 20"


def test_no_value_stays_behind(tmp_path):
    found = run({"job": "parallel", "directory": str(tmp_path)})
    assert found["outcome"]["state"] == "success"
    assert [path.name for path in tmp_path.iterdir()] == ["steps"]
