"""The shim's only socket: a ZeroMQ DEALER to the supervisor, and the hiding of what it needs.

Owns ``zmq`` in this process: importing it (with msgpack) from the runtime overlay, taking both out
of ``sys.modules`` again so that user code finds its own copies or none, and putting them back for
the moments in which pyzmq runs (it imports parts of itself late, to raise an error). Refuses to
interpret messages. Single-threaded; every call is made by the main thread.
"""

import os
import select
import sys
from time import monotonic

__all__ = ["Channel", "import_private"]

_PRIVATE_ROOTS = ("zmq", "msgpack")
_hidden = {}


def import_private(overlay):
    """Import zmq and msgpack so that user code cannot tell, and the wire module that binds them.

    ``overlay`` is a directory that holds both, or None to take the interpreter's own copies, which
    then stay visible: they are the team's. Raises ImportError when there are none.
    """
    if overlay is None:
        import zmq  # noqa: F401

        from runner_shim import wire  # noqa: F401

        return
    sys.path.insert(0, overlay)
    try:
        import zmq  # noqa: F401

        from runner_shim import wire  # noqa: F401
    finally:
        sys.path.remove(overlay)
        for path in [p for p in sys.path_importer_cache if p.startswith(overlay)]:
            del sys.path_importer_cache[path]
    for name in list(sys.modules):
        if name.split(".", 1)[0] in _PRIVATE_ROOTS:
            _hidden[name] = sys.modules.pop(name)


class _Visible(object):
    """Puts the hidden modules into ``sys.modules`` for the length of a ``with`` block."""

    def __enter__(self):
        self.theirs = {name: sys.modules[name] for name in _hidden if name in sys.modules}
        sys.modules.update(_hidden)

    def __exit__(self, *exception):
        for name in _hidden:
            sys.modules.pop(name, None)
        sys.modules.update(self.theirs)


def _open_descriptors():
    try:
        return {int(name) for name in os.listdir("/proc/self/fd")}
    except OSError:
        return set()  # not Linux


class Channel(object):
    """A connection to ``address`` under the identity ``instance``.

    ``lifeline`` is the descriptor whose hang-up means that the supervisor is gone.
    """

    def __init__(self, address, instance, lifeline):
        self._pid = os.getpid()
        before = _open_descriptors()
        with _Visible():
            import zmq

            self._zmq = zmq
            self._context = zmq.Context()
            self._socket = self._context.socket(zmq.DEALER)
            self._socket.setsockopt(zmq.IDENTITY, instance.encode("utf-8"))
            self._socket.setsockopt(
                zmq.LINGER, 2000
            )  # ms; a supervisor that is alive reads at once
            self._socket.setsockopt(zmq.SNDHWM, 0)
            self._socket.setsockopt(zmq.MAXMSGSIZE, 64 * 1024 * 1024)
            self._socket.connect(address)
            descriptor = self._socket.getsockopt(zmq.FD)
        for one in _open_descriptors() - before:
            try:
                os.set_inheritable(one, False)  # some builds of libzmq leave theirs to children
            except OSError:
                pass  # it was the listing's own
        self._poller = select.poll()
        self._poller.register(descriptor, select.POLLIN)
        if lifeline is not None:
            self._poller.register(lifeline, 0)
        self._lifeline = lifeline
        self._watched = {}
        self._every, self._tick, self._last = None, None, 0.0

    def watch(self, descriptor, called):
        """Have ``called()`` called, while a message is waited for, when ``descriptor`` is readable."""
        self._watched[descriptor] = called
        self._poller.register(descriptor, select.POLLIN)

    def unwatch(self, descriptor):
        """Forget it. Idempotent."""
        if self._watched.pop(descriptor, None) is not None:
            self._poller.unregister(descriptor)

    def tick(self, seconds, called):
        """Have ``called()`` called every so many seconds while a message is waited for; None: no more.

        Time in which this process did not wait is no reason to call it more often.
        """
        self._every, self._tick, self._last = seconds, called, monotonic()

    def send(self, frames):
        """Queue one message; ``frames`` is a list of bytes."""
        self._check_process()
        with _Visible():
            # Copying: pyzmq's zero-copy path starts a Python thread, a surprise for user code.
            self._socket.send_multipart(frames, copy=True)

    def receive(self):
        """Wait for the next message; a list of bytes, or None when the supervisor is gone."""
        while True:
            self._check_process()
            with _Visible():
                # The descriptor is edge-triggered: only the events option tells the truth.
                if self._socket.getsockopt(self._zmq.EVENTS) & self._zmq.POLLIN:
                    return self._socket.recv_multipart(self._zmq.NOBLOCK)
            ready = [one for one, _events in self._poller.poll(self._patience())]
            if self._lifeline in ready:
                return None
            for descriptor in ready:
                called = self._watched.get(descriptor)
                if called is not None:
                    called()
            if self._every is not None and monotonic() - self._last >= self._every:
                self._last = monotonic()
                self._tick()

    def _patience(self):
        """Milliseconds until the next tick, or None."""
        if self._every is None:
            return None
        return max(0, int((self._last + self._every - monotonic()) * 1000)) + 1

    def close(self):
        """Send what is queued and close. Idempotent."""
        if os.getpid() != self._pid:
            return
        with _Visible():
            self._socket.close()
            self._context.term()

    def _check_process(self):
        # User code forked while it was imported and its child came back to us: it is no shim.
        if os.getpid() != self._pid:
            os._exit(0)
