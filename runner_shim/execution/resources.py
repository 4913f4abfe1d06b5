"""The resources of one process of a run: made when a step first needs them, torn down at the end.

Owns when the functions of resources are called. A function that yields is a resource with a teardown:
what follows its ``yield`` runs when the steps have ended, however they did, in the reverse order of
making. A teardown that raises is told, and the others still run.
"""

from runner_shim.definitions.signature import call_with_context, is_async_result, is_generator
from runner_shim.definitions.triggers import ResourceDefinition
from runner_shim.execution import run_failure
from runner_shim.execution.steps import REMEDY
from runner_shim.loading.load_failure import LoadFailure

__all__ = ["Resources"]


class Resources:
    """``defined`` are values and ResourceDefinitions by key, ``configs`` the checked config of each.

    ``context(**fields)`` makes the context of a resource's function.
    """

    def __init__(self, defined, configs, context):
        self._defined = defined
        self._configs = configs
        self._context = context
        self._made = {}
        self._open = []  # (key, generator), the oldest first

    def value(self, key, log):
        """The value of a resource; raises what its function raises."""
        if key not in self._made:
            value = self._defined[key]
            if isinstance(value, ResourceDefinition):
                value = self._make(key, value, log)
            self._made[key] = value
        return self._made[key]

    def _make(self, key, resource, log):
        context = self._context(resource_config=self._configs[key], log=log)
        function = resource.resource_fn
        value = call_with_context(function, context)
        if is_async_result(value):
            raise LoadFailure(
                "not_supported",
                "resource %s returned a %s, which runs do not await" % (key, type(value).__name__),
                REMEDY,
            )
        if hasattr(type(value), "gi_code") and is_generator(function):
            generator = value
        elif is_generator(function) and hasattr(type(value), "__exit__"):  # @contextmanager
            generator = _entered(value)
        else:
            return value
        try:
            value = next(generator)
        except StopIteration:
            raise LoadFailure(
                "exception", "resource %s has not yielded its value" % key, "yield it once"
            )
        self._open.append((key, generator))
        return value

    def tear_down(self, events):
        """End all that was made; the failure of the first that raised, as data, or None.

        An interrupt does not keep the others from their end; it is raised when they have had it.
        """
        first = interrupt = None
        while self._open:
            key, generator = self._open.pop()
            try:
                _end(key, generator)
            except BaseException as error:
                failure = dict(run_failure.of_step(error, None), resource=key)
                message = "the teardown of resource %s has failed: %s" % (key, failure["message"])
                failure["message"] = message
                events("ENGINE_EVENT", None, message, {"failure": failure})
                first = first or failure
                if isinstance(error, KeyboardInterrupt):
                    interrupt = error
        self._made.clear()
        if interrupt is not None:
            raise interrupt
        return first


def _entered(manager):
    with manager as value:
        yield value


def _end(key, generator):
    try:
        next(generator)
    except StopIteration:
        return
    generator.close()
    raise LoadFailure("exception", "resource %s has yielded twice" % key, "yield it once")
