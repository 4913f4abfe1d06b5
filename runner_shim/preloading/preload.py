"""What a forkserver imports before it forks, and the judgement of each library by what it leaves.

Owns the preloading: only what is installed, each library judged once its import has ended, the whole
once more at the end. ``Preload`` begins where a fresh process would begin to load its target: what
is imported by then every process has. Refuses the team's own code: it changes, and a process that
has imported it cannot import it again. A library that cannot be preloaded is named with a reason and
left out, with those that import it, by the next forkserver: this one has imported it.
"""

import os
import sys

# All that a fresh process has imported when it begins to load.
from runner_shim import imported, masking
from runner_shim.frameworks import registry
from runner_shim.loading import load_failure, target  # noqa: F401
from runner_shim.preloading import checking, entries, hiding, recording
from runner_shim.process import request_loop  # noqa: F401

__all__ = ["Preload"]

_RARELY = 1000003  # objects made; a number that no library would choose

# Known to break in a child when imported before the fork: they start threads or open devices.
_NEVER = frozenset(
    [
        "tensorflow",
        "jax",
        "jaxlib",
        "torch_xla",
        "ray",
        "cupy",
        "pyspark",
        "gevent",
        "polars",
        "polars_lts_cpu",
    ]
)
_OURS = frozenset(["runner_shim.preloading"]) | frozenset(
    "runner_shim.preloading." + name
    for name in (
        *("checking", "effects", "entries", "hiding"),
        *("preload", "recording", "renewing", "watched"),
    )
)


class Preload(object):
    """Begins to record at once. ``begun(name)`` is called before each library is imported."""

    def __init__(self):
        self.begun = lambda name: None
        self.left_out = {}
        self._teams = imported.source_files()
        baseline = frozenset(sys.modules).difference(_OURS)
        self._libraries = checking.native_files()
        self._thresholds = _collect_rarely()
        self._recorder = recording.Recorder(baseline, self._refuse, self._begun)
        self._recorder.start()

    def why_unfit(self, descriptors):
        """Why nothing can be forked from this process, whatever is preloaded: a reason, or "".

        ``descriptors`` are the numbers of those that it was started with.
        """
        if self._teams:
            return (
                "%s, the team's own, is imported together with what is preloaded" % (self._teams[0])
            )
        return self._recorder.effects.why_unfit_from_the_start(descriptors)

    def add(self, names, left_out):
        """Import modules; ``left_out`` maps libraries that are known to be unfit to the reasons.

        Returns those that were imported, and those that their libraries do not have any more.
        """
        self.left_out.update(left_out)
        done, gone, installed = [], [], {}
        for name in names:
            library = entries.top(name)
            if library not in installed:
                installed[library] = (
                    library not in _NEVER
                    and library not in self.left_out
                    and _is_installed(library)
                )
            if not installed[library]:
                continue
            outcome = self._import(name, library)
            if outcome is not None:
                (done if outcome else gone).append(name)
        return done, gone

    def _import(self, name, library):
        """True: imported. False: there is no such module any more. None: it has to be left out."""
        import importlib

        new = name not in sys.modules
        if new:
            self.begun(name)
        try:
            importlib.import_module(name)
        except recording.LeftOut:
            return None
        except BaseException as error:  # a library that exits when imported must not end us
            missing = error.name if isinstance(error, ImportError) else None
            if missing and (name + ".").startswith(missing + "."):
                # Another version of the library does not have this module any more: no failure.
                return False
            text = ("%s: %s" % (type(error).__name__, error))[:300]
            self._recorder.left_out.setdefault(library, "cannot be imported (%s)" % text)
            return None
        if new:
            self._recorder.look_at(name)
        return True

    def judge(self):
        """Libraries that must be left out by the next forkserver, and why: ``{name: reason}``.

        When there are none everything is hidden, and ``hidden`` holds it.
        """
        self._recorder.look_at_all()
        try:
            for rehearsed in registry.rehearse(self.left_out):
                self._recorder.rehearsed(rehearsed)
        except recording.LeftOut:
            pass
        found = self._recorder.unfit()
        if not found:
            self._recorder.stop()
            masking.prepare()
            libraries = checking.native_files() - self._libraries
            self.hidden = hiding.Hidden(self._recorder, libraries)
            _freeze(self._thresholds)
        return found

    def _begun(self, name):
        self.begun(name)

    def _refuse(self, name, spec):
        if name in _NEVER:
            return "does not survive a fork"
        if name in self.left_out:
            return self.left_out[name]
        origin = spec.origin
        if (
            isinstance(origin, str)
            and spec.has_location
            and imported.is_user(origin)
            and imported.is_user(os.path.realpath(origin))
        ):
            return "is the team's own (%s)" % origin
        return None


def _is_installed(library):
    """True for a top-level module of the standard library or of an installed distribution."""
    if library in sys.builtin_module_names:
        return True
    from importlib.util import find_spec

    try:
        spec = find_spec(library)
    except (ImportError, ValueError):
        return False
    except recording.LeftOut:
        return False
    if spec is None:
        return False
    places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
    return bool(places) and not any(imported.is_user(os.path.realpath(one)) for one in places)


def _collect_rarely():
    """Look for cycles a few times while libraries are imported, not hundreds; the thresholds so far.

    Nearly all that an import makes stays: looking for what does not is an eighth of a large import.
    """
    import gc

    before = gc.get_threshold()
    gc.set_threshold(_RARELY, *before[1:])
    return before


def _freeze(thresholds):
    import gc

    if gc.get_threshold()[0] == _RARELY:  # else a library has chosen its own
        gc.set_threshold(*thresholds)
    if hasattr(gc, "freeze"):  # from Python 3.7
        gc.freeze()
    else:
        gc.collect()  # what is old is looked at less often, and stays shared for longer
