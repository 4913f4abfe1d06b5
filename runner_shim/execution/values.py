"""Values that outlive the process that made them: one file each, pickled, written beside and renamed.

Owns the directories of the values of assets (by key and partition, in the order's ``storage``) and of
the outputs of a run's steps (in the run's own directory), and the sentences about values that cannot be
kept or read. Bounded by what is defined: a value replaces the one of the same name. Nothing is synced
to the disk: a value that a power loss has damaged cannot be read, and is said to be so.
"""

import os

from runner_shim import plain_data
from runner_shim.imported import standard
from runner_shim.loading.load_failure import LoadFailure

__all__ = ["AssetValues", "StepValues", "quoted"]

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-@=+,")
_LONGEST_NAME = 150
_PROTOCOL = 4  # of pickle(3): the newest that Python 3.6 has
_STALE = 86400.0  # what was half written so long ago is removed (seconds)


def quoted(name):
    """``name`` (any text) as the name of a file, a different one for each."""
    data = name.encode("utf-8", "surrogatepass")
    text = "".join(chr(one) if chr(one) in _PLAIN else "%%%02x" % one for one in data)
    if len(text) <= _LONGEST_NAME:
        return text
    return text[:100] + "~" + standard("hashlib").sha256(data).hexdigest()[:32]


class _Limited:
    """A file that refuses to become longer than ``most`` bytes."""

    def __init__(self, file, most):
        self._file = file
        self._most = self._left = most

    def write(self, data):
        size = memoryview(data).nbytes
        if size > self._left:
            raise _TooLargeError("it is larger than %d MiB" % (self._most >> 20))
        self._left -= size
        return self._file.write(data)


class _TooLargeError(ValueError):
    pass


def _write(path, beside, value, what, hint, most=None):
    """Pickle ``value`` into the file ``path``, by way of ``beside``; the bytes written."""
    pickle = standard("pickle")
    try:
        try:
            with open(beside, "wb", 1 << 16) as file:
                target = file if most is None else _Limited(file, most)
                pickle.Pickler(target, _PROTOCOL).dump(value)
                size = file.tell()
            os.replace(beside, path)
        except BaseException:
            try:
                os.unlink(beside)
            except OSError:
                pass
            raise
        return size
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise LoadFailure("not_kept", "%s cannot be kept in %s: %s" % (what, path, said))
    except _TooLargeError as error:
        raise LoadFailure("not_kept", "%s is not kept: %s" % (what, error))
    except Exception as error:  # what cannot be pickled raises anything
        said = "%s: %s" % (type(error).__name__, plain_data.text(_said(error), 300))
        raise LoadFailure("not_kept", "%s cannot be pickled: %s" % (what, said), hint, error)


def _said(error):
    try:
        return str(error)
    except Exception:  # a user's __str__
        return "(no text)"


def _read(path, what, hint):
    try:
        with open(path, "rb", 1 << 16) as file:
            return standard("pickle").Unpickler(file).load()
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise LoadFailure("not_kept", "%s cannot be read from %s: %s" % (what, path, said), hint)
    except Exception as error:  # a class that has gone, a file that is cut off
        said = "%s: %s" % (type(error).__name__, plain_data.text(_said(error), 300))
        raise LoadFailure("not_kept", "%s cannot be read: %s" % (what, said), hint, error)


class AssetValues:
    """The values of a location's assets below ``directory``, one for each key and partition."""

    def __init__(self, directory):
        self.directory = directory
        self._new = os.path.join(directory, ".new")
        self._count = 0

    def _path(self, name, partition):
        file = "value" if partition is None else "partition." + quoted(partition)
        return os.path.join(self.directory, quoted(name), file)

    def has(self, name, partition):
        """True when a value of the asset ``name`` is kept, of that partition or (None) of the whole."""
        return os.path.exists(self._path(name, partition))

    def get(self, name, partition):
        """The value; raises LoadFailure ``not_kept``."""
        hint = "materialize it again with the code of today"
        return _read(self._path(name, partition), _words(name, partition), hint)

    def put(self, name, partition, value):
        """Keep a value instead of the one before; raises LoadFailure ``not_kept``."""
        if not self._count:
            self._begin()
        self._count += 1
        path = self._path(name, partition)
        try:
            os.makedirs(os.path.dirname(path), 0o700)
        except OSError:
            pass  # it is there; or what follows says why not
        beside = os.path.join(self._new, "%d.%d" % (os.getpid(), self._count))
        hint = (
            "return a value that can be pickled, name a resource that keeps it (io_manager_key), "
            "or have the function keep it and return nothing"
        )
        _write(path, beside, value, _words(name, partition), hint)

    def _begin(self):
        """Have the directory, without what runs that were killed have left half written."""
        try:
            os.makedirs(self._new, 0o700)
        except OSError:
            pass
        try:
            os.utime(self._new)
            now = os.stat(self._new).st_mtime
            for name in os.listdir(self._new):
                path = os.path.join(self._new, name)
                if now - os.stat(path).st_mtime > _STALE:
                    os.unlink(path)
        except OSError:
            pass  # another run is at it


def _words(name, partition):
    if partition is None:
        return "the value of asset %s" % name
    return "the value of asset %s, partition %s," % (name, partition)


class StepValues:
    """The outputs of a run's steps below ``directory``.

    ``remedy`` is the hint of the sentence about a value that cannot be pickled. ``most`` are bytes of
    all of them together, None for any number.
    """

    def __init__(self, directory, remedy=None, most=None):
        self.directory = directory
        self._remedy = remedy
        self._left = most

    def path(self, step, output):
        """The file of one output."""
        return os.path.join(self.directory, "%s.%s" % (quoted(step), quoted(output)))

    def has(self, step, output):
        """True when that output is kept."""
        return os.path.exists(self.path(step, output))

    def get(self, step, output):
        """The value; raises LoadFailure ``not_kept``."""
        hint = "retry the whole run"
        return _read(self.path(step, output), _output(step, output), hint)

    def put(self, step, output, value):
        """Keep a value; raises LoadFailure ``not_kept``."""
        try:
            os.makedirs(self.directory, 0o700)
        except OSError:
            pass
        path = self.path(step, output)
        size = _write(path, path + ".new", value, _output(step, output), self._remedy, self._left)
        if self._left is not None:
            self._left -= size

    def take_over(self, other, step, output):
        """Have a value that another directory has; it is not copied where the disk can link it."""
        source, path = other.path(step, output), self.path(step, output)
        try:
            os.makedirs(self.directory, 0o700)
        except OSError:
            pass
        try:
            os.link(source, path)
        except OSError:
            standard("shutil").copyfile(source, path)

    def forget(self, step, output):
        """Remove a value; one that is not there does no harm."""
        try:
            os.unlink(self.path(step, output))
        except OSError:
            pass

    def clear(self):
        """Remove all of them."""
        if os.path.isdir(self.directory):
            standard("shutil").rmtree(self.directory, ignore_errors=True)


def _output(step, output):
    return "output %s of %s" % (output, step)
