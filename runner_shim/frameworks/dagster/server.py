"""Dagster's own gRPC server, for what this process has loaded, in any release from 0.15.

Owns what is changed in it: its processes are handed over instead of started, questions about runs and
the order to reload go to the supervisor, it opens no instance, and it ends when it is told to. Started by
Dagster's own command line, in-process: the one interface that all releases share; modules are found
where the load has left them. No version is compared. What the runs do is ``handed``'s.
"""

import importlib
import os
import signal
import threading
import time

from runner_shim.execution import handing
from runner_shim.frameworks.dagster import instances, served
from runner_shim.loading.load_failure import LoadFailure

__all__ = ["prepare", "serve", "warm"]

_KINDS = {
    "python_file": "--python-file",
    "python_module": "--module-name",
    "python_package": "--package-name",
    "autoload_defs_module": "--autoload-defs-module-name",
}
# A client that has just read where the stable path leads still reaches a server that is replaced; calls
# that are under way then have so long (seconds).
_LINGER = 2.0
_CALLS = 300.0
_CHECK_SECONDS = 30.0
_AGAIN = 15.0  # between tries to read from an instance (seconds)
_MOST_TEXT = 32 * 1024


def prepare():
    """Import what a server is made of; what cannot be imported is left to it."""
    _import(served.OF_THE_SERVER)


def warm():
    """Import what is used with an instance, and run one small job."""
    from runner_shim.frameworks.dagster import rehearsal

    _import(served.OF_INSTANCES)
    rehearsal.rehearse_run()


def _import(names):
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:  # this release, or this environment, has it not
            continue


def serve(order, line):
    """See ``Adapter.serve``."""
    try:
        from dagster._cli import api
        from dagster._grpc import server as module
    except ImportError as error:
        raise LoadFailure(
            "unsupported",
            "this dagster is too old for dagster's own page, which needs 0.15 or later: %s" % error,
        )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    changed = _Changed(module, order, line)
    changed.install()
    threading.Thread(target=line.listen, args=(changed.told,), daemon=True).start()
    command = api.grpc_command
    command.main(
        args=_arguments(command, order), prog_name="dagster api grpc", standalone_mode=False
    )
    return 0


def _arguments(command, order):
    """Those of the options that this release's command has."""
    target = order["target"]
    options = [
        ("--socket", order["socket"]),
        (_KINDS[target["kind"]], target["name"]),
        ("--working-directory", target["working_directory"]),
        ("--attribute", target.get("attribute")),
        ("--fixed-server-id", order["server_id"]),
        ("--location-name", order["location"]),
    ]
    known = {name for parameter in command.params for name in parameter.opts}
    return [
        word for option, value in options if value and option in known for word in (option, value)
    ]


class _Changed(object):
    """What is changed in the server's ``module``, for this process."""

    def __init__(self, module, order, line):
        self._module = module
        self._order = order
        self._line = line
        self._servicer = self._server = None
        self._wanted = threading.local()
        self._pb2 = getattr(module, "dagster_api_pb2", None) or module.api_pb2
        self._checks_failed = 0
        self._checking = threading.Event()

    def install(self):
        _without_instance()
        servicer = self._module.DagsterApiServer
        self._wrap(servicer, "__init__", self._made)
        self._wrap(servicer, "StartRun", self._start_run)
        self._wrap(servicer, "_check_for_orphaned_runs", self._check_runs)
        self._wrap(self._module.DagsterGrpcServer, "serve", self._serving)
        servicer.CancelExecution = lambda _self, request, context: self._cancel(request)
        servicer.CanCancelExecution = lambda _self, request, context: self._can_cancel(request)
        if hasattr(self._pb2, "GetCurrentRunsReply"):
            servicer.GetCurrentRuns = lambda _self, request, context: self._current_runs()
        if hasattr(self._pb2, "ReloadCodeReply"):
            servicer.ReloadCode = lambda _self, request, context: self._reload()

    def _wrap(self, owner, name, around):
        original = getattr(owner, name)

        def changed(*arguments, **named):
            return around(original, *arguments, **named)

        changed.__name__ = name
        setattr(owner, name, changed)

    # --- its life

    def _made(self, original, servicer, *arguments, **named):
        original(servicer, *arguments, **named)
        servicer._mp_ctx = handing.Context(servicer._mp_ctx, self._hand)
        self._servicer = servicer

    def _serving(self, original, server):
        self._server = server.server
        start = server.server.start

        def started():
            start()
            threading.Thread(target=self._check, daemon=True).start()
            threading.Thread(target=self._heed, daemon=True).start()
            self._line.say("up")

        server.server.start = started
        return original(server)

    def told(self, word):
        """What the shim says."""
        if word == "ping":
            self._line.say("pong", failed=self._checks_failed)
            self._checking.set()
        elif word == "retire":
            threading.Thread(target=self._retire, daemon=True).start()

    def _retire(self):
        """End once all calls are answered; runs go on without this process."""
        time.sleep(_LINGER)
        servicer = self._servicer
        if self._server is None:
            os._exit(0)
        self._server.stop(_CALLS).wait()
        with servicer._execution_lock:
            for run in list(servicer._executions):
                servicer._clear_run(run)
        servicer._shutdown_once_executions_finish_event.set()

    def _check(self):
        """Ask what clients ask, over the same socket, and count how often it was not answered."""
        import grpc

        channel = grpc.insecure_channel("unix:" + self._order["socket"])
        ask = channel.unary_unary("/grpc.health.v1.Health/Check")
        unanswered = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
        while True:
            self._checking.wait()
            self._checking.clear()
            try:
                ask(b"", timeout=_CHECK_SECONDS)
                self._checks_failed = 0
            except grpc.RpcError as error:  # to be told that it knows no such service is an answer
                self._checks_failed = self._checks_failed + 1 if error.code() in unanswered else 0

    # --- runs

    def _start_run(self, original, servicer, request, context):
        arguments = instances.deserialized(request.serialized_execute_run_args)
        origin = getattr(arguments, "job_origin", None) or arguments.pipeline_origin
        repository = getattr(origin, "repository_origin", None) or origin.external_repository_origin
        self._wanted.run = {
            "run": getattr(arguments, "run_id", None) or arguments.pipeline_run_id,
            "job": getattr(origin, "job_name", None) or origin.pipeline_name,
            "repository": repository.repository_name,
            "instance": _bounded(_written(arguments.instance_ref)),
        }
        return original(servicer, request, context)

    def _hand(self, descriptors):
        answer = self._line.ask("run", descriptors, **self._wanted.run)
        if not answer.get("started"):
            raise OSError(answer.get("error") or "the run was not started")
        return 0

    def _check_runs(self, original, servicer):
        """Dagster's own look for runs that ended without a word opens their instance, each time. Their
        monitors tell it."""
        with servicer._execution_lock:
            for run, (process, _reference) in list(servicer._executions.items()):
                if not process.is_alive():
                    servicer._clear_run(run)
        original(servicer)

    def _cancel(self, request):
        types = _types()
        run = instances.deserialized(request.serialized_cancel_execution_request).run_id
        try:
            answer = self._line.ask("cancel", run=run)
        except OSError as error:
            answer = {"done": False, "error": str(error)}
        result = types.CancelExecutionResult(
            success=bool(answer.get("done")),
            message=answer.get("error"),
            serializable_error_info=None,
        )
        return self._pb2.CancelExecutionReply(serialized_cancel_execution_result=_written(result))

    def _heed(self):
        """Cancel runs whose cancellation Dagster noted while clients found no server: it asks once."""
        try:
            waiting = {}
            for run in self._line.ask("unheard").get("runs", []):
                text = self._line.ask("instance", run=run).get("instance")
                waiting.setdefault(text, []).append(run)
            waiting.pop(None, None)
            while waiting:
                for text, runs in list(waiting.items()):
                    try:
                        noted = instances.being_cancelled(text, runs)
                    except Exception:  # a database that is away
                        continue
                    del waiting[text]
                    for run in noted:
                        self._line.ask("cancel", run=run)
                if waiting:
                    time.sleep(_AGAIN)
        except OSError:
            pass  # the supervisor is gone, or the process of the location

    def _can_cancel(self, request):
        types = _types()
        run = instances.deserialized(request.serialized_can_cancel_execution_request).run_id
        try:
            answer = self._line.ask("can_cancel", run=run)
        except OSError:
            answer = {}
        result = types.CanCancelExecutionResult(can_cancel=bool(answer.get("can")))
        return self._pb2.CanCancelExecutionReply(
            serialized_can_cancel_execution_result=_written(result)
        )

    def _current_runs(self):
        """Those of the location, whichever of its servers they were asked of."""
        try:
            runs = self._line.ask("current_runs").get("runs", [])
        except OSError:
            runs = []
        result = _types().GetCurrentRunsResult(current_runs=runs, serializable_error_info=None)
        return self._pb2.GetCurrentRunsReply(serialized_current_runs=_written(result))

    def _reload(self):
        """The button of Dagster's page. A load that fails is no failure of this: what was good stays."""
        try:
            self._line.ask("reload")
        except OSError:
            pass  # another server answers by now
        return self._pb2.ReloadCodeReply()


def _without_instance():
    """To open an instance takes seconds, and the server needs it for Dagster+ alone."""
    from dagster._cli import utils

    if not hasattr(utils, "get_instance_for_cli"):
        return
    from dagster._core.errors import DagsterError

    def get_instance_for_cli(*_arguments, **_named):
        raise DagsterError("the server has no instance: each call brings its own")

    utils.get_instance_for_cli = get_instance_for_cli


# --- what differs from release to release


def _types():
    from dagster._grpc import types

    return types


def _written(value):
    from dagster import _serdes

    if value is None:
        return None
    if hasattr(_serdes, "serialize_value"):
        return _serdes.serialize_value(value)
    return _serdes.serialize_dagster_namedtuple(value)


def _bounded(text):
    return text if text is not None and len(text) <= _MOST_TEXT else None
