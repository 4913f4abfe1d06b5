"""What a run leaves for a retry from its failure: which steps have succeeded, and their values.

Owns the file ``steps`` in a run's directory, and which steps a retry has left to do. The order of such
a retry has ``from_failure``: ``{"run": id, "directory": that run's}``, and ``succeeded``, the steps of
which its events say so: the file knows more, also of a run with too many events. Values lie beside, in ``values/``
(``values.StepValues``): each run keeps those that its failed and skipped steps take.
"""

import os

from runner_shim import records
from runner_shim.execution.refusal import Refusal
from runner_shim.execution.steps import sources_of
from runner_shim.execution.values import StepValues

__all__ = ["Earlier", "Record", "values_of"]

_FILE = "steps"


def values_of(directory, remedy=None, most=None):
    """The StepValues of the run whose directory that is."""
    return StepValues(os.path.join(directory, "values"), remedy, most)


class Record:
    """Notes in ``directory`` which steps have succeeded; None notes nothing."""

    def __init__(self, directory):
        self._file = None
        if directory:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            try:
                self._file = os.open(os.path.join(directory, _FILE), flags, 0o600)
            except OSError:
                pass  # only a retry from here is lost

    def succeeded(self, key, outputs):
        """The step ``key`` has succeeded and has given ``outputs`` (names)."""
        if self._file is not None:
            record = records.framed(records.pack({"step": key, "outputs": list(outputs)}))
            try:
                os.write(self._file, record)
            except OSError:
                pass

    def close(self):
        """Give the file back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Earlier:
    """What the run that ``given`` (an order's ``from_failure``, or None) names has left.

    ``outputs`` are those of its succeeded steps, by key; ``values`` holds what it kept of them. Raises
    Refusal ``not_kept`` for a run that has left nothing.
    """

    def __init__(self, given):
        self.outputs = {}
        self.values = None
        self._run = None
        if given:
            self._run = given["run"]
            self.values = values_of(given["directory"])
            self.outputs.update(
                (key, None) for key in given.get("succeeded") or ()
            )  # not known yet
            self._read(os.path.join(given["directory"], _FILE))

    def _read(self, path):
        try:
            with open(path, "rb") as file:
                payloads, _end, _damaged = records.split(file.read())
        except OSError:
            payloads = []  # it had not come to its first step
        for payload in payloads:
            one = records.unpack(payload)
            self.outputs[one["step"]] = one["outputs"]

    def left_of(self, steps):
        """The steps that have not succeeded. Raises Refusal when there are none, or values are missing."""
        if self._run is None:
            return steps
        for step in steps:
            if self.outputs.get(step.key, ()) is None:
                self.outputs[step.key] = list(step.outputs)
        self.outputs = {key: one for key, one in self.outputs.items() if one is not None}
        left = [step for step in steps if step.key not in self.outputs]
        if not left:
            raise Refusal(
                "nothing_to_retry",
                "all steps of run %s have succeeded: none is left to retry" % self._run,
            )
        assets = {step.key: step.asset for step in steps}
        for step in left:
            for name, source in list(step.sources.items()):
                if step.asset is not None and source.node in self.outputs:
                    step.kept[name] = assets[source.node]
                    del step.sources[name]
            for source in self._taken_by(step):
                if not self.values.has(source.node, source.output):
                    raise Refusal(
                        "not_kept",
                        "%s takes the output %s of %s, which run %s has not kept"
                        % (step.key, source.output, source.node, self._run),
                        hint="retry the whole run; one whose steps run in processes of their own "
                        "(max_concurrent) keeps all values",
                    )
        return left

    def _taken_by(self, step):
        for given in step.sources.values():
            for source in sources_of(given):
                if source.output in self.outputs.get(source.node, ()):
                    yield source

    def hand_over(self, steps, values, record):
        """Have the values that ``steps`` take in ``values``, and note what has succeeded."""
        for key, outputs in sorted(self.outputs.items()):
            record.succeeded(key, outputs)
        if values is None:
            return
        for step in steps:
            for source in self._taken_by(step):
                if not values.has(source.node, source.output):
                    values.take_over(self.values, source.node, source.output)
