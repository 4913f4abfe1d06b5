"""One location's life inside the team's interpreter: say hello, load, answer, exit.

Owns the request loop. One request at a time, in the main thread, in the order they came; while user
code runs nothing is answered, and the supervisor knows why because it knows what it asked. A
failure of user code is an answer, never the end of this process. Refuses requests it does not know.

Requests (frame 0): ``load {request, target}``, ``describe {request, kind, name, repository}``,
``validate_run {request, order, span}``,
``start_run {request, run}``, ``tick {request, order, fresh, target}``, ``end_tick {request, tick, how}``,
``serve {request, order, fresh}``, ``warm {request, framework}``, ``retire_server {request, at_once}``,
``ping {request}``, ``stop``, and ``answer {ask}`` to what this process asked. Answers: ``loaded {request, report}`` with the frames definitions and
sources, ``failed {request, failure}``, before either any number of ``part {request, importing}``, ``described {request, definition, source}``,
``run_valid {request, partitions, unfit}``, ``run_started {request}`` (or ``failed`` with the kind ``unfit``: a fresh process has to run it),
``ticked {request, fresh_because}`` with the frame result, ``tick_told {request}``, ``server_up {request, pid}``, ``warmed {request, installed, preloaded}``, ``server_retired {request}``, ``pong {request}``. Unasked:
``server_ended {status, signal, reason}``, ``asks {ask, what}`` (see ``code_server``). A forked process that cannot import what the target wants says
``unfit {reason}`` once, and nothing more. See docs/protocol.md.
"""

import os
import sys

from runner_shim import wire
from runner_shim.process import birth, leftovers, ticking
from runner_shim.process.channel import Channel

__all__ = ["arm_stack_dump", "run"]

# Dumps all Python stacks to stderr without running Python code: the last real-time signal but two,
# which neither the C library nor anything we know of uses.
_STACK_SIGNAL = 62


def run(address, instance, lifeline, hidden=None):
    """Serve the supervisor at ``address`` as ``instance`` until told to stop. Returns the exit status.

    ``hidden`` holds the preloaded modules of a forked process.
    """
    arm_stack_dump()
    channel = Channel(address, instance, lifeline)
    if hidden is not None:
        hidden.leave = lambda reason: _leave(channel, reason)
    channel.send(
        wire.encode(
            {
                "type": "hello",
                "instance": instance,
                "pid": os.getpid(),
                "python": "%d.%d.%d" % sys.version_info[:3],
                "implementation": sys.implementation.name,
                "executable": sys.executable or "",
                "prefix": sys.prefix,
            }
        )
    )
    session = _Session(channel, hidden)
    while True:
        frames = channel.receive()
        if frames is None:
            return 0
        try:
            message, _payload = wire.decode(frames)
        except wire.WireError as error:
            sys.stderr.write("a message of the supervisor was dropped: %s\n" % error)
            continue
        if message["type"] == "stop":
            channel.close()
            return 0
        answer = session.answer(message)
        _flush()
        if answer is not None:
            channel.send(answer)


class _Session(object):
    """What has been loaded, and the answers to requests about it."""

    def __init__(self, channel, hidden):
        self._channel = channel
        self._hidden = hidden
        self._private = None
        self._loaded = None
        self._before = None  # the load
        self._keeper = None
        self._ticker = ticking.Ticker(channel, channel.send, hidden)

    def answer(self, message):
        """The frames that answer ``message``, None where there are none, or later; never raises what
        user code raised."""
        handler = {
            "load": self._load,
            "describe": self._describe,
            "validate_run": self._validate_run,
            "start_run": self._start_run,
            "tick": self._tick,
            "end_tick": self._ticker.end,
            "serve": self._serve,
            "warm": self._warm,
            "retire_server": self._retire_server,
            "answer": self._answered,
            "ping": self._ping,
        }.get(message["type"])
        if handler is None:
            return _failed(message, "protocol", "no request is named %r" % message["type"])
        return handler(message)

    def _load(self, message):
        if self._loaded is not None:
            return _failed(message, "protocol", "this process has loaded its target already")
        from runner_shim import imported
        from runner_shim.loading import target
        from runner_shim.loading.load_failure import LoadFailure

        self._before = imported.mark()
        # libzmq's and the lifeline: it has connected, and nothing of the team's has run.
        self._private = leftovers.descriptors_and_threads() if birth.available() else None
        try:
            loaded = target.load(message.get("target") or {}, self._importing(message), self._quick)
        except LoadFailure as failure:
            return wire.encode(
                {"type": "failed", "request": message.get("request"), "failure": failure.as_data()}
            )
        frames = wire.encode(
            {"type": "loaded", "request": message.get("request"), "report": loaded.report},
            wire.pack(loaded.document),
            wire.pack(loaded.sources),
        )
        # Only what later requests need is kept: the document can be large, and it has been sent.
        loaded.document = loaded.sources = loaded.report = None
        self._loaded = loaded
        return frames

    def _importing(self, message):
        """What tells the supervisor which import the load is at."""

        def tell(name):
            part = {"type": "part", "request": message.get("request"), "importing": name}
            self._channel.send(wire.encode(part))

        return tell

    def _quick(self, name):
        """True for a module that was preloaded: it is handed out, and takes no time."""
        return self._hidden is not None and self._hidden.module(name) is not None

    def _describe(self, message):
        if self._loaded is None:
            return _failed(message, "protocol", "nothing is loaded")
        from runner_shim.loading.load_failure import LoadFailure

        try:
            found = self._loaded.describe(
                message.get("kind"), message.get("name"), message.get("repository")
            )
        except LoadFailure as failure:
            return wire.encode(
                {"type": "failed", "request": message.get("request"), "failure": failure.as_data()}
            )
        return wire.encode(
            {
                "type": "described",
                "request": message.get("request"),
                "definition": found["definition"],
                "source": found["source"],
            }
        )

    def _validate_run(self, message):
        """Whether what is loaded can run an order, before anything of it is written or run."""
        if self._loaded is None:
            return _failed(message, "protocol", "nothing is loaded")
        from runner_shim import execution
        from runner_shim.loading.load_failure import LoadFailure

        order, span, keys = message["order"], message.get("span"), None
        try:
            if span:
                keys = execution.partition_range(self._loaded, order, *span)
                order = dict(order, partition_key=keys[0])
            execution.validate(self._loaded, order)
        except LoadFailure as failure:
            return wire.encode(
                {"type": "failed", "request": message.get("request"), "failure": failure.as_data()}
            )
        answer = {
            "type": "run_valid",
            "request": message.get("request"),
            "partitions": keys,
            "unfit": self._unfit() or None,
        }
        return wire.encode(answer)

    def _start_run(self, message):
        """Fork a run of what is loaded, or of what a server has handed over, with its monitor
        (docs/runs.md)."""
        if self._loaded is None:
            return _failed(message, "protocol", "nothing is loaded")
        from runner_shim.process import run

        request = message["run"]
        number, handed = request.get("handed"), None
        if number is not None:
            handed = None if self._keeper is None else self._keeper.handed(number)
            if handed is None:
                return _failed(message, "gone", "the server that wanted the run has ended")
        unfit = self._unfit()
        module = self._module()
        _flush()  # what is buffered is not the run's to print
        failed = unfit or birth.start(
            request,
            self._own() - set(handed or ()),
            lambda ends: run.become(ends, request, lambda: self._loaded, module, handed=handed),
        )
        if failed and handed:
            failed = self._start_afresh(request, message["fresh"], number)
            if not failed:
                return wire.encode(
                    {"type": "run_started", "request": message.get("request"), "unfit": unfit}
                )
        if failed:
            return _failed(message, "unfit", failed)
        return wire.encode({"type": "run_started", "request": message.get("request")})

    def _tick(self, message):
        """Evaluate a schedule or sensor; answered when it has been, or has been ended."""
        if self._loaded is None:
            return _failed(message, "protocol", "nothing is loaded")
        _flush()
        return self._ticker.tick(message, self._unfit(), self._loaded, self._own())

    def _start_afresh(self, request, fresh, number):
        try:
            self._keeper.start_fresh_run(request, fresh, number)
            return ""
        except (OSError, ValueError) as error:
            return "no process can be started: %s" % error

    def _serve(self, message):
        """Start the server that a framework has for what is loaded; it is answered once it serves."""
        if self._loaded is None:
            return _failed(message, "protocol", "nothing is loaded")
        if self._keeper is None:
            from runner_shim.process import code_server

            def tell(told):
                self._channel.send(wire.encode(told))

            own = self._private[0] if self._private else frozenset()
            self._keeper = code_server.Keeper(self._channel, tell, own - {0, 1, 2}, self._hidden)
        _flush()
        answer = self._keeper.serve(message, message.get("fresh_because") or self._unfit())
        return None if answer is None else wire.encode(answer)

    def _warm(self, message):
        """Do once what the server's calls and runs, which are forked from here, do first."""
        from runner_shim import imported
        from runner_shim.frameworks import registry

        registry.named(message["framework"]).warm_server()
        return wire.encode(
            {
                "type": "warmed",
                "request": message.get("request"),
                "installed": imported.installed_modules(self._before),
                "preloaded": list(imported.asked),
            }
        )

    def _retire_server(self, message):
        answer = {"type": "server_retired", "request": message.get("request")}
        if self._keeper is not None:
            answer = self._keeper.retire(message)
        return None if answer is None else wire.encode(answer)

    def _answered(self, message):
        if self._keeper is not None:
            self._keeper.answered(message)

    def _unfit(self):
        """Why nothing may be forked from this process, or ""."""
        if not birth.available():
            return "this is not Linux"
        children = self._ticker.children
        if self._keeper is not None:
            children |= self._keeper.children
        return leftovers.of_a_load((self._own() | {0, 1, 2}, self._private[1]), children)

    def _own(self):
        """The descriptors of this process that nothing else may have."""
        others = self._ticker.descriptors
        if self._keeper is not None:
            others |= self._keeper.descriptors
        return (self._private[0] | others) - {0, 1, 2}

    def _module(self):
        return (lambda name: None) if self._hidden is None else self._hidden.module

    def _ping(self, message):
        return wire.encode({"type": "pong", "request": message.get("request")})


def _failed(message, kind, text):
    return wire.encode(
        {
            "type": "failed",
            "request": message.get("request"),
            "failure": {"kind": kind, "message": text},
        }
    )


def _leave(channel, reason):
    """Say that a fresh process has to do what this one cannot, and wait for the end."""
    _flush()
    channel.send(wire.encode({"type": "unfit", "reason": reason}))
    while True:
        frames = channel.receive()
        if frames is None or wire.decode(frames)[0].get("type") == "stop":
            os._exit(0)


def _flush():
    # What user code printed stands in the log before the answer that follows from it arrives.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass


def arm_stack_dump():
    """Have the stacks of all threads written to standard error at a signal."""
    try:
        import faulthandler

        faulthandler.register(_STACK_SIGNAL, file=2, all_threads=True, chain=False)
        if not faulthandler.is_enabled():
            faulthandler.enable(file=2)  # a crash in native code names the line that led to it
    except (ImportError, AttributeError, OSError, RuntimeError, ValueError):
        pass  # only the stack of a hung import is lost
