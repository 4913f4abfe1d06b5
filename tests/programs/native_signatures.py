"""Ops, assets and resources whose functions are no plain ones, as teams write them."""

import contextlib
import functools

from runner_shim import Definitions, RetryRequested, asset, job, op, resource


def timed(function):
    """A decorator that hands on whatever it gets."""

    @functools.wraps(function)
    def wrapper(*given, **named):
        return function(*given, **named)

    return wrapper


def with_config(function):
    """A decorator that takes the context itself."""

    @functools.wraps(function)
    def wrapper(context, *given, **named):
        return function(*given, factor=context.op_config["factor"], **named)

    return wrapper


def told(context, value):
    """Have the test see what the op got."""
    context.log.info("%s", value)


@op
def one():
    return 1


@op
@timed
def decorated(context, rows, by=2):
    told(context, rows * by)


@op
@timed
@timed
def twice_decorated(rows):
    return rows + 1


@op(config_schema={"factor": int})
@with_config
def scaled(rows, factor=1):
    return rows * factor


@op
def named_only(*, context, rows):
    told(context, rows)


class Team:
    def method(self, context, rows):
        told(context, rows)

    @classmethod
    def of_class(cls, rows):
        return rows

    def __call__(self, context, rows):
        told(context, rows)


def add(first, second, third=0):
    return first + second + third


method = op(Team().method)
of_class = op(Team.of_class)
called = op(name="called")(Team())
partly = op(name="partly")(functools.partial(add, 40, third=1))


@op
@timed
async def begun_only():
    return 1


@op
def returns_what_begins():
    return begun_only()


@op
def asks_wrongly():
    raise RetryRequested(max_retries=1, seconds_to_wait="soon")


@resource
@contextlib.contextmanager
def connection(context):
    context.log.info("opened")
    yield "connection of " + context.run_id
    context.log.info("closed")


class Client:
    def __init__(self, context):
        self.name = "client of " + context.run_id


@resource
@timed
async def late(context):
    return context


@op(required_resource_keys={"connection", "client"})
def uses(context):
    told(context, context.resources.connection)
    told(context, context.resources.client.name)


@op(required_resource_keys={"late"})
def uses_late(context):
    told(context, context.resources.late)


@job
def decorators():
    decorated(one(), by=5)
    named_only(rows=scaled(twice_decorated(one())))


@job
def callables():
    method(of_class(partly(one())))
    called(one())


@job
def not_awaited():
    begun_only()


@job
def not_awaited_either():
    returns_what_begins()


@job
def retried_wrongly():
    asks_wrongly()
    one()


@job
def resources():
    uses()


@job
def late_resource():
    uses_late()


@asset
def prices():
    return 3


@asset
@timed
def report(context, prices):
    told(context, prices)


defs = Definitions(
    jobs=[
        decorators,
        callables,
        not_awaited,
        not_awaited_either,
        retried_wrongly,
        resources,
        late_resource,
    ],
    assets=[prices, report],
    resources={
        "connection": connection,
        "client": resource(name="client")(Client),
        "late": late,
    },
)
