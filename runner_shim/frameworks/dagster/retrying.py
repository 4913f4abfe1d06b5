"""Running the rest of a run that failed: which steps are left, and what the others have left behind.

Owns that, in Dagster's own terms: the steps' keys, and the state by which Dagster loads the outputs of the
steps before from their io managers. No version is compared. What a release cannot do is refused.
"""

from runner_shim.execution import refusal
from runner_shim.execution.refusal import Refusal
from runner_shim.frameworks.dagster.instances import first

__all__ = ["rest"]

_RETRIED = ("FAILURE", "CANCELED")
_ALL_OF_IT = "`supervise runs retry` without --from-failure runs all of it"


def rest(instance, plan, earlier):
    """``(step keys, known state or None)`` of what ``earlier`` has not done of ``plan``; raises Refusal.

    ``earlier`` is the order's ``from_failure``.
    """
    parent = instance.get_run_by_id(earlier["run"])
    if parent is None:
        raise refusal.not_supported(
            "run %s is not recorded in this instance" % earlier["run"], hint=_ALL_OF_IT
        )
    try:
        state = first("execution.plan.state.KnownExecutionState")
    except Refusal:
        raise refusal.not_supported(
            "this dagster keeps the outputs of steps in the memory of their run", hint=_ALL_OF_IT
        )
    resume = getattr(state, "build_resume_retry_reexecution", None)
    if resume is not None and getattr(parent.status, "value", parent.status) in _RETRIED:
        return resume(instance, parent)
    done = set(earlier["succeeded"])
    keys = [key for key in plan.step_keys_to_execute if key not in done]
    known = state.build_for_reexecution(instance, parent)
    return keys, known.update_for_step_selection(keys)
