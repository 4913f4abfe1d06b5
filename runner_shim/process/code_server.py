"""A framework's own server beside the shim: forked from what is loaded, kept, and answered.

Owns the one process of it at a time, from its start to its end, and the sockets to it. What the server
wants (a run, its end, a reload) is passed on to the supervisor as a question, whose answer goes back; a
process that it hands over waits here until the supervisor has it run. The shim stays single-threaded:
all of this happens while it waits for requests.

The server is asked every few seconds whether it lives, and whether its own clients are answered. One that
is not is killed; whether another one starts is the supervisor's to say. What is forked from this process
must have none of ``descriptors``.
"""

import _socket
import os
import sys
from os import P_PID, WEXITED, WNOHANG, WNOWAIT, close, pipe, waitid, waitpid

from runner_shim import records
from runner_shim.execution import handing
from runner_shim.frameworks import registry
from runner_shim.process import birth, quietly

__all__ = ["Keeper", "Line", "become", "end", "start_fresh", "wait_for"]

# Between two questions whether it lives (seconds). So many in a row without an answer, so many checks of
# what clients get in a row that failed: it hangs.
_EVERY = 5.0
_MOST_CHECKS_FAILED = 10
_MOST_ASKED = 1000
_DONT_WAIT = 0x40  # MSG_DONTWAIT
_SIGKILL = 9


class Keeper(object):
    """``tell(message)`` sends the supervisor a message; ``hidden`` are the preloaded modules, or None.

    ``private`` are the descriptors of the shim that nothing else may have.
    """

    def __init__(self, channel, tell, private, hidden):
        self._channel = channel
        self._tell = tell
        self._private = private
        self._hidden = hidden
        self._server = None
        self._asked = {}  # number: (where the answer goes, the descriptors that came with it)
        self._number = 0
        self._starting = []  # fresh processes that fork a run's monitor, and end

    @property
    def descriptors(self):
        """Those of the shim that belong to this."""
        found = set() if self._server is None else set(self._server.descriptors)
        for answers, handed in self._asked.values():
            found.update([answers] + handed)
        return found

    @property
    def children(self):
        """The ids of processes of the shim that belong to this."""
        self._reap()
        return frozenset(self._starting if self._server is None else
                         self._starting + [self._server.pid])  # fmt: skip

    def serve(self, message, unfit):
        """Start a server by ``message``: forked, or where this process is ``unfit``, afresh.

        Answers when it serves, or has ended. Returns an answer when that is known at once.
        """
        request = message.get("request")
        if self._server is not None:
            return _failed(request, "protocol", "a server has been started already")
        if not unfit:
            registry.named(message["order"]["framework"]).prepare_server()
        try:
            self._server = self._start(message, unfit)
        except (OSError, ValueError) as error:
            return _failed(request, "server", "its server cannot be started: %s" % error)
        self._channel.watch(self._server.death, self._died)
        self._channel.watch(self._server.line.fileno(), self._heard)
        self._channel.tick(_EVERY, self._look)
        return None

    def retire(self, message):
        """Have the server end once its calls are answered, or ``at_once``; answers when it has ended."""
        server = self._server
        if server is None:
            return {"type": "server_retired", "request": message.get("request")}
        server.retiring = message.get("request")
        if message.get("at_once"):
            quietly.signal(server.pid, _SIGKILL)
        else:
            server.say("retire")
        return None

    def answered(self, message):
        """The supervisor's answer to what was asked."""
        answers, handed = self._asked.pop(message.get("ask"), (None, []))
        for one in handed:
            close(one)
        if answers is not None:
            _send(answers, message)
            close(answers)

    def handed(self, number):
        """The descriptors of the process that was handed over under ``number``, or None. They are closed
        when the question is answered."""
        return self._asked.get(number, (None, None))[1] or None

    def start_fresh_run(self, request, fresh, number):
        """Have a fresh process begin the run that was handed over; raises OSError."""
        handed = self.handed(number)
        pid, keep = start_fresh(fresh, "run of %s" % request["order"]["location"], handed,
                                run=request, handed=handed, target=None)  # fmt: skip
        close(keep)
        self._starting.append(pid)

    def _reap(self):
        for pid in self._starting[:]:
            if _has_ended(pid):
                wait_for(pid)
                self._starting.remove(pid)

    # --- starting

    def _start(self, message, unfit):
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        death, alive = pipe()  # its end is the server's: closed when that ends
        try:
            if unfit:
                pid, keep = _spawned(message, theirs.fileno(), alive)
            else:
                pid, keep = self._forked(message["order"], theirs, {ours.fileno(), death}), None
        except BaseException:
            ours.close()
            close(death)
            raise
        finally:
            theirs.close()
            close(alive)
        patience = int(message["order"].get("ping_timeout", 30.0) / _EVERY) + 1
        return _Server(pid, ours, death, message.get("request"), patience, unfit, keep)

    def _forked(self, order, line, others):
        pid = birth.fork()
        if pid:
            return pid
        status = 70
        try:
            for one in self._private | self.descriptors | others:
                if one > 2:
                    quietly.close(one)
            module = self._leaving(Line(line))
            status = become(order, Line(line), module)
        finally:
            end(status)

    def _leaving(self, line):
        """What gives preloaded modules to the server, in its process."""
        if self._hidden is None:
            return lambda name: None

        def leave(reason):
            line.say("unfit", reason=reason)
            os._exit(75)

        self._hidden.leave = leave
        return self._hidden.module

    # --- what the server says

    def _heard(self):
        """Take a message; False when there is none, now or any more."""
        server = self._server
        try:
            message, descriptors = handing.receive(server.line, _DONT_WAIT)
        except (OSError, records.RecordError):
            return False
        if message is None:  # it is about to end
            self._channel.unwatch(server.line.fileno())
            return False
        what = message.get("what")
        if what == "up":
            self._up()
        elif what == "pong":
            server.unanswered = 0
            server.checks_failed = message.get("failed", 0)
        elif what == "unfit":
            server.refused = {"kind": "unfit", "message": str(message.get("reason"))}
        elif what == "refused":
            server.refused = message.get("failure")
        elif descriptors and len(self._asked) < _MOST_ASKED:
            self._number += 1
            self._asked[self._number] = descriptors[0], descriptors[1:]
            self._tell(dict(message, type="asks", ask=self._number))
            return True
        for one in descriptors:
            close(one)
        return True

    def _up(self):
        server = self._server
        if not server.up:
            server.up = True
            self._tell(
                {"type": "server_up", "request": server.request, "pid": server.pid,
                 "fresh_because": server.unfit}
            )  # fmt: skip

    def _look(self):
        """Ask whether it lives; one that has not answered for long hangs."""
        self._reap()
        server = self._server
        if _has_ended(server.pid):
            self._died()  # a child of it has the end that tells
            return
        if not server.up or server.hung:
            return
        if server.unanswered > server.patience:
            server.hung = "did not answer for %d s" % (server.unanswered * _EVERY)
        elif server.checks_failed >= _MOST_CHECKS_FAILED:
            server.hung = "left its clients without an answer"
        if server.hung:
            quietly.signal(server.pid, _SIGKILL)
        else:
            server.unanswered += 1
            server.say("ping")

    def _died(self):
        while self._heard():  # what it said last
            pass
        server, self._server = self._server, None
        for one in (server.death, server.line.fileno()):
            self._channel.unwatch(one)
        self._channel.tick(None, None)
        quietly.signal(
            server.pid, _SIGKILL
        )  # the end that tells may have been closed by a program in it
        status = wait_for(server.pid)
        server.close()
        self._drop()
        ended = {
            "status": status >> 8 if status is not None and not status & 0x7F else None,
            "signal": (status & 0x7F) or None if status is not None else None,
            "reason": server.hung,
        }
        if server.refused and not server.up:
            answer = {"type": "failed", "request": server.request, "failure": server.refused}
        elif not server.up:
            answer = dict(_failed(server.request, "server", "its server ended"), **ended)
        else:
            answer = dict(ended, type="server_ended")
        if server.retiring is None or not server.up:
            self._tell(answer)
        if server.retiring is not None:
            self._tell({"type": "server_retired", "request": server.retiring})

    def _drop(self):
        """Nothing that the server has asked can be answered any more."""
        for answers, handed in self._asked.values():
            for one in [answers] + handed:
                close(one)
        self._asked = {}


class _Server(object):
    """One process of the server."""

    def __init__(self, pid, line, death, request, patience, unfit, keep):
        self.pid, self.line, self.death, self.request = pid, line, death, request
        self.patience, self.unfit, self._keep = patience, unfit, keep
        self.up = False
        self.retiring = None
        self.hung, self.refused = "", None
        self.unanswered = self.checks_failed = 0

    def say(self, what):
        try:
            handing.send(self.line, {"what": what}, flags=_DONT_WAIT)
        except OSError:
            pass  # it has ended, or does not read

    @property
    def descriptors(self):
        keep = [] if self._keep is None else [self._keep]
        return [self.line.fileno(), self.death] + keep

    def close(self):
        for one in self.descriptors[1:]:
            close(one)
        self.line.close()


class Line(object):
    """The server's end: what it says, what it asks, and what it is told. Any thread may use it."""

    def __init__(self, socket):
        self._socket = socket

    def say(self, what, **more):
        """Tell the shim something that has no answer."""
        handing.send(self._socket, dict(more, what=what))

    def ask(self, what, descriptors=(), **more):
        """Ask the supervisor, and wait for its answer, a dict; raises OSError where there is none."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        try:
            try:
                message = dict(more, what=what)
                handing.send(self._socket, message, [theirs.fileno()] + list(descriptors))
            finally:
                theirs.close()
            try:
                answer, _none = handing.receive(ours)
            except records.RecordError as error:
                raise OSError(str(error))
        finally:
            ours.close()
        if answer is None:
            raise OSError(
                "the supervisor does not answer: it, or the process of the location, ended"
            )
        return answer

    def listen(self, told):
        """Call ``told(word)`` with each word of the shim, until it is gone."""
        while True:
            message, _none = handing.receive(self._socket)
            if message is None:
                return
            told(message.get("what"))


def become(order, line, module=lambda name: None):
    """Be the server that ``order`` wants, to its end; the exit status."""
    from runner_shim.loading.load_failure import LoadFailure, from_exception
    from runner_shim.preloading import renewing

    try:
        renewing.retitle("code server of %s" % order["location"])
    except Exception:
        pass  # only its name in ps is lost
    renewing.renew(module)
    try:
        return registry.named(order["framework"]).serve(order, line)
    except LoadFailure as failure:
        line.say("refused", failure=_brief(failure))
    except BaseException as error:
        sys.excepthook(*sys.exc_info())
        line.say("refused", failure=_brief(from_exception(error, None)))
    return 70


def _brief(failure):
    data = failure.as_data()
    return {"kind": data["kind"], "message": data["message"][:2000]}


def end(status):
    """End at once: exit functions of what was imported are the shim's."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(status or 0)


def _spawned(message, line, alive):
    """A fresh process of the server; its id, and the end of its lifeline that is to be kept."""
    fresh = message["fresh"]
    order = dict(message["order"])
    return start_fresh(fresh, "code server of %s" % order["location"], [line, alive],
                       serve=order, line=line)  # fmt: skip


def start_fresh(fresh, title, descriptors, **start):
    """Start boot.py with a start message; ``(pid, the writing end of its standard input)``.

    ``fresh`` has the ``command`` of an interpreter on boot.py, its ``environ`` and ``overlay``.
    """
    import json
    import subprocess

    process = subprocess.Popen(
        fresh["command"] + [title],
        stdin=subprocess.PIPE,
        env=fresh["environ"],
        pass_fds=descriptors,
        cwd="/",
    )
    process.returncode = 0  # it is ours to reap
    keep = os.dup(process.stdin.fileno())
    process.stdin.close()
    os.write(keep, json.dumps(dict(start, v=1, overlay=fresh["overlay"])).encode() + b"\n")
    return process.pid, keep


def _send(descriptor, message):
    one = _socket.socket(fileno=os.dup(descriptor))
    try:
        handing.send(one, message, flags=_DONT_WAIT)
    except OSError:
        pass  # who asked is gone
    finally:
        one.close()


def wait_for(pid):
    """The status of a child that has ended; None where something else has waited for it."""
    while True:
        try:
            return waitpid(pid, 0)[1]
        except InterruptedError:
            continue
        except OSError:
            return None  # the team waits for whatever there is


def _has_ended(pid):
    try:
        return waitid(P_PID, pid, WEXITED | WNOHANG | WNOWAIT) is not None
    except OSError:  # the team waits for whatever there is
        return True


def _failed(request, kind, text):
    return {"type": "failed", "request": request, "failure": {"kind": kind, "message": text}}
