"""What the function of a step returned or yielded, as the values of its outputs.

Owns that translation, and the sentences about what does not fit. Several outputs are a tuple, a dict
by name, or ``Output`` objects; a generator yields ``Output`` objects alone.
"""

from runner_shim.definitions.results import Output
from runner_shim.definitions.signature import is_async_result, is_generator
from runner_shim.execution.steps import REMEDY
from runner_shim.loading.load_failure import LoadFailure, near

__all__ = ["OutputError", "given"]


class OutputError(LoadFailure):
    """A function gave something else than its outputs."""

    def __init__(self, step, message, hint=None):
        file, line = step.definition.source or (None, None)
        LoadFailure.__init__(self, "output", message, hint, file=file, line=line)


def given(step, found):
    """``{name: (value, metadata)}`` of what the function of ``step`` gave; runs it, if it yields.

    Outputs that are not required may be missing. Raises OutputError.
    """
    if is_async_result(found):
        if hasattr(found, "close"):
            found.close()  # else Python warns of it at its end
        raise OutputError(
            step,
            "%s returned a %s, which runs do not await" % (step.key, type(found).__name__),
            REMEDY,
        )
    # A decorator may have made something else of a function that yields.
    if is_generator(step.definition.compute_fn) and hasattr(type(found), "gi_code"):
        outputs = _yielded(step, found)
    else:
        outputs = _returned(step, found)
    missing = [
        name for name in step.outputs if name not in outputs and name not in step.optional_outputs
    ]
    if missing:
        raise OutputError(step, "%s has not given its output %s" % (step.key, ", ".join(missing)))
    return outputs


def _yielded(step, generator):
    outputs = {}
    try:
        for one in generator:
            if not isinstance(one, Output):
                raise OutputError(
                    step,
                    "%s yields %s: only Output(value, output_name) is yielded"
                    % (step.key, type(one).__name__),
                )
            _add(step, outputs, one, None)
    finally:
        generator.close()
    return outputs


def _returned(step, found):
    names = step.outputs
    outputs = {}
    if isinstance(found, Output):
        _add(step, outputs, found, None)
        return outputs
    if len(names) == 1:
        return {names[0]: (found, {})}
    if isinstance(found, dict) and set(found) <= set(names):
        for name, one in found.items():
            _add(step, outputs, one, name)
        return outputs
    if isinstance(found, (tuple, list)):
        if found and all(isinstance(one, Output) and one.output_name for one in found):
            for one in found:
                _add(step, outputs, one, None)
            return outputs
        if len(found) == len(names):
            for name, one in zip(names, found):  # noqa: B905 - strict= came with Python 3.10
                _add(step, outputs, one, name)
            return outputs
    if found is None and set(names) == set(step.optional_outputs):
        return outputs
    raise OutputError(
        step,
        "%s has the outputs %s and returned %s: return a tuple of %d values"
        % (
            step.key,
            ", ".join(names),
            "%d values" % len(found) if isinstance(found, (tuple, list)) else type(found).__name__,
            len(names),
        ),
    )


def _add(step, outputs, one, place):
    """Note an output; ``place`` is the name that its place means, or None."""
    metadata = {}
    name = place
    if isinstance(one, Output):
        name, metadata = one.output_name or place, one.metadata
        one = one.value
    if name is None and len(step.outputs) == 1:
        name = step.outputs[0]
    if name is None:
        raise OutputError(
            step,
            "%s has the outputs %s: give each Output its output_name"
            % (step.key, ", ".join(step.outputs)),
        )
    if name not in step.outputs:
        raise OutputError(
            step, "%s has no output %s: %s" % (step.key, name, near(name, step.outputs))
        )
    if name in outputs or place not in (None, name):
        raise OutputError(
            step, "%s gives its output %s twice, or in another's place" % (step.key, name)
        )
    outputs[name] = (one, metadata)
