"""The life of a native run: its steps from the first to the last, in this process or in their own.

Owns the loop that calls one step after the other in this thread, the events of the run as a whole, and
what is kept of a run that failed. A step that fails skips those that need it; the others run. Values stay
in memory until the last step that takes them has run. Steps in processes of their own are ``forked``'s.
"""

import _thread
from time import monotonic

from runner_shim.execution import attempt, earlier, interrupts, steps
from runner_shim.execution.events import Events
from runner_shim.execution.progress import Progress
from runner_shim.loading.load_failure import LoadFailure
from runner_shim.threads import python_threads

__all__ = ["run"]

# Bytes of the values that a failed run keeps for a retry from its failure.
_MOST_KEPT = 1 << 30
_LONGEST_WAIT = 3600.0  # at a time; no lock can be waited for longer than some years (seconds)


def run(checked, emit):
    """Run ``checked`` (native.Checked) to its end; ``{"state", "failure"}``.

    A KeyboardInterrupt is raised when all has been torn down, with the failure of its step, if there
    is one, as ``failure_of_step``.
    """
    events = Events(emit)
    events("RUN_START", None, "%s begins" % checked.job_name)
    this = _Run(checked, events, emit)
    try:
        this.go()
    finally:
        this.leave()
    return this.outcome()


class Memory:
    """The values of steps that are still to be taken; those of an earlier run are read when they are."""

    def __init__(self, earlier_values):
        self._values = {}
        self._earlier = earlier_values

    def get(self, step, output):
        """A value."""
        if (step, output) in self._values or self._earlier is None:
            return self._values[(step, output)]
        return self._earlier.get(step, output)

    def put(self, step, output, value):
        """Have it, for the steps that take it."""
        self._values[(step, output)] = value

    def forget(self, step, output):
        """Let it go."""
        self._values.pop((step, output), None)

    def keep(self, values, events):
        """Have all that is left in ``values`` (a StepValues), for a retry; what cannot be is told."""
        for (step, output), value in sorted(self._values.items(), key=lambda one: one[0]):
            try:
                values.put(step, output, value)
            except LoadFailure as failure:
                events("ENGINE_EVENT", step, "a retry needs the whole run: %s" % failure.message)


class _Run:
    """One run that is under way."""

    def __init__(self, checked, events, emit):
        self.checked = checked
        self.events = events
        self.emit = emit
        self.progress = Progress(checked.steps, checked.earlier.outputs)
        self.users = _users(checked.steps)
        self.directory = checked.order.get("directory")
        self.record = earlier.Record(self.directory)
        self.first = None  # (index, failure) of the failed step that comes first in the plan
        self._order = {step.key: index for index, step in enumerate(checked.steps)}
        self._torn = None  # the failure of a teardown
        self.store = self._memory = Memory(checked.earlier.values)  # of the values of steps
        self._attempts = None

    def go(self):
        """Have all steps run."""
        kept = earlier.values_of(self.directory) if self.directory else None
        self.checked.earlier.hand_over(self.checked.steps, kept, self.record)
        if self.checked.max_concurrent > 1:
            others = python_threads()
            if not others:
                from runner_shim.execution import forked

                forked.go(self)
                return
            # What they hold at the fork nothing in the child would ever give back.
            self.events(
                "ENGINE_EVENT",
                None,
                "steps run one after the other: a process with threads (%s) cannot be forked safely"
                % ", ".join(others[:5]),
            )
        self._one_by_one()

    def _one_by_one(self):
        self._attempts = attempt.Attempts(
            self.checked, self.events, self.store, self.progress.has, self.users
        )
        while not self.progress.is_over:
            found = self.progress.next(monotonic())
            if found is None:
                _sleep(self.progress.wait(monotonic()))
                continue
            step, number, skipped = found
            if skipped is not None:
                self.skip(step, skipped)
            else:
                self.ended(step, number, self._attempts.call(step, number))

    def place(self, step):
        """The number of a step in the plan."""
        return self._order[step.key]

    def skip(self, step, skipped):
        """Tell of a step that is not run."""
        message = "%s is skipped: %s" % (step.key, skipped.message)
        self.events("STEP_SKIPPED", step.key, message, {"because_of": skipped.because_of})
        if not skipped.failed:
            self._let_go(step)

    def ended(self, step, number, how):
        """Note how a call of a step ended; raises KeyboardInterrupt for one that was interrupted."""
        if how.state == "success":
            self.record.succeeded(step.key, how.outputs)
            self.progress.succeeded(step, how.outputs)
            self._let_go(step)
        elif how.state == "retry":
            self.progress.again(step, number + 1, monotonic() + how.wait)
        else:
            self.progress.has_failed(step)
            index = self.place(step)
            if self.first is None or index < self.first[0]:
                self.first = (index, how.failure)
            if how.state == "interrupted":
                interrupt = KeyboardInterrupt()
                interrupt.failure_of_step = how.failure
                raise interrupt

    def _let_go(self, step):
        for source in _taken(step):
            self.users[source] -= 1
            if not self.users[source]:
                self.store.forget(*source)

    def leave(self):
        """End what was made, however the run has ended."""
        try:
            if self._attempts is not None:
                self._torn = self._attempts.resources.tear_down(self.events)
        finally:
            if self.directory and not (self.progress.is_over and not self.progress.failed):
                self._memory.keep(earlier.values_of(self.directory, most=_MOST_KEPT), self.events)
            elif self.directory:
                earlier.values_of(self.directory).clear()
            self.record.close()

    def torn(self, failure):
        """Note that a teardown has failed."""
        self._torn = self._torn or failure

    def outcome(self):
        """Tell how it ended, and return it."""
        interrupts.too_late()
        name = self.checked.job_name
        failed = self.progress.failed
        if not failed and self._torn is None:
            self.events("RUN_SUCCESS", None, "%s has succeeded" % name)
            return {"state": "success", "failure": None}
        keys = sorted(failed, key=self._order.get)
        names = [key for key in keys if not failed[key]]
        said = ", ".join(names[:10]) or self._torn["message"]
        data = {"failed": names, "skipped": [key for key in keys if failed[key]]}
        self.events("RUN_FAILURE", None, "%s has failed: %s" % (name, said), data)
        return {"state": "failure", "failure": self.first[1] if self.first else self._torn}


def _taken(step):
    """The (step, output) that a step takes, each once."""
    return {
        (one.node, one.output)
        for source in step.sources.values()
        for one in steps.sources_of(source)
    }


def _users(todo):
    """How many steps take each (step, output)."""
    users = {}
    for step in todo:
        for source in _taken(step):
            users[source] = users.get(source, 0) + 1
    return users


def _sleep(seconds):
    """Wait; an interrupt ends it. With a lock: teams replace ``time.sleep``."""
    lock = _thread.allocate_lock()
    lock.acquire()
    lock.acquire(True, min(seconds, _LONGEST_WAIT))
