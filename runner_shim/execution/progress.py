"""Which step of a run is next: what may begin, what is skipped, what waits for its retry.

Owns that decision, and what is known of the steps that have ended. Pure: it runs nothing and reads no
clock. The order is that of the plan, so that the same results lead to the same order.
"""

from runner_shim.execution.steps import sources_of
from runner_shim.imported import standard

__all__ = ["Progress", "Skipped"]


class Skipped:
    """Why a step is not run: ``because_of`` are the steps at fault, ``failed`` is True where they failed.

    Else they have left out an output.
    """

    def __init__(self, because_of, failed, message):
        self.because_of = because_of
        self.failed = failed
        self.message = message


class Progress:
    """Of ``steps``, in topological order; ``ended`` are the outputs of steps of an earlier run, by key."""

    def __init__(self, steps, ended=None):
        self._steps = steps
        self._heap = standard("heapq")
        self.outputs = dict(ended or {})  # key -> names of the outputs that it gave
        self.failed = {}  # key -> True where it was skipped because of others
        self._left_out = set()  # keys of the steps that are skipped and have not failed
        self._missing, self._users = {}, {}  # how many it waits for; who waits for it
        self._ready = []  # indices, the least first
        self._later = []  # (due, index, number of the retry)
        self._unended = len(steps)
        keys = {step.key for step in steps}
        for index, step in enumerate(steps):
            waits = step.waits & keys
            self._missing[index] = len(waits)
            for key in waits:
                self._users.setdefault(key, []).append(index)
            if not waits:
                self._heap.heappush(self._ready, index)

    @property
    def is_over(self):
        """True when every step has ended."""
        return not self._unended

    def next(self, now):
        """``(step, number of the retry, Skipped or None)`` of what is to begin, or None.

        ``number`` is 0 the first time. A step that is skipped has ended.
        """
        if self._later and self._later[0][0] <= now:
            _due, index, number = self._heap.heappop(self._later)
            return self._steps[index], number, None
        if not self._ready:
            return None
        index = self._heap.heappop(self._ready)
        step = self._steps[index]
        skipped = self._skipped(step)
        if skipped is not None:
            if skipped.failed:
                self.failed[step.key] = True
            else:
                self._left_out.add(step.key)
            self._ended(step)
        return step, 0, skipped

    def wait(self, now):
        """Seconds until the next retry is due, or None when none waits."""
        return max(0.0, self._later[0][0] - now) if self._later else None

    def succeeded(self, step, outputs):
        """A step has succeeded and has given ``outputs`` (names)."""
        self.outputs[step.key] = outputs
        self._ended(step)

    def has_failed(self, step):
        """A step has failed and is not called again."""
        self.failed[step.key] = False
        self._ended(step)

    def again(self, step, number, due):
        """A step is to be tried for the ``number``-th time more, at ``due``."""
        self._heap.heappush(self._later, (due, self._steps.index(step), number))

    def _ended(self, step):
        self._unended -= 1
        for index in self._users.get(step.key, ()):
            self._missing[index] -= 1
            if not self._missing[index]:
                self._heap.heappush(self._ready, index)

    def _skipped(self, step):
        lost = sorted(key for key in step.waits if key in self.failed)
        if lost:
            what = "was skipped" if all(self.failed[key] for key in lost) else "failed"
            return Skipped(lost, True, "%s %s" % (", ".join(lost[:10]), what))
        by_data = set()
        for name in step.sources:
            sources = sources_of(step.sources[name])
            by_data.update(one.node for one in sources)
            absent = [one for one in sources if not self.has(one)]
            if sources and len(absent) == len(sources):
                keys = sorted({one.node for one in absent})
                said = "%s did not give the output %s" % (absent[0].node, absent[0].output)
                if absent[0].node in self._left_out:
                    said = "%s was skipped" % ", ".join(keys[:10])
                return Skipped(keys, False, said)
        left_out = sorted(key for key in step.waits - by_data if key in self._left_out)
        if left_out:
            return Skipped(left_out, False, "%s was skipped" % ", ".join(left_out[:10]))
        return None

    def has(self, source):
        """True when the output that a NodeOutput names was given."""
        return source.output in self.outputs.get(source.node, ())
