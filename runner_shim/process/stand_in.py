"""Runs the ops of a native job one after the other, until ``runner_shim.execution`` does it well."""

import sys
import time

__all__ = ["execute"]


def execute(loaded, order, emit):
    """As ``runner_shim.execution.execute``; ops get no inputs."""
    from runner_shim.definitions.graph import JobDefinition, OpDefinition
    from runner_shim.loading.load_failure import from_exception

    found = {JobDefinition: {}, OpDefinition: {}}
    for module in list(sys.modules.values()):
        for value in list(getattr(module, "__dict__", {}).values()):
            if type(value) in found:
                found[type(value)][value.name] = value

    def say(kind, step=None, message="", data=None):
        emit({"type": kind, "step": step, "time": time.time(), "message": message, "data": data})

    say("RUN_START")
    for name, node in found[JobDefinition][order["job"]].nodes.items():
        if order["op_selection"] and name not in order["op_selection"]:
            continue
        op = found[OpDefinition][node.get("definition", name)]
        say("STEP_START", name)
        try:
            op.compute_fn(*[None for _ in op.input_names])
        except Exception as error:
            failure = from_exception(error, None).as_data()
            say("STEP_FAILURE", name, failure["message"], failure)
            say("RUN_FAILURE", None, failure["message"])
            return {"state": "failure", "failure": failure}
        say("STEP_SUCCESS", name)
    say("RUN_SUCCESS")
    return {"state": "success", "failure": None}
