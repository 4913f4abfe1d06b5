"""Several steps of a run at a time, in processes that are forked from this one.

Owns these processes: their pipes, their values on the disk, their ends. One that is fit for it calls several
short steps, one after the other (``step_process``). What a step prints goes by this
process, in whole lines; its events and how it ended come by a pipe of their own. A step whose process
dies has failed, and the others go on. An interrupt (SIGINT) is sent to the whole process group, by a
monitor as by a terminal: so the steps have it, too, and this process waits for them. Unix only.
"""

import os
import signal
import sys
from time import monotonic

from runner_shim.execution import earlier, run_failure, step_process
from runner_shim.execution.attempt import Ended, retry_after
from runner_shim.imported import standard
from runner_shim.loading.load_failure import LoadFailure

__all__ = ["go"]

_BLOCK = 1 << 16
_LONGEST_LINE = 1 << 16  # bytes; a longer one is not kept whole
_LONGEST_WAIT = 3600.0
_LOOK = 0.05  # where signals are another thread's (seconds)
_REMEDY = (
    "steps that run at the same time hand values over in files: return what can be pickled, or run "
    "them one after the other (execution: {max_concurrent: 1})"
)


def go(run):
    """Have all steps of ``run`` (running._Run) run. Raises KeyboardInterrupt when all have ended."""
    pool = _Pool(run)
    try:
        pool.run()
    finally:
        pool.close()


class _Pool:
    """The steps that run at this moment."""

    def __init__(self, run):
        self._run = run
        self._own = None  # a directory for the values of a run that has none
        if run.directory is None:
            self._own = standard("tempfile").mkdtemp()
        self._values = earlier.values_of(run.directory or self._own, _REMEDY)
        if self._own is not None:
            run.checked.earlier.hand_over(run.checked.steps, self._values, run.record)
        run.store = self._values
        standard("pickle")  # once, rather than in each process
        self._poll = standard("select").poll()
        self._readable = standard("select").POLLIN
        self._children = []
        self._by_pipe = {}  # descriptor -> (child, its reader)
        self._interrupted = False
        self._interrupts = []  # (place in the plan, failure) of the steps that were interrupted
        self._woken, self._wakes = os.pipe()
        for one in (self._woken, self._wakes):
            os.set_blocking(one, False)
        self._poll.register(self._woken, self._readable)
        self._before = {}
        try:
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._on_interrupt)
            self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, self._wake)
        except ValueError:  # not the main thread, which has the signals
            pass

    def _on_interrupt(self, number, frame):
        self._interrupted = True
        self._wake(number, frame)

    def _wake(self, _number, _frame):
        try:
            os.write(self._wakes, b"x")
        except OSError:  # it is full, which wakes as well
            pass

    def close(self):
        """Give everything back."""
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        os.close(self._woken)
        os.close(self._wakes)
        if self._own is not None:
            standard("shutil").rmtree(self._own, ignore_errors=True)

    def run(self):
        """Until all steps have ended; or, after an interrupt, those that had begun."""
        progress = self._run.progress
        while True:
            while not self._interrupted and self._busy() < self._run.checked.max_concurrent:
                found = progress.next(monotonic())
                if found is None:
                    break
                step, number, skipped = found
                if skipped is not None:
                    self._run.skip(step, skipped)
                else:
                    self._start(step, number)
            if not self._busy() and (self._interrupted or progress.is_over):
                break
            self._wait(None if self._interrupted else progress.wait(monotonic()))
        for child in self._children:
            child.dismiss()
        while self._children:
            self._wait(None)
        if self._interrupted:
            interrupt = KeyboardInterrupt()
            if self._interrupts:
                interrupt.failure_of_step = min(self._interrupts, key=lambda one: one[0])[1]
            raise interrupt

    def _busy(self):
        return sum(child.step is not None for child in self._children)

    def _wait(self, seconds):
        longest = _LONGEST_WAIT if self._before else _LOOK
        seconds = longest if seconds is None else min(seconds, longest)
        some_ended = not self._before
        for descriptor, _event in self._poll.poll(int(seconds * 1000) + 1):
            if descriptor == self._woken:
                os.read(descriptor, 4096)
                some_ended = True
                continue
            child, read = self._by_pipe[descriptor]
            if read() is False:
                self._forget(descriptor)
            if child.is_idle:
                self._done(child)
        for child in list(self._children) if some_ended else ():
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._ended(child, status)

    # --- a step's process

    def _start(self, step, number):
        given = {key: self._run.progress.outputs.get(key, []) for key in step.waits}
        for child in self._children:
            if child.step is None and child.give(step, number, self._run.place(step), given):
                return
        pipes = []
        try:
            for _ in range(4):
                pipes.append(os.pipe())
            for stream in (sys.stdout, sys.stderr):
                step_process.flush(stream)  # else the child would have it, too
            pid = step_process.fork()
        except OSError as error:
            for pair in pipes:
                os.close(pair[0])
                os.close(pair[1])
            said = "its process cannot be made: %s" % (error.strerror or str(error)).lower()
            self._died(step, number, LoadFailure("process_ended", "%s: %s" % (step.key, said)))
            return
        told, out, err, orders = pipes
        if pid == 0:
            step_process.be(
                lambda: self._become(pipes),
                self._run,
                self._values,
                step,
                number,
                told[1],
                orders[0],
            )
        for descriptor in (told[1], out[1], err[1], orders[0]):
            os.close(descriptor)
        for descriptor in (told[0], out[0], err[0]):
            os.set_blocking(descriptor, False)
        child = _Child(pid, step, number, self._run.emit, told[0], out[0], err[0], orders[1])
        self._children.append(child)
        for descriptor, read in child.readers.items():
            self._by_pipe[descriptor] = (child, read)
            self._poll.register(descriptor, self._readable)

    def _become(self, pipes):
        """In the step's process: have nothing of the other steps, and streams of its own."""
        for one, handler in self._before.items():
            signal.signal(one, signal.SIG_DFL if handler is None else handler)
        told, out, err, orders = pipes
        theirs = [child.orders for child in self._children if child.orders is not None]
        for descriptor in [self._woken, self._wakes] + list(self._by_pipe) + theirs:
            os.close(descriptor)
        for descriptor in (told[0], out[0], err[0], orders[1]):
            os.close(descriptor)
        for stream, number in ((out[1], 1), (err[1], 2)):
            os.dup2(stream, number)
            os.close(stream)
        if self._interrupted:  # it came just after the fork
            os.kill(os.getpid(), signal.SIGINT)

    # --- its end

    def _forget(self, descriptor):
        self._poll.unregister(descriptor)
        del self._by_pipe[descriptor]
        os.close(descriptor)

    def _done(self, child):
        """A step has ended whose process waits for another."""
        for read in child.readers.values():
            _drain(read)
        self._take_result(child)

    def _ended(self, child, status):
        """A process has ended."""
        self._children.remove(child)
        for descriptor, read in child.readers.items():
            if self._by_pipe.get(descriptor, (None,))[0] is child:  # else its number is another's
                _drain(read)
                self._forget(descriptor)
        child.dismiss()
        if child.step is None:
            return
        if child.result is not None:
            self._take_result(child)
        elif child.has_begun:
            child.finish()
            self._died(child.step, child.number, _death(child.step, status))
        elif not self._interrupted:  # it ended before it had read what it was given
            self._start(child.step, child.number)

    def _take_result(self, child):
        child.finish()
        state, outputs, failure, wait, torn, _again = child.result
        step, number = child.step, child.number
        child.step = child.result = None
        if torn is not None:
            self._run.torn(torn)
        self._note(step, number, Ended(state, outputs, failure, wait))

    def _died(self, step, number, failure):
        """A step has ended without a word."""
        failure = run_failure.with_step(failure.as_data(), step.key)
        wait = None if self._interrupted else retry_after(step, number)
        data = {"failure": failure}
        if wait is None:
            self._run.events("STEP_FAILURE", step.key, failure["message"], data)
            self._note(step, number, Ended("failure", failure=failure))
        else:
            data.update(seconds=wait, retry=number + 1)
            self._run.events("STEP_UP_FOR_RETRY", step.key, failure["message"], data)
            self._note(step, number, Ended("retry", failure=failure, wait=wait))

    def _note(self, step, number, how):
        try:
            self._run.ended(step, number, how)
        except KeyboardInterrupt:
            self._interrupted = True
            self._interrupts.append((self._run.place(step), how.failure))


class _Child:
    """A process of steps, as this one knows it: which it calls, what it prints and tells.

    ``step`` is None while it waits for one.
    """

    def __init__(self, pid, step, number, emit, events, out, err, orders):
        self.pid = pid
        self.step = step
        self.number = number
        self.result = None
        self.has_begun = True  # what it was forked for is its own
        self.orders = orders
        self._emit = emit
        self._told = b""
        self._lines = {1: _Lines(out, 1), 2: _Lines(err, 2)}
        self._events = events
        self.readers = {
            events: self._read_events,
            out: self._lines[1].read,
            err: self._lines[2].read,
        }

    @property
    def is_idle(self):
        """True when its step has ended, and it could be given another."""
        return self.result is not None and self.result[-1]

    def give(self, step, number, place, given):
        """Have it call another step; False when it has ended."""
        try:
            message = step_process.packed([place, number, given])
            while message:
                message = message[os.write(self.orders, message) :]
        except OSError:
            return False
        self.step, self.number, self.has_begun = step, number, False
        return True

    def dismiss(self):
        """Give it no more steps: it ends, if it waits for one."""
        if self.orders is not None:
            os.close(self.orders)
            self.orders = None

    def _read_events(self):
        """Pass on what it has told: True; False at the end, None when there is nothing now."""
        data = _read(self._events)
        if not data:
            return None if data is None else False
        for lines in self._lines.values():
            _drain(lines.read)  # what it has printed stands before the event that follows from it
        values, self._told = step_process.unpacked(self._told + data)
        for event, result in filter(None, values):
            if event is not None:
                self.has_begun = True
                self._emit(event)
            self.result = self.result or result
        return True

    def finish(self):
        """Print what it has not ended with a line's end."""
        for lines in self._lines.values():
            lines.finish()


class _Lines:
    """Passes on what comes from one pipe, to ``target``, in whole lines."""

    def __init__(self, source, target):
        self._source = source
        self._target = target
        self._rest = b""
        self._closed = False

    def read(self):
        """Pass on what is there: True; False at the end, None when there is nothing now."""
        data = b"" if self._closed else _read(self._source)
        if not data:
            self._closed = data is not None
            return False if self._closed else None
        data = self._rest + data
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if len(data) - end > _LONGEST_LINE:
            end = len(data)
        self._rest = data[end:]
        _write(self._target, data[:end])
        return True

    def finish(self):
        """End the last line."""
        if self._rest:
            _write(self._target, self._rest + b"\n")
            self._rest = b""


def _drain(read):
    """Have all read that is there, within reason: something may write for ever."""
    for _ in range(64):
        if read() is not True:
            break


def _read(descriptor):
    """What is there: bytes, b"" at the end, None when there is nothing now."""
    try:
        return os.read(descriptor, _BLOCK)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def _write(descriptor, data):
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        pass  # nothing reads it


def _death(step, status):
    """Why a step's process ended without telling, as a LoadFailure."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = "signal %d" % number
        hint = None
        if number == signal.SIGKILL:
            hint = "the kernel ends so what takes more memory than there is"
        return LoadFailure(
            "process_ended", "the process of %s was killed by %s" % (step.key, name), hint
        )
    return LoadFailure(
        "process_ended",
        "the process of %s exited with status %d" % (step.key, os.WEXITSTATUS(status)),
        "it left by os._exit(), or a library of its did",
    )
