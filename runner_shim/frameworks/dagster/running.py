"""Running a job or assets of loaded Dagster definitions, in this process, in any release from 0.9.

Owns the one way that all releases share: the job (or the implicit one that has the assets), its subset,
the partition's config and tags, the executor that stays in this process, an instance, and the loop over
Dagster's own execution. No version is compared: what an object can do, and what arguments a function
has, is asked of it. Events go out as Dagster records them (``run_events``). What cannot be run is refused
before the instance is opened.
"""

import inspect
import os
import re
import uuid

from runner_shim import masking
from runner_shim.execution import interrupts, refusal
from runner_shim.execution.events import Events
from runner_shim.execution.refusal import Refusal
from runner_shim.frameworks.dagster import (
    console,
    instances,
    retrying,
    run_events,
    run_partitions,
)
from runner_shim.frameworks.dagster.assets import assets_by_key
from runner_shim.frameworks.dagster.instances import first
from runner_shim.frameworks.dagster.interrupts import Interrupts
from runner_shim.frameworks.dagster.read import asset_name, is_a, is_hidden_job
from runner_shim.loading.load_failure import near

__all__ = ["partition_keys", "prepare"]


_MOST_TRIES = 4  # of what other runs may do at the same time


def prepare(repositories, order):
    """What can run ``order`` (runner_shim.execution), or None where nothing has that name.

    Raises Refusal, and what Dagster raises about the definitions.
    """
    for repository in repositories:
        if order.get("repository") not in (None, repository.name):
            continue
        job, keys = _find(repository, order)
        if job is not None:
            return _Run(repository, job, keys, order)
    return None


def partition_keys(repositories, order):
    """All partition keys of the order's job or assets, [] without partitions; None: no such ones."""
    for repository in repositories:
        if order.get("repository") not in (None, repository.name):
            continue
        job, keys = _find(repository, order)
        if job is not None:
            what = _words(job, order)
            return run_partitions.keys_of(
                repository, job, keys, what, lambda: instances.opened(order)
            )
    return None


def _words(job, order):
    if order.get("assets") and not order.get("job"):
        return "the run of " + ", ".join(order["assets"][:3])
    return "job %s" % job.name


def _find(repository, order):
    """(job, asset keys or None) of an order; (None, None) where this repository has them not."""
    keys = None
    if order.get("assets"):
        keys = _asset_keys(repository, order["assets"])
        if keys is None:
            return None, None
    if not order.get("job"):
        return (None, None) if keys is None else (_asset_job(repository, keys), keys)
    name = order["job"]
    for has, get in (("has_job", "get_job"), ("has_pipeline", "get_pipeline")):
        if hasattr(repository, has) and getattr(repository, has)(name):
            return getattr(repository, get)(name), keys
    if hasattr(repository, "has_job_def") and repository.has_job_def(name):
        preset = repository.get_job_def(name)
        raise refusal.not_supported(
            "job %s is a preset of pipeline %s" % (name, preset.pipeline_name),
            hint="launch the pipeline, with the config of the preset",
        )
    return None, None


def _asset_keys(repository, names):
    jobs = _all_jobs(repository) if not hasattr(repository, "assets_defs_by_key") else ()
    known = {asset_name(key): key for key in assets_by_key(repository, jobs)}
    if not all(name in known for name in names):
        return None
    return [known[name] for name in names]


def _all_jobs(repository):
    for name in ("get_all_jobs", "get_all_pipelines"):
        if hasattr(repository, name):
            return getattr(repository, name)()
    return ()


def _asset_job(repository, keys):
    """The implicit job that can materialize these assets together."""
    for name in ("get_implicit_job_def_for_assets", "get_base_job_for_assets"):
        if hasattr(repository, name):
            found = getattr(repository, name)(keys)
            if found is not None:
                return found
            break
    else:
        for job in _all_jobs(repository):
            layer = getattr(job, "asset_layer", None)
            if is_hidden_job(job.name) and set(keys) <= set(getattr(layer, "asset_keys", ())):
                return job
    raise refusal.not_supported(
        "no one job has all of these assets: %s" % ", ".join(asset_name(key) for key in keys),
        hint="those of different partitions are launched apart",
    )


class _Run:
    """One run, checked; ``run`` may be called once."""

    def __init__(self, repository, job, keys, order):
        self._repository = repository
        self._order = order
        self._whole = job
        self._keys = keys
        self._what = _words(job, order)
        config, tags, self._mode = run_partitions.use(
            repository, job, keys, self._what, order, self._instance
        )
        self._config = dict(order.get("config") or config)
        self._tags = dict(tags, **dict(_of_run(job), **(order.get("tags") or {})))
        self._job, self._executor = _in_process(job, self._config)
        self._loaded_arguments = ()
        self._selection = self._subset()
        self._plan = self._make_plan()

    # --- checking

    def _subset(self):
        """Narrow the job to the ops or assets of the order; what a run has to be told of it."""
        ops = self._order.get("op_selection") or None
        keys = frozenset(self._keys) if self._keys else None
        if not ops and not keys:
            return {}
        try:
            if hasattr(self._job, "get_subset"):
                self._job = self._job.get_subset(op_selection=ops, asset_selection=keys)
                return {"op_selection": ops, "asset_selection": keys}
            if hasattr(self._job, "get_job_def_for_subset_selection"):
                self._job = self._job.get_job_def_for_subset_selection(ops, keys)
                return {"solid_selection": ops, "asset_selection": keys}
            names = first("selector.parse_solid_selection")(self._job, ops)
            self._job = self._job.get_pipeline_subset_def(names)
        except Exception as error:
            refused = ("DagsterInvalidSubsetError", "DagsterInvalidDefinitionError")
            if not is_a(error, *refused[: 1 if ops else 2]):
                raise
            raise self._bad_selection(ops, " ".join(str(error).split()))
        # The oldest wrapper of a job is told of the selection, too.
        self._loaded_arguments = (ops, names)
        return {"solids_to_execute": names, "solid_selection": ops}

    def _bad_selection(self, ops, said):
        if not ops:
            return refusal.not_supported("%s cannot be run: %s" % (self._what, said))
        nodes = [node.name for node in _nodes(self._whole)]
        unknown = [name for name in ops if re.match(r"\w+$", name) and name not in nodes]
        if not unknown:
            return Refusal("unknown_op", said)
        said = "%s has no op named %s" % (self._what, ", ".join(map(repr, unknown[:10])))
        return Refusal("unknown_op", said, hint=near(unknown[0], nodes))

    def _make_plan(self):
        """Dagster's plan, which it makes of a config that fits alone."""
        function = first("execution.api.create_execution_plan")
        named = dict(self._common(), tags=self._all_tags())
        try:
            plan = _called(function, self._job, **named)
        except Exception as error:
            if not is_a(error, "DagsterInvalidConfigError"):
                raise
            raise _misfit(self._what, error)
        earlier = self._order.get("from_failure")
        if not earlier:
            return plan
        with self._instance() as instance:
            keys, known = retrying.rest(instance, plan, earlier)
        if not keys:
            raise Refusal("nothing_to_retry", "run %s has no step left to run" % earlier["run"])
        return _called(
            function, self._job, step_keys_to_execute=list(keys), known_state=known, **named
        )

    def _ancestors(self):
        """What Dagster is told of the run that this one goes on with."""
        earlier = self._order.get("from_failure")
        if not earlier:
            return {}
        return {"parent_run_id": earlier["run"], "root_run_id": earlier["root"]}

    def _common(self):
        return {"run_config": self._config, "mode": self._mode}

    def _all_tags(self):
        return {str(key): str(value) for key, value in self._tags.items()}

    # --- running

    def _instance(self):
        return instances.opened(self._order)

    def rehearse(self):
        """Open what the runs need that are forked from here."""
        instances.keep(self._order)

    def run(self, emit):
        """Run to the end; ``{"state", "failure"}`` as ``runner_shim.execution.execute``."""
        # What user code asks Dagster for is this run's instance: never another that happens to be named.
        os.environ.pop("DAGSTER_HOME", None)
        if self._order.get("instance"):
            os.environ["DAGSTER_HOME"] = self._order["instance"]
        events = _Told(Events(emit))
        with console.without_events(), self._instance() as instance:
            run_id = self._order.get("run_id") or str(uuid.uuid4())
            instance.add_event_listener(run_id, events)  # before: what is planned is told, too
            run = _created(
                instance,
                self._job,
                execution_plan=self._plan,
                run_id=run_id,
                run_config=self._config,
                tags=self._all_tags(),
                **dict(self._selection, **self._ancestors()),
            )
            self._plan = None
            getattr(emit, "recorded", _nobody)("dagster")
            if self._executor:
                message = "%s is not used: the steps run in this process" % self._executor
                events.tell("ENGINE_EVENT", None, message)
            try:
                with Interrupts(instance, run.run_id):
                    for _event in self._iterator(run, instance):
                        pass
            except (Exception, KeyboardInterrupt):
                if events.failure is None:  # else it is recorded; old releases raise it as well
                    raise
            interrupts.too_late()
            status = instance.get_run_by_id(run.run_id).status
        if getattr(status, "value", status) == "SUCCESS":
            return {"state": "success", "failure": None}
        return {"state": "failure", "failure": events.failure or _unexplained(status)}

    def _iterator(self, run, instance):
        base = first(
            "definitions.job_base.InMemoryJob", "definitions.pipeline_base.InMemoryPipeline"
        )
        repository = self._repository

        class Loaded(base):
            # What asks a job for its repository (an asset that loads another) gets the loaded one.
            def get_repository_definition(self):
                return repository

        loaded = Loaded(self._job, *self._loaded_arguments)
        return first("execution.api.execute_run_iterator")(loaded, run, instance)


class _Told:
    """The listener of an instance: tells what it records, and keeps the first failure."""

    def __init__(self, tell):
        self.tell = tell
        self.failure = None

    def __call__(self, record):
        kind, step, message, data, at = run_events.told(record)
        self.tell(kind, step, message, data, at)
        if self.failure is None and kind in ("STEP_FAILURE", "RUN_FAILURE", "RUN_CANCELED"):
            self.failure = (data or {}).get("failure")


def _nobody(_name):
    """Called when the run is recorded, where no other callback is given."""


def _unexplained(status):
    word = str(getattr(status, "value", status))
    return {"kind": "exception", "message": "dagster ended the run as %s" % word}


# --- what differs from release to release


def _created(instance, job, **named):
    """The record of a new run.

    Runs that begin at once record the same job, and old releases leave that to the database to refuse.
    """
    create = getattr(instance, "create_run_for_job", None) or instance.create_run_for_pipeline
    for _ in range(_MOST_TRIES):
        try:
            return _called(create, job, **named)
        except Exception as error:
            if type(error).__name__ != "IntegrityError":
                raise
    return _called(create, job, **named)


def _called(function, first, **named):
    """Call with ``first`` and those of ``named`` that the function has."""
    known = inspect.signature(function).parameters
    return function(first, **{key: value for key, value in named.items() if key in known})


def _of_run(job):
    tags = getattr(job, "run_tags", None)
    return dict(tags if tags is not None else job.tags or {})


def _nodes(job):
    for name in ("nodes", "solids"):
        if hasattr(job, name):
            return getattr(job, name)
    return ()


def _in_process(job, config):
    """(the job with an executor that stays in this process, the name of one that is not used)."""
    if hasattr(job, "with_executor_def"):
        used = getattr(getattr(job, "executor_def", None), "name", "")
        try:
            executor = first("definitions.executor_definition.execute_in_process_executor")
        except Refusal:
            executor = instances.dagster().in_process_executor
        ours = ("in_process", "multi_or_in_process_executor", "")
        return job.with_executor_def(executor), "" if used in ours else "executor " + used
    mode = job.get_default_mode() if hasattr(job, "get_default_mode") else None
    names = [one.name for one in getattr(mode, "executor_defs", ())]
    given = config.get("execution") or {}
    if "in_process" in names:
        if "in_process" not in given:
            config["execution"] = {"in_process": {}}
        other = [name for name in given if name != "in_process"]
        return job, "executor " + other[0] if other else ""
    return job, ""


# --- config that does not fit


def _misfit(what, error):
    problems = []
    for one in error.errors:
        message = " ".join(one.message.split())
        path = _path_of(one)
        match = re.search(r'(?:Expected:|expected type) "?(.+?)"?\.?$', message)
        expected = match.group(1) if match else "a value" if "Missing" in message else message
        if masking.is_secret_name(path.rpartition(".")[2]):
            message = "%s: %s is expected" % (path, expected)  # Dagster's has the value
        problems.append({"path": path, "expected": expected, "message": message})
    others = "; ".join(one["message"] for one in problems[1:6])
    return Refusal(
        "run_config",
        "the config does not fit %s: %s"
        % (what, problems[0]["message"] if problems else " ".join(str(error).split())),
        hint="%d more: %s" % (len(problems) - 1, others) if others else None,
        problems=problems,
    )


def _path_of(error):
    entries = getattr(error.stack, "entries", ())
    names = [getattr(one, "field_name", getattr(one, "list_index", None)) for one in entries]
    field = getattr(error.error_data, "field_name", None)
    return ".".join(str(name) for name in names + [field] if name is not None)
