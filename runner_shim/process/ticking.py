"""Evaluating schedules and sensors: each in a process of its own, forked from what is loaded.

Owns these processes, from the fork to their ends. One that hangs holds nothing up: the supervisor says when
its time is over. What a tick writes is in the location's log. Where this process is not fit to be forked
from, a fresh one loads the target and evaluates.
"""

import os
from os import WNOHANG, close, pipe, read, waitpid, write

from runner_shim import execution, plain_data, wire
from runner_shim.process import birth, code_server, quietly

__all__ = ["LONGEST", "Ticker", "become"]

LONGEST = 2 * 1024 * 1024
"""Bytes of what one tick has to say."""

_PIECE = 65536
_STACKS = 62  # see request_loop
_SIGKILL = 9
_WHOLE = b"\xc1."  # msgpack has no such byte


class Ticker(object):
    """``send(frames)`` sends the supervisor a message; ``hidden`` are the preloaded modules, or None.

    The answer to a tick has one frame of msgpack: ``{"result": …}`` or ``{"failure": …}``.
    """

    def __init__(self, channel, send, hidden):
        self._channel = channel
        self._send = send
        self._hidden = hidden
        self._ticks = {}  # the descriptor that its result comes from: _Tick
        self._ended = []  # those of which the process has yet to be waited for

    @property
    def descriptors(self):
        """Those of the shim that belong to this."""
        return {one for tick in self._all() for one in tick.descriptors}

    @property
    def children(self):
        """The ids of processes of the shim that belong to this."""
        self._reap()
        return frozenset(tick.pid for tick in self._all())

    def _all(self):
        return list(self._ticks.values()) + self._ended

    def tick(self, message, unfit, loaded, private):
        """Evaluate by ``message``; the answer where it is known at once, else None.

        ``private`` are descriptors that a forked process must not have.
        """
        self._reap()
        order = message["order"]
        try:
            plain = loaded.plain_tick(order)
        except Exception:  # it is told by its own process
            plain = None
        if plain is not None:
            return _answer(message, wire.pack({"result": plain}))
        unfit = message.get("fresh_because") or unfit
        if unfit and not message.get("fresh_because"):  # it may load other code
            return _answer(message, _failed("unfit", unfit))
        ours, theirs = pipe()
        try:
            if unfit:
                pid, keep = code_server.start_fresh(
                    message["fresh"], _title(order), [theirs],
                    tick=order, target=message["target"], result=theirs,
                )  # fmt: skip
            else:
                pid, keep = self._forked(order, loaded, theirs, private | {ours}), None
        except (OSError, ValueError) as error:
            close(ours)
            text = "no process can be started: %s" % error
            return _answer(message, _failed("interpreter", text))
        finally:
            close(theirs)
        tick = _Tick(pid, ours, keep, message, unfit)
        self._ticks[ours] = tick
        self._channel.watch(ours, lambda: self._heard(tick))
        return None

    def end(self, message):
        """Have the tick of the request ``tick`` write its stacks, or end; the answer."""
        for tick in list(self._ticks.values()):
            if tick.message.get("tick") == message.get("tick"):
                if message.get("how") == "stacks":
                    quietly.signal(tick.pid, _STACKS)
                else:
                    for pid in _descendants(tick.pid):
                        quietly.signal(pid, _SIGKILL)
                    self._over(tick, _failed("timeout", "it was ended"))
        return wire.encode({"type": "tick_told", "request": message.get("request")})

    def _forked(self, order, loaded, descriptor, others):
        pid = birth.fork()
        if pid:
            return pid
        status = 70
        try:
            for one in others:
                if one > 2:
                    quietly.close(one)
            module = None
            if self._hidden is not None:
                self._hidden.leave = lambda reason: _leave(descriptor, reason)
                module = self._hidden.module
            status = become(order, lambda: loaded, descriptor, module)
        finally:
            code_server.end(status)

    # --- what it says

    def _heard(self, tick):
        try:
            piece = read(tick.descriptor, _PIECE)
        except OSError:
            piece = b""
        tick.data += piece
        if len(tick.data) > LONGEST:
            text = "what it asked for is more than %d MiB" % (LONGEST >> 20)
            quietly.signal(tick.pid, _SIGKILL)
            self._over(tick, _failed("bad_tick", text))
        elif not piece:
            self._over(tick, None)

    def _over(self, tick, said):
        del self._ticks[tick.descriptor]
        self._channel.unwatch(tick.descriptor)
        close(tick.descriptors.pop(0))
        if said is None and tick.data[-len(_WHOLE) :] == _WHOLE:
            said = bytes(tick.data[: -len(_WHOLE)])
        if said is None:
            quietly.signal(tick.pid, _SIGKILL)  # it has closed its end, and may live
            said = _failed("died", _how_it_ended(code_server.wait_for(tick.pid)))
        self._ended.append(tick)
        self._reap()
        self._send(_answer(tick.message, said, tick.unfit))

    def _reap(self):
        for tick in self._ended[:]:
            try:
                if waitpid(tick.pid, WNOHANG)[0] == 0:
                    continue
            except OSError:
                pass  # it was waited for
            # Not before: a fresh one hangs on this, with all of this process's group.
            for one in tick.descriptors:
                close(one)
            self._ended.remove(tick)


class _Tick(object):
    """One process."""

    def __init__(self, pid, descriptor, keep, message, unfit):
        self.pid, self.descriptor, self.message, self.unfit = pid, descriptor, message, unfit
        self.descriptors = (
            [descriptor] if keep is None else [descriptor, keep]
        )  # the first: its result
        self.data = bytearray()


def become(order, load, descriptor, module=None):
    """Be the process of one tick, and write what it says to ``descriptor``; the exit status."""
    from runner_shim.loading.load_failure import LoadFailure, from_exception
    from runner_shim.preloading import renewing

    try:
        renewing.retitle(_title(order))
        renewing.renew(module or _no_module)
    except Exception:
        pass  # less of it is its own
    try:
        said = {"result": execution.tick(load(), order)}
    except LoadFailure as failure:
        said = {"failure": failure.as_data()}
    except BaseException as error:
        said = {"failure": from_exception(error, None).as_data()}
    _say(descriptor, said)
    return 0


def _say(descriptor, said):
    try:
        data = wire.pack(said)
    except (TypeError, ValueError, OverflowError) as error:
        data = _failed("bad_tick", "what it asked for cannot be sent: %s" % error)
    data += _WHOLE
    while data:
        data = data[write(descriptor, data) :]
    close(descriptor)


def _leave(descriptor, reason):
    _say(descriptor, {"failure": {"kind": "unfit", "message": str(reason)[:500]}})
    os._exit(75)


def _answer(message, said, unfit=""):
    answer = {"type": "ticked", "request": message.get("request"), "fresh_because": unfit or None}
    return wire.encode(answer, said)


def _failed(kind, text):
    return wire.pack({"failure": {"kind": kind, "message": plain_data.text(text, 500)}})


def _title(order):
    return "tick of %s in %s" % (order["name"], order.get("location"))


def _no_module(_name):
    return None


def _descendants(pid):
    """A process and all that it started, as far as the kernel lists them."""
    found = [pid]
    for one in found:
        try:
            for task in os.listdir("/proc/%d/task" % one):
                with open("/proc/%d/task/%s/children" % (one, task)) as file:
                    found.extend(int(each) for each in file.read().split())
        except (OSError, ValueError):
            continue
    return found


def _how_it_ended(status):
    if status is None:
        return "its process ended without a word"
    if status & 0x7F:
        return "its process was killed by signal %d" % (status & 0x7F)
    return "its process ended with status %d" % (status >> 8)
