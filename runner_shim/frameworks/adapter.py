"""The contract between the shim and a framework: the class that an adapter is a subclass of.

Owns the names, the arguments and the results of what is asked of a framework; tests hold every
registered adapter to them (tests/shim/frameworks/test_adapters.py). Decides nothing itself.

An adapter is asked in this order, in the main thread, by one caller at a time::

    before_import       before the target is imported, in every load      (early)
    load_folder         a folder of definitions, before its submodules    (early)
    loaded              whether the framework is there; then one of
      discover          a module's members
      from_attribute    one named object
      autoload          a package whose submodules are imported
    collect, files      what was found, as data; once a load
    describe            one definition, at any time later
    prepare, tick       optional: doing something with what was found
    report              optional: how a run ended, in a process that has loaded nothing
      serve, proceed    optional: a server of the framework's own, and the runs that it hands over

Asked apart from that: ``version``; ``judge``, ``hint`` and ``failure_files`` of a load that failed;
``rehearse`` in a forkserver.

The rules:

* Importing the module of an adapter imports nothing of its framework. But for the methods marked
  *early*, which the registry lists, an adapter is imported only once its framework has been.
* No version is compared: what an object can do is asked of the object.
* Results are plain data: None, bool, int, float, str, list, dict with string keys (``plain_data``
  makes them of whatever a definition carries). Same definitions, same data, in the same order, in
  any Python version and on any day: no addresses, no times, no absolute paths.
* What was found (``roots``) is the adapter's own, and opaque to everybody else.
* A target that is refused raises LoadFailure, with a kind of docs/snapshot.md "Load failures". What
  the framework or user code raises is left as it is: the caller judges it, with ``judge``.
* One definition that cannot be read does not sink the others: it is warned of.

``warn(code, message, hint=None, file=None, line=None)`` takes a warning for the report: a code, one
sentence that names the definition, and a remedy.
"""

__all__ = ["Adapter"]


class Adapter(object):
    """One framework. A subclass has ``name``, ``loaded``, ``version``, ``discover``,
    ``from_attribute``, ``collect`` and ``describe``; the others may stay as they are here."""

    #: The framework's name, as reports have it: lower case.
    name = ""

    # --- before the framework is imported (early)

    def before_import(self, target):
        """Prepare the process for the import of ``target``: variables, a private directory, a switch.

        ``target`` is the dict that ``loading.target.load`` was given, and stays as it is. The working
        directory has been entered. Whether the framework is installed, or wanted, is not known. It
        is not imported here, unless it is installed and the target's own text speaks of it
        (``loading.autoload.speaks_of``): a location without it must not pay for it.
        """

    def load_folder(self, module, warn):
        """The roots of a folder of definitions by the framework's own loader, or None to leave it.

        ``module`` is the folder's package, whose submodules have not been imported: when roots are
        returned they are the loader's business. As in ``before_import``, the framework is imported
        only for a folder that speaks of it.
        """
        return None

    # --- what the framework is

    def loaded(self):
        """True when the framework has been imported, and is the framework: not a namesake."""
        raise NotImplementedError

    def version(self):
        """The framework's version as it says itself, "" where it does not."""
        raise NotImplementedError

    # --- finding: roots, or None when there is nothing of the framework

    def discover(self, members, module_name, warn):
        """The roots among ``members``: (name, value) pairs of a module, sorted by name.

        Values are anything; no method of theirs may be called to find out what they are. An object
        that is there under several names counts once. Raises LoadFailure ``ambiguous_definitions``
        where the framework wants one object and there are several.
        """
        raise NotImplementedError

    def from_attribute(self, value, name, module_name, warn):
        """The roots in one object: what the operator named as ``attribute``, or what it returned."""
        raise NotImplementedError

    def autoload(self, module, warn):
        """The roots of a package and all its submodules together; they are in ``sys.modules``."""
        return None

    # --- data

    def collect(self, roots, warn):
        """``(repositories, definitions, sources)`` of what was found, as docs/snapshot.md has them.

        Two lists of dicts, and a dict of ``[file, line]`` by key; the caller sorts and masks. A
        lazy definition is listed by name, with ``lazy: True``, and not constructed. Raises
        LoadFailure for definitions that are wrong.
        """
        raise NotImplementedError

    def describe(self, roots, kind, name, repository=None):
        """``(definition, [file, line] or None)`` of one, made when it is lazy; None: no such one.

        As ``collect`` would give it. Without ``repository`` the first of that kind and name.
        """
        raise NotImplementedError

    def files(self, roots):
        """Absolute paths of files that are no modules and decide what is defined: a reload waits."""
        return []

    # --- failures

    def judge(self, exception):
        """``(kind, sentence)`` for an exception that the framework raised about a definition.

        None for all others. ``kind`` is one of docs/snapshot.md "Load failures".
        """
        return None

    def hint(self, error):
        """A remedy for an exception that the framework, or a library of it, raised; or None."""
        return None

    def failure_files(self, directory):
        """Absolute paths of files below ``directory`` that may be at fault and are no modules."""
        return []

    # --- forking

    def rehearse(self):
        """Do once, in a forkserver, what every load does first: what it fills is shared by all.

        Leaves nothing behind but caches: no thread, no descriptor, no file. Raises nothing.
        """

    def rehearse_run(self):
        """Do once, in the process that runs are forked from, what every run does first.

        Leaves nothing behind but imported modules and caches. Raises nothing.
        """

    def rehearse_run_early(self):
        """As ``rehearse_run``, in a forkserver, where all that it imports has been imported. False: not done."""
        return False

    # --- runs: None where the framework's definitions can be looked at only

    prepare = None
    """``prepare(roots, order)`` checks an order to run something and returns what can run it.

    ``order`` is a plain dict: ``run_id``, ``job`` (a name) or ``assets`` (a list of names), and where
    given ``repository``, ``config``, ``tags``, ``partition_key``, ``op_selection``. Returns None when
    nothing of that name is among the roots; raises LoadFailure for an order that cannot be run, and
    nothing of it was. What is returned has ``run(emit)``, called once, in the process of the run:
    ``emit(event)`` takes a plain dict with ``type``, ``step`` (a name or None), ``time`` (seconds
    since 1970), ``message`` and ``data`` (plain or None), and may block. Where ``emit`` has a method
    ``recorded(name)``, it is told the adapter's name once the framework's own records know of the run,
    so that they can be told of its end (``report``). ``run`` returns
    ``{"state": "success" | "failure", "failure": data or None}``; the data is a LoadFailure's
    ``as_data()``. Where it has ``rehearse()``, that is called in the process that the run is forked
    from: it opens what all runs of this order need, leaves no descriptor, and raises nothing.
    """

    report = None
    """``report(order, state, reason)`` tells the framework's own records how a run has ended.

    Asked where the run could not say so itself: it was killed, or is lost. ``order`` is as for
    ``prepare``; ``state`` is ``cancelled``, ``failure``, ``timed_out`` or ``lost``, ``reason`` a sentence.
    It is asked in a short process of the team's environment, in the target's working directory; nothing
    is loaded there, and the framework is not imported yet. A run that its records do not know, or know
    to have ended, is left alone. Returns None; raises whatever the framework raises: it is asked again.
    """

    partition_keys = None
    """``partition_keys(roots, order)``: all partition keys of the order's job or assets, in order.

    [] for what has no partitions, None when nothing of that name is among the roots.
    """

    tick = None
    """``tick(roots, order)`` evaluates one schedule or sensor, and launches nothing.

    ``order`` is a plain dict: ``name``, and where given ``kind``, ``repository``, ``time`` (seconds since
    1970), ``offset`` (seconds, of the clock on the wall at that time), ``cursor``, ``last_run_key``,
    ``last_tick`` (seconds since 1970), and ``instance`` and ``shared_instance`` as for ``prepare``. Returns
    what ``runner_shim/execution/ticks.py`` says; None when nothing of that name is among the roots. It is
    called in a process of its own, which ends after it.
    """

    plain_tick = None
    """As ``tick``, called in the shim: None for one that calls a function of the team's, too."""

    # --- a server of the framework's own: None where it has none

    def prepare_server(self):
        """Import what the server is made of, in the process that it is forked from. Raises nothing."""

    def warm_server(self):
        """Do there once what the server's calls and runs do first, once there is time. Raises nothing."""

    serve = None
    """``serve(order, line)`` is the framework's own server for what was loaded, until it ends.

    Called in the server's own process, in the main thread. ``order`` is a plain dict: ``socket`` (the
    path to serve at), ``server_id``, ``location`` and ``target`` (as ``loading.target.load`` was given
    it). ``line`` is a ``runner_shim.process.code_server.Line``: ``line.say("up")`` once it serves;
    ``line.ask("run", descriptors, run=…, job=…)`` hands a process over to be a run (execution/handing.py);
    ``line.listen`` tells when to ``retire``, and of each ``ping`` that ``pong`` answers. Returns the
    exit status. Raises LoadFailure where this release has no such server.
    """

    proceed = None
    """``proceed(order, emit, copy, be)`` runs what a server handed over, to its end.

    Called in the run's process. ``be()`` is the process that was handed over. ``copy()``, called before it
    and before there are threads, makes the copy of this process that the processes of steps are forked
    from, and returns the ``hand`` of an ``execution.handing.Context``. ``emit`` and the outcome are those
    of ``prepare``; None where the run has ended and its framework's records do not know.
    """
