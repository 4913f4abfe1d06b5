"""One call of one step: its context and inputs, its function, its outputs, and the events of all that.

Owns the inputs of a step and the handling of its outputs. Where values of other steps come from and
where its own go is the argument ``values``; whether a failed step is called again is said here, and done
by ``running``.
"""

from time import time

from runner_shim import plain_data
from runner_shim.definitions.plan import Constant, NodeOutput
from runner_shim.definitions.results import Failure, RetryRequested
from runner_shim.definitions.signature import call, parameters
from runner_shim.execution import outputs, run_failure
from runner_shim.execution.context import Context, Log
from runner_shim.execution.context import Resources as Attributes
from runner_shim.execution.copies import end_copy, getpid
from runner_shim.execution.resources import Resources
from runner_shim.loading.load_failure import LoadFailure

__all__ = ["Attempts", "Ended"]


class Ended:
    """How a call of a step ended: ``state`` is success, failure, retry or interrupted.

    ``outputs`` are the names of those that it gave; ``failure`` is data; ``wait`` are the seconds until
    it is to be called again.
    """

    FIELDS = ("state", "outputs", "failure", "wait")

    def __init__(self, state, outputs=(), failure=None, wait=None):
        self.state = state
        self.outputs = list(outputs)
        self.failure = failure
        self.wait = wait


class Attempts:
    """Calls the steps of ``checked`` (native.Checked), in this process.

    ``values`` has ``get(step, output)`` and ``put(step, output, value)``; ``is_given`` says whether the
    output that a NodeOutput names is there; ``taken`` are the (step, output) that others take.
    """

    def __init__(self, checked, events, values, is_given, taken):
        self._checked = checked
        self._events = events
        self._values = values
        self._is_given = is_given
        self._taken = taken
        self.resources = Resources(
            checked.resources,
            checked.resource_configs,
            lambda **fields: Context(**dict(self._common(), **fields)),
        )

    def call(self, step, number):
        """Call a step, for the ``number``-th time more; an Ended."""
        begun = time()
        try:
            kind, word = ("STEP_RESTARTED", "begins again") if number else ("STEP_START", "begins")
            data = {"retry": number} if number else None
            self._events(kind, step.key, "%s %s" % (step.key, word), data)
            given = self._call(step, number)
        except BaseException as error:  # sys.exit() in user code included
            return self._failed(step, number, error)
        data = {"seconds": time() - begun}
        self._events("STEP_SUCCESS", step.key, "%s has succeeded" % step.key, data)
        return Ended("success", given)

    def _call(self, step, number):
        context = self._context(step, number)
        arguments = self._arguments(step, context)
        process = getpid()
        try:
            found = call(step.definition.compute_fn, context, arguments)
            given = outputs.given(step, found)
        finally:
            end_copy(process, step.key)
        del found, arguments
        for name in step.outputs:
            if name in given:
                value, metadata = given[name]
                self._keep(step, name, value, context)
                metadata = dict(context.metadata_of(name), **plain_data.plain(metadata))
                self._tell_output(step, name, metadata)
        return [name for name in step.outputs if name in given]

    def _failed(self, step, number, error):
        failure = run_failure.of_step(error, step.key)
        data = {"failure": failure}
        if isinstance(error, Failure) and isinstance(error.metadata, dict) and error.metadata:
            data["metadata"] = error.metadata
        wait = None if isinstance(error, KeyboardInterrupt) else retry_after(step, number, error)
        if wait is not None:
            data.update(seconds=wait, retry=number + 1)
            self._events("STEP_UP_FOR_RETRY", step.key, failure["message"], data)
            return Ended("retry", failure=failure, wait=wait)
        self._events("STEP_FAILURE", step.key, failure["message"], data)
        state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failure"
        return Ended(state, failure=failure)

    # --- what goes in

    def _common(self):
        checked = self._checked
        return {
            "run_id": checked.order.get("run_id"),
            "job_name": checked.job_name,
            "job_config": checked.job_config,
            "run_config": checked.run_config,
            "tags": dict(checked.tags),
            "partition_key": checked.partition,
        }

    def _context(self, step, number):
        log = Log(self._events, step.key)
        values = {key: self.resources.value(key, log) for key in step.definition.resource_keys}
        return Context(
            op_name=step.definition.name,
            step_key=step.key,
            op_config=self._checked.configs[step.key],
            op_tags=dict(step.definition.common.get("tags", {})),
            asset_key=step.asset.name if step.asset is not None else None,
            resources=Attributes(step.key, values),
            retry_number=number,
            log=log,
            **self._common(),
        )

    def _arguments(self, step, context):
        found = dict(self._checked.given[step.key])
        for name, source in step.sources.items():
            if name in step.inputs:
                found[name] = self._value(source)
        for name, asset in step.kept.items():
            found[name] = self._kept(step, asset, context)
        if step.asset is not None:
            wanted = {one.name for one in parameters(step.definition.compute_fn)}
            for key in step.definition.resource_keys:
                if key in wanted:
                    found[key] = self.resources.value(key, context.log)
        return found

    def _value(self, source):
        if isinstance(source, Constant):
            return source.value
        if isinstance(source, NodeOutput):
            return self._values.get(source.node, source.output)
        found = [self._is_there(one) for one in source.sources]
        values = [self._value(one) for one, there in zip(source.sources, found) if there]  # noqa: B905
        if source.keys is None:
            return values
        keys = [key for key, there in zip(source.keys, found) if there]  # noqa: B905
        return dict(zip(keys, values))  # noqa: B905

    def _is_there(self, source):
        return not isinstance(source, NodeOutput) or self._is_given(source)

    # --- values of assets

    def _kept(self, step, asset, context):
        """The kept value of an asset, for ``step``."""
        if not asset.io_manager_key:
            return self._checked.values.get(asset.name, self._checked.partition_of(asset))
        load = self._of_manager(asset, "load_input", context.log)
        return load(self._of_value(step, asset, context))

    def _keep(self, step, name, value, context):
        asset = step.asset
        if (step.key, name) in self._taken:
            self._values.put(step.key, name, value)
        if asset is None:
            return
        if asset.io_manager_key:
            handle = self._of_manager(asset, "handle_output", context.log)
            told = self._of_value(step, asset, context)
            handle(told, value)
            context.add_output_metadata(told.metadata_of("result"))
        elif self._checked.values is not None:
            self._checked.values.put(asset.name, self._checked.partition_of(asset), value)

    def _of_manager(self, asset, name, log):
        """The function ``name`` of the io manager of an asset: an object's, or a dict's."""
        manager = self.resources.value(asset.io_manager_key, log)
        found = manager.get(name) if isinstance(manager, dict) else getattr(manager, name, None)
        if not callable(found):
            raise LoadFailure(
                "missing_resource",
                "resource %s, which keeps the value of asset %s, has no %s"
                % (asset.io_manager_key, asset.name, name),
                "have it return an object, or a dict, with handle_output(context, value) and "
                "load_input(context)",
            )
        return found

    def _of_value(self, step, asset, context):
        """What an io manager is told: the asset that the value is of, and its partition."""
        return Context(
            **dict(
                self._common(),
                asset_key=asset.name,
                partition_key=self._checked.partition_of(asset),
                step_key=step.key,
                op_name=step.definition.name,
                resources=context.resources,
                log=context.log,
            )
        )

    # --- what comes out

    def _tell_output(self, step, name, metadata):
        data = {"output": name}
        if metadata:
            data["metadata"] = metadata
        self._events("STEP_OUTPUT", step.key, "output %s" % name, data)
        if step.asset is None:
            return
        data = dict(data, asset_key=step.asset.path)
        del data["output"]
        if step.asset.partitions_def is not None:
            data["partition"] = self._checked.partition
        message = "%s is materialized" % step.asset.name
        self._events("ASSET_MATERIALIZATION", step.key, message, data)


def retry_after(step, number, error=None):
    """Seconds until a step that has failed is called again, or None when it is not.

    ``number`` retries were made; ``error`` is what it raised, None where its process died.
    """
    if isinstance(error, RetryRequested):
        return error.seconds_to_wait if number < error.max_retries else None
    policy = step.definition.retry_policy
    if policy is None or number >= policy.max_retries:
        return None
    if isinstance(error, Failure) and not error.allow_retries:
        return None
    return policy.seconds(number + 1)
