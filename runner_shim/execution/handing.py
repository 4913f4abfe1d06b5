"""Processes of ``multiprocessing`` that are forked elsewhere: from a process that has all of it loaded.

Owns the handing over, both ends of it: a context whose processes are pickled, as those of the method
``spawn`` are, and given to another process with their descriptors; and what that process has a child of
it do with them. Messages are records of ``runner_shim.records`` on a socket that keeps their bounds; what
may be large is in a file without a name, whose descriptor goes along. Starts no process.
"""

import _socket
import os
import struct
import sys
from array import array

from runner_shim import records

__all__ = ["Context", "proceed", "receive", "send", "tell_end"]

_MOST = 64 * 1024  # bytes of a message
_MOST_DESCRIPTORS = 250  # SCM_MAX_FD of unix(7), less some
_STATUS = struct.Struct("<i")
_CLOSE_ON_EXEC = 0x40000000  # MSG_CMSG_CLOEXEC: socket names it on some platforms only


def send(socket, message, descriptors=(), flags=0):
    """Send a plain dict with ``descriptors``; raises OSError."""
    data = records.pack(message)
    ancillary = []
    if descriptors:
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", descriptors))]
    socket.sendmsg([data], ancillary, flags)


def receive(socket, flags=0):
    """The next message and its descriptors; ``(None, [])`` at the end. Raises OSError and RecordError."""
    room = _socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4)
    data, ancillary, _flags, _address = socket.recvmsg(_MOST, room, flags | _CLOSE_ON_EXEC)
    descriptors = array("i")
    for level, kind, chunk in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            descriptors.frombytes(chunk[: len(chunk) - len(chunk) % descriptors.itemsize])
    if not data:
        return None, list(descriptors)
    return records.unpack(data), list(descriptors)


# The end that wants processes.


class Context(object):
    """Like the context ``base`` of multiprocessing, but that ``hand(descriptors)`` has processes forked.

    The first of the descriptors is the file with the pickled process, the second is for the end of the
    process to be told (``tell_end``), the others are the process's. ``hand`` returns its id or 0 where
    that is not known, once it is forked.
    """

    def __init__(self, base, hand):
        self._base = base
        self._hand = hand

    def __getattr__(self, name):
        return getattr(self._base, name)

    def Process(self, *arguments, **named):
        """A process that is handed over when it is started."""
        from multiprocessing import process

        hand = self._hand

        class Process(process.BaseProcess):
            _start_method = "spawn"

            @staticmethod
            def _Popen(process_obj):
                return _Popen(process_obj, hand)

            def __reduce__(self):
                return _again, (dict(self.__dict__, _popen=None),)

        return Process(*arguments, **named)


def _again(state):
    from multiprocessing import process

    class Process(process.BaseProcess):
        _start_method = "spawn"

    made = Process.__new__(Process)
    made.__dict__.update(state)
    return made


class _DupFd(object):
    """A descriptor within the pickled data: which of those that go along it is."""

    def __init__(self, position):
        self._position = position

    def detach(self):
        return _handed[self._position]


_handed = []


class _Popen(object):
    """What multiprocessing knows of a process that was started."""

    method = "spawn"
    DupFd = _DupFd

    def __init__(self, process_obj, hand):
        from multiprocessing import context, process, reduction

        self._descriptors = []
        self.returncode = None
        with _unnamed_file() as file:
            context.set_spawning_popen(self)
            try:
                reduction.dump(bytes(process.current_process().authkey), file)
                reduction.dump(process_obj, file)
            finally:
                context.set_spawning_popen(None)
            file.flush()
            self.sentinel, ends = os.pipe()
            try:
                self.pid = hand([file.fileno(), ends] + self._descriptors)
            except BaseException:
                os.close(self.sentinel)
                raise
            finally:
                os.close(ends)
        os.set_blocking(self.sentinel, False)

    def duplicate_for_child(self, descriptor):
        self._descriptors.append(descriptor)
        return len(self._descriptors) - 1

    def poll(self, flag=0):
        if self.returncode is None:
            try:
                data = os.read(self.sentinel, _STATUS.size)
            except BlockingIOError:
                return None
            # Where it could not tell, it was killed.
            self.returncode = _STATUS.unpack(data)[0] if len(data) == _STATUS.size else -9
        return self.returncode

    def wait(self, timeout=None):
        from multiprocessing import connection

        if self.returncode is None:
            connection.wait([self.sentinel], timeout)
        return self.poll()

    def terminate(self):
        self._kill(15)

    def kill(self):
        self._kill(9)

    def _kill(self, number):
        if self.poll() is None and self.pid > 0:
            try:
                os.kill(self.pid, number)
            except OSError:
                pass

    def close(self):
        os.close(self.sentinel)


def _unnamed_file():
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("process"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


# The end that forks: what the forked process does.


def proceed(descriptors):
    """Be the process that was handed over, to its end; its exit status. ``tell_end`` is the caller's."""
    from multiprocessing import process

    file = os.fdopen(descriptors[0], "rb")
    file.seek(0)
    _handed[:] = descriptors[2:]
    current = process.current_process()
    current._inheriting = True
    try:
        import pickle

        current.authkey = pickle.load(file)  # noqa: S301  # our own
        made = pickle.load(file)  # noqa: S301
    finally:
        del current._inheriting
        file.close()
    # Nothing of what finalizers of the parent would do is this process's.
    from multiprocessing import util

    util._finalizer_registry.clear()
    util._run_after_forkers()
    if sys.version_info >= (3, 8):
        return made._bootstrap(parent_sentinel=None)
    return made._bootstrap()


def tell_end(descriptor, status):
    """Tell the process that wanted this one how it ends."""
    try:
        os.write(descriptor, _STATUS.pack(status))
    except OSError:
        pass  # it is gone
