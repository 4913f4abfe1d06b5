"""Dagster's own client and launcher, in an environment of a current Dagster, told what to do in lines.

Usage: ``python dagster_host.py HOME``. A line is a JSON list: a name of a function below and its
arguments; the answer is a line, too: ``{"result": …}`` or ``{"error": text}``.
"""

import json
import os
import sys
import time
import warnings

warnings.simplefilter("ignore")
home = sys.argv[1]
os.environ["DAGSTER_HOME"] = home
os.makedirs(home, exist_ok=True)
with open(os.path.join(home, "dagster.yaml"), "a"):
    pass

from dagster import DagsterInstance, __version__  # noqa: E402
from dagster._core.workspace.context import WorkspaceProcessContext  # noqa: E402
from dagster._core.workspace.load_target import GrpcServerTarget  # noqa: E402
from dagster._grpc.client import DagsterGrpcClient  # noqa: E402

instance = DagsterInstance.get()
ENDED = ("SUCCESS", "FAILURE", "CANCELED")


def _location(socket):
    """Of the server at a socket, or at a port of this machine."""
    port = socket if isinstance(socket, int) else None
    target = GrpcServerTarget(
        host="localhost",
        port=port,
        socket=None if port else socket,
        location_name=_name(socket),
    )
    context = WorkspaceProcessContext(instance, target)
    request = context.create_request_context()
    return context, request, request.get_code_location(_name(socket))


def _name(socket):
    return os.path.basename(str(socket))


def version():
    return __version__


def ping(socket):
    return DagsterGrpcClient(socket=socket).ping("hello")["echo"]


def server_id(socket):
    return DagsterGrpcClient(socket=socket).get_server_id()


def listed(socket):
    """``{repository: [jobs, assets]}``."""
    context, _request, location = _location(socket)
    with context:
        return {
            name: [
                sorted(job.name for job in repository.get_all_jobs()),
                sorted(node.key.to_user_string() for node in repository.asset_graph.asset_nodes),
            ]
            for name, repository in location.get_repositories().items()
        }


def launch(socket, repository, job, config):
    """The id of a run that was launched as the webserver and the daemon do."""
    context, request, location = _location(socket)
    with context:
        found = location.get_repository(repository)
        remote = found.get_full_job(job)
        plan = location.get_execution_plan(remote, config, None, None)
        run = instance.create_run(
            job_name=job,
            run_id=None,
            run_config=config,
            resolved_op_selection=None,
            step_keys_to_execute=None,
            status=None,
            tags={},
            root_run_id=None,
            parent_run_id=None,
            job_snapshot=remote.job_snapshot,
            execution_plan_snapshot=plan.execution_plan_snapshot,
            parent_job_snapshot=None,
            remote_job_origin=remote.get_remote_origin(),
            job_code_origin=remote.get_python_origin(),
            asset_selection=None,
            asset_check_selection=None,
            op_selection=None,
            asset_graph=found.asset_graph,
        )
        instance.launch_run(run.run_id, request)
        return run.run_id


def status(run):
    return instance.get_run_by_id(run).status.value


def until(run, wanted):
    """Wait for the end, or for a status; the status."""
    deadline = time.monotonic() + 90
    while status(run) not in (*ENDED, wanted) and time.monotonic() < deadline:
        time.sleep(0.05)
    return status(run)


def events(run):
    """``[type, step, message]`` of what was recorded."""
    found = instance.all_logs(run)
    return [
        [
            one.dagster_event_type.value if one.dagster_event else "LOGS",
            one.step_key,
            one.user_message,
        ]
        for one in found
    ]


def can_cancel(socket, run):
    from dagster._grpc.types import CanCancelExecutionRequest

    answer = DagsterGrpcClient(socket=socket).can_cancel_execution(
        CanCancelExecutionRequest(run_id=run), timeout=20
    )
    return json.loads(answer)["can_cancel"]


def current_runs(socket):
    return json.loads(DagsterGrpcClient(socket=socket).get_current_runs())["current_runs"]


def terminate(run):
    return instance.run_launcher.terminate(run)


def reload(socket):
    DagsterGrpcClient(socket=socket).reload_code(timeout=100)


for line in sys.stdin:
    try:
        function, *arguments = json.loads(line)
        answer = {"result": globals()[function](*arguments)}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print("\n@" + json.dumps(answer), flush=True)
os._exit(0)
