"""Native jobs and assets run: order, values, config, failures, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from places import PROGRAMS
from running import execute, failure, shown, told, validate

TARGET = PROGRAMS / "native_runs.py"


def run(order: dict[str, Any]) -> dict[str, Any]:
    (found,) = execute(TARGET, [order])
    return found


def refused(order: dict[str, Any]) -> dict[str, Any]:
    ran, checked = execute(TARGET, [order]), validate(TARGET, [order])
    assert ran[0]["events"] == []
    assert ran[0]["refused"] == checked[0]
    assert checked[0] is not None
    return checked[0]


# --- order and values -----------------------------------------------------------------------------


def test_steps_run_in_order_with_the_values_of_those_before():
    found = run({"job": "nightly", "config": {"ops": {"load": {"config": {"n": 4}}}}})
    assert found["outcome"] == {"state": "success", "failure": None}
    assert told(found, "RUN_", "STEP_") == [
        ("RUN_START", None),
        ("STEP_START", "load"),
        ("STEP_OUTPUT", "load"),
        ("STEP_SUCCESS", "load"),
        ("STEP_START", "inner.scale"),
        ("STEP_OUTPUT", "inner.scale"),
        ("STEP_SUCCESS", "inner.scale"),
        ("STEP_START", "publish"),
        ("STEP_OUTPUT", "publish"),
        ("STEP_SUCCESS", "publish"),
        ("RUN_SUCCESS", None),
    ]
    # 4 rows, times the constant that the graph's body gives.
    assert shown(found)[-1] == "publish: 20"


def test_events_are_whole_and_hide_secrets():
    found = run({"job": "nightly"})
    for event in found["events"]:
        assert set(event) == {"type", "step", "time", "message", "data"}
    times = [event["time"] for event in found["events"]]
    assert times == sorted(times)
    (output,) = [e for e in found["events"] if (e["type"], e["step"]) == ("STEP_OUTPUT", "load")]
    metadata = {"rows": 2, "password": "(hidden)"}
    assert output["data"] == {"output": "result", "metadata": metadata}


def test_graphs_in_graphs_and_their_several_outputs():
    found = run({"job": "nested"})
    steps = [step for kind, step in told(found, "STEP_START")]
    assert steps == [
        "load",
        "outer.inner.scale",
        "outer.deep.scale",
        "outer.again",
        "add",
        "publish",
    ]
    assert shown(found)[-1] == f"publish: {2 * 5 + 2 * 5 * 2}"


def test_several_outputs_lists_and_dicts():
    found = run({"job": "fan_in"})
    assert shown(found)[-1] == f"publish: {1 + 3 + 10}"
    assert ("STEP_SUCCESS", "look_up") in told(found)


def test_a_graph_without_outputs_is_waited_for_as_a_whole():
    found = run({"job": "ordered"})
    steps = [step for kind, step in told(found, "STEP_START")]
    assert steps == ["silent.announce", "announce", "other.announce", "last"]


def test_the_context_tells_of_the_run():
    order = {
        "run_id": "r1",
        "job": "regional",
        "partition_key": "eu",
        "tags": {"by": "ann"},
        "config": {"config": {"day": "monday"}},
    }
    assert shown(run(order)) == [
        "tell: run_id='r1'",
        "tell: job_name='regional'",
        "tell: op_name='tell'",
        "tell: step_key='tell'",
        "tell: tags=[('by', 'ann'), ('size', 'big'), ('team', 'risk')]",
        "tell: partition_key='eu'",
        "tell: op_tags=[]",
        "tell: job_config={'day': 'monday'}",
    ]


def test_resources_are_values_or_made_once():
    config = {"resources": {"greeting": {"config": {"word": "good day"}}}}
    found = run({"job": "with_resources", "config": config})
    assert shown(found) == ["query: made once", "publish: good day from postgresql://risk"]


# --- failures -------------------------------------------------------------------------------------


def test_what_needs_a_failed_step_is_skipped_and_the_rest_runs():
    found = run({"job": "broken"})
    ended = {step: kind for kind, step in told(found, "STEP_S", "STEP_F") if kind != "STEP_START"}
    assert ended == {
        "load": "STEP_SUCCESS",
        "explode": "STEP_FAILURE",
        "publish": "STEP_SKIPPED",
        "too": "STEP_FAILURE",
        "lost": "STEP_SKIPPED",
        "scale": "STEP_SKIPPED",
        "deeper": "STEP_SKIPPED",
        "free": "STEP_SUCCESS",
        "other": "STEP_SUCCESS",
    }
    last = found["events"][-1]
    assert last["type"] == "RUN_FAILURE"
    assert last["data"]["failed"] == ["explode", "too"]


def test_a_failure_names_the_step_and_has_the_users_own_frames():
    found = failure(run({"job": "broken"}))
    assert found["step"] == "explode"
    assert found["exception"] == {"type": "RuntimeError", "message": "rows cannot be read"}
    (frame,) = found["frames"]
    lines = TARGET.read_text().splitlines()
    assert (frame["file"], frame["function"], frame["user"]) == ("native_runs.py", "explode", True)
    assert lines[frame["line"] - 1].strip() == frame["code"]
    (cause,) = found["causes"]
    assert cause["message"] == "no such table: 2"
    assert [one["function"] for one in cause["frames"]] == ["explode", "helper"]
    assert "execution" not in found["traceback"]


def test_exits_of_user_code_are_failures_of_their_step():
    found = failure(run({"job": "exits"}))
    assert (found["kind"], found["step"]) == ("system_exit", "leave")
    assert found["message"] == "sys.exit(3) was called"


def test_an_interrupt_ends_the_run_with_the_finally_of_its_op():
    found = run({"job": "interrupted"})
    assert failure(found)["kind"] == "interrupted"
    assert failure(found)["step"] == "interrupt"
    assert told(found, "RUN_", "STEP_")[-2:] == [
        ("STEP_FAILURE", "interrupt"),
        ("RUN_CANCELED", None),
    ]


def test_a_signal_while_an_op_runs_ends_the_run():
    found = run({"job": "sleeper"})
    assert failure(found)["kind"] == "interrupted"
    assert shown(found) == ["sleep: asleep", "sleep: cleaned up"]
    assert told(found, "RUN_", "STEP_")[-2:] == [("STEP_FAILURE", "sleep"), ("RUN_CANCELED", None)]


def test_outputs_that_are_missing_are_a_failure():
    found = failure(run({"job": "splits_badly"}))
    assert found["message"].endswith(
        "split_badly has the outputs low, high and returned int: return a tuple of 2 values"
    )


# --- selection ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "steps"),
    [
        (["load"], ["load"]),
        (["load", "inner"], ["load", "inner.scale"]),
        (["inner.scale", "publish", "load"], ["load", "inner.scale", "publish"]),
    ],
)
def test_a_selection_runs_what_it_names(selection, steps):
    found = run({"job": "nightly", "op_selection": selection})
    assert [step for kind, step in told(found, "STEP_START")] == steps


def test_an_input_that_is_cut_off_is_taken_from_the_config():
    order = {"job": "nightly", "op_selection": ["publish"]}
    found = refused(order)
    assert found["kind"] == "run_config"
    assert found["problems"][0]["path"] == "ops.publish.inputs.rows"
    assert "inner.scale, which gives it, is not selected" in found["message"]
    found = run({**order, "config": {"ops": {"publish": {"inputs": {"rows": 7}}}}})
    assert shown(found) == ["publish: 7"]


def test_an_input_that_is_not_connected_is_taken_from_the_config():
    assert refused({"job": "without_input"})["problems"] == [
        {
            "path": "ops.needs_input.inputs.rows",
            "expected": "a value",
            "message": "ops.needs_input.inputs.rows is missing: nothing is connected to it",
        }
    ]
    config = {"ops": {"needs_input": {"inputs": {"rows": [1]}}}}
    assert run({"job": "without_input", "config": config})["outcome"]["state"] == "success"


# --- assets ---------------------------------------------------------------------------------------


def test_assets_run_in_the_order_of_their_dependencies():
    order = {
        "assets": ["mail", "core/report", "raw"],
        "config": {"ops": {"core/report": {"config": {"factor": 4}}}},
    }
    found = run(order)
    assert told(found, "ASSET_", "STEP_START") == [
        ("STEP_START", "raw"),
        ("ASSET_MATERIALIZATION", "raw"),
        ("STEP_START", "core/report"),
        ("ASSET_MATERIALIZATION", "core/report"),
        ("STEP_START", "mail"),
        ("ASSET_MATERIALIZATION", "mail"),
    ]
    made = [e["data"] for e in found["events"] if e["type"] == "ASSET_MATERIALIZATION"]
    assert made[0] == {"asset_key": ["raw"], "metadata": {"rows": 3}}
    assert made[1] == {"asset_key": ["core", "report"]}
    assert shown(found) == ["core/report: core/report of postgresql://risk"]


def test_assets_of_a_partition():
    found = run({"assets": ["color", "shade"], "partition_key": "red"})
    made = [e["data"] for e in found["events"] if e["type"] == "ASSET_MATERIALIZATION"]
    assert [one["partition"] for one in made] == ["red", "red"]


# --- what is refused ------------------------------------------------------------------------------

FACTOR = {"ops": {"core/report": {"config": {"factor": 1}}}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "kind", "words"),
    [
        ({"job": "nightli"}, "unknown_job", "did you mean nightly?"),
        ({"job": "nightly", "op_selection": ["lod"]}, "unknown_op", "did you mean load?"),
        ({"assets": ["rw"]}, "unknown_asset", "did you mean raw?"),
        ({"assets": []}, "unknown_asset", "there are"),
        (
            {"job": "regional", "config": {"config": {"day": "x"}}},
            "partition",
            "has 2 partitions, and none",
        ),
        ({"job": "regional", "partition_key": "eux"}, "unknown_partition", "did you mean eu?"),
        ({"job": "nightly", "partition_key": "eu"}, "partition", "has no partitions"),
        (
            {"job": "daily", "partition_key": "2024-02-30"},
            "unknown_partition",
            "did you mean 2024-",
        ),
        ({"assets": ["color", "raw"]}, "partition", "such as --partition blue"),
        ({"assets": ["core/report"], "config": FACTOR}, "not_kept", "with it: +core/report"),
        ({"assets": ["kept"]}, "missing_resource", "kept needs the resource lake"),
        ({"assets": ["events"]}, "not_supported", "external"),
        ({"assets": ["about", "round"]}, "invalid_definition", "depend on each other"),
        ({"job": "needs_nothing"}, "missing_resource", "needs the resource nowhere"),
        ({"job": "dynamic"}, "not_supported", "dynamic output result"),
        ({"job": "waits"}, "not_supported", "async"),
    ],
)
def test_an_order_that_cannot_be_run_is_refused_with_a_sentence(order, kind, words):
    found = refused(order)
    assert found["kind"] == kind
    assert words in f"{found['message']} {found.get('hint')}"


def test_a_config_that_does_not_fit_is_refused_with_path_and_expectation():
    config = {
        "ops": {
            "load": {"config": {"n": "four", "names": ["a", 1], "deep": {"flag": 1, "odd": 2}}},
            "publsh": {},
            "publish": {"config": {"x": 1}, "inputs": {"rows": 1}},
        },
        "execution": {"max_concurrent": 0, "threads": 4},
        "runs": {},
    }
    found = refused({"job": "nightly", "config": config})
    assert found["kind"] == "run_config"
    assert {one["path"]: one["expected"] for one in found["problems"]} == {
        "execution.threads": "one of max_concurrent",
        "execution.max_concurrent": "an integer of at least 1",
        "runs": "one of config, execution, ops, resources",
        "ops.publsh": "one of inner, load, publish",
        "ops.load.config.n": "an integer",
        "ops.load.config.names.1": "a string",
        "ops.load.config.deep.flag": "true or false",
        "ops.load.config.deep.odd": "one of flag, ratio",
        "ops.publish.config": "nothing",
        "ops.publish.inputs.rows": "nothing",
    }
    assert "four" not in str(found)  # it may be a secret


def test_partitions_whose_keys_are_not_known_are_taken():
    found = execute(
        TARGET,
        [
            {"job": "daily", "partition_key": "2024-02-03"},
            {"job": "tenants", "partition_key": "anything"},
        ],
    )
    assert [one["outcome"]["state"] for one in found] == ["success", "success"]
