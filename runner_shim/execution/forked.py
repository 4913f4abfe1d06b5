"""Several steps of a run at a time, each call of one in a process of its own, forked from this one.

Owns these processes: their pipes, their values on the disk, their ends. What a step prints goes by this
process, in whole lines; its events and how it ended come by a pipe of their own. A step whose process
dies has failed, and the others go on. An interrupt (SIGINT) is sent to the whole process group, by a
monitor as by a terminal: so the steps have it, too, and this process waits for them. Unix only.
"""

import marshal
import os
import signal
import struct
import sys
from time import monotonic

from runner_shim.execution import earlier, interrupts, run_failure
from runner_shim.execution.attempt import Attempts, Ended, retry_after
from runner_shim.execution.events import Events
from runner_shim.imported import standard
from runner_shim.loading.load_failure import LoadFailure

__all__ = ["go"]

_HEAD = struct.Struct("<I")
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
            while not self._interrupted and len(self._children) < self._run.checked.max_concurrent:
                found = progress.next(monotonic())
                if found is None:
                    break
                step, number, skipped = found
                if skipped is not None:
                    self._run.skip(step, skipped)
                else:
                    self._start(step, number)
            if not self._children and (self._interrupted or progress.is_over):
                break
            self._wait(None if self._interrupted else progress.wait(monotonic()))
        if self._interrupted:
            interrupt = KeyboardInterrupt()
            if self._interrupts:
                interrupt.failure_of_step = min(self._interrupts, key=lambda one: one[0])[1]
            raise interrupt

    def _wait(self, seconds):
        longest = _LONGEST_WAIT if self._before else _LOOK
        seconds = longest if seconds is None else min(seconds, longest)
        some_ended = not self._before
        for descriptor, _event in self._poll.poll(int(seconds * 1000) + 1):
            if descriptor == self._woken:
                os.read(descriptor, 4096)
                some_ended = True
            else:
                child, read = self._by_pipe[descriptor]
                if read() is False:
                    self._forget(descriptor)
        for child in list(self._children) if some_ended else ():
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._ended(child, status)

    # --- a step's process

    def _start(self, step, number):
        pipes = []
        try:
            for _ in range(3):
                pipes.append(os.pipe())
            for stream in (sys.stdout, sys.stderr):
                _flush(stream)  # else the child would have it, too
            pid = _fork()
        except OSError as error:
            for pair in pipes:
                os.close(pair[0])
                os.close(pair[1])
            said = "its process cannot be made: %s" % (error.strerror or str(error)).lower()
            self._died(step, number, LoadFailure("process_ended", "%s: %s" % (step.key, said)))
            return
        if pid == 0:
            _be_step(lambda: self._call(step, number, pipes))
        for pair in pipes:
            os.close(pair[1])
            os.set_blocking(pair[0], False)
        child = _Child(pid, step, number, self._run.emit, *[pair[0] for pair in pipes])
        self._children.append(child)
        for descriptor, read in child.readers.items():
            self._by_pipe[descriptor] = (child, read)
            self._poll.register(descriptor, self._readable)

    def _call(self, step, number, pipes):
        """In the step's process: call it, and tell how that ended."""
        for one, handler in self._before.items():
            signal.signal(one, signal.SIG_DFL if handler is None else handler)
        for descriptor in [self._woken, self._wakes] + list(self._by_pipe):
            os.close(descriptor)
        ends = [pair[1] for pair in pipes]
        for pair in pipes:
            os.close(pair[0])
        os.dup2(ends[1], 1)
        os.dup2(ends[2], 2)
        os.close(ends[1])
        os.close(ends[2])
        _renew()
        send = _Sender(ends[0])
        events = Events(lambda event: send([event, None]))
        if self._interrupted:  # it came just after the fork
            os.kill(os.getpid(), signal.SIGINT)
        run = self._run
        attempts = Attempts(run.checked, events, self._values, run.progress.has, run.users)
        ended, torn = None, None
        try:
            ended = attempts.call(step, number)
            torn = attempts.resources.tear_down(events)
        except KeyboardInterrupt as error:  # between two lines of ours, or in a teardown
            if ended is None:
                ended = Ended("interrupted", failure=run_failure.of_step(error, step.key))
            attempts.resources.tear_down(events)
        interrupts.too_late()
        send([None, [ended.state, ended.outputs, ended.failure, ended.wait, torn]])

    # --- its end

    def _forget(self, descriptor):
        self._poll.unregister(descriptor)
        del self._by_pipe[descriptor]
        os.close(descriptor)

    def _ended(self, child, status):
        self._children.remove(child)
        for descriptor, read in child.readers.items():
            if self._by_pipe.get(descriptor, (None,))[0] is child:  # else its number is another's
                _drain(read)
                self._forget(descriptor)
        child.finish()
        if child.result is None:
            self._died(child.step, child.number, _death(child.step, status))
            return
        state, outputs, failure, wait, torn = child.result
        if torn is not None:
            self._run.torn(torn)
        self._note(child.step, child.number, Ended(state, outputs, failure, wait))

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
    """One step's process, as this one knows it: what it prints and tells."""

    def __init__(self, pid, step, number, emit, events, out, err):
        self.pid = pid
        self.step = step
        self.number = number
        self.result = None
        self._emit = emit
        self._told = b""
        self._lines = {1: _Lines(out, 1), 2: _Lines(err, 2)}
        self._events = events
        self.readers = {
            events: self._read_events,
            out: self._lines[1].read,
            err: self._lines[2].read,
        }

    def _read_events(self):
        """Pass on what it has told: True; False at the end, None when there is nothing now."""
        data = _read(self._events)
        if not data:
            return None if data is None else False
        for lines in self._lines.values():
            _drain(lines.read)  # what it has printed stands before the event that follows from it
        self._told += data
        while len(self._told) >= _HEAD.size:
            end = _HEAD.size + _HEAD.unpack_from(self._told)[0]
            if len(self._told) < end:
                break
            try:
                event, result = marshal.loads(self._told[_HEAD.size : end])  # noqa: S302 - our fork
            except (EOFError, TypeError, ValueError):  # its code has written to our pipe
                event = result = None
            self._told = self._told[end:]
            if event is not None:
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


class _Sender:
    """Sends plain data to the process that waits for this one; may be used by any thread."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self._turn = standard("_thread").allocate_lock()

    def __call__(self, value):
        payload = marshal.dumps(value)
        with self._turn, interrupts.held_back():
            _write(self._descriptor, _HEAD.pack(len(payload)) + payload)


# --- forking


def _fork():
    """Fork as Python does, with the hooks of ``os.register_at_fork``."""
    if sys.version_info < (3, 12):
        return os.fork()
    warnings = standard("warnings")
    with warnings.catch_warnings():  # of native threads, such as those of a BLAS
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _be_step(work):
    """Do ``work`` as the whole of this process, and end it; never returns."""
    try:
        work()
    except BaseException:  # ours, or an interrupt between two lines of ours
        sys.excepthook(*sys.exc_info())
    try:
        threading = sys.modules.get("threading")
        if threading is not None:
            threading._shutdown()  # as at the end of any process: waits for threads that are no daemons
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)
    finally:
        os._exit(0)


def _renew():
    """Have random numbers of its own, as Python 3.7 and later see to for ``random``."""
    random = sys.modules.get("random")
    if random is not None and sys.version_info < (3, 7):
        random.seed()
    numpy = sys.modules.get("numpy.random")
    if numpy is not None:
        try:
            numpy.seed()
        except Exception:  # a module of that name that is another
            pass


def _flush(stream):
    try:
        stream.flush()
    except Exception:  # closed, or replaced by anything
        pass


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
