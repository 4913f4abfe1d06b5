"""Native definitions with retries, resources that end, steps in processes of their own and kept values.

For Python 3.6 and later. Files that functions write are in the directory that the run config names.
"""

import os
import signal
import subprocess
import sys
import threading
import time

from runner_shim import (
    Definitions,
    Failure,
    Field,
    In,
    Out,
    Output,
    ResourceDefinition,
    RetryPolicy,
    RetryRequested,
    graph,
    job,
    op,
    resource,
)


class Rows:
    """What only this module knows how to unpickle."""

    def __init__(self, count):
        self.count = count


def calls(context, name):
    """How often this was called in all processes, this call included."""
    path = os.path.join(context.job_config["directory"], name)
    with open(path, "a") as file:
        file.write("x")
    return os.path.getsize(path)


IN_DIRECTORY = {"directory": str}


@op
def one_output():
    return Output(3, metadata={"rows": 3})


@op(out={"low": Out(), "high": Out(is_required=False)})
def some_outputs(rows):
    yield Output(rows - 1, "low", metadata={"half": "lower"})
    if rows > 5:
        yield Output(rows + 1, "high")


@op(out={"low": Out(), "high": Out(is_required=False)})
def returned_outputs(rows):
    return [Output(rows, "low")]


@op
def show(context, rows):
    context.log.info("%s", rows)
    return rows


@op
def show_all(context, rows):
    context.log.info("%s", sorted(rows))


@op(ins={"before": In(None)})
def at_last(context):
    context.log.info("at last")


@job
def branches():
    low, high = some_outputs(one_output())
    show.alias("lower")(low)
    show.alias("higher")(show.alias("high")(high))
    show_all([low, high])
    at_last(show.alias("never")(high))
    low, _ = returned_outputs(1)
    show.alias("returned")(low)


@op
def yields():
    yield 1


@job
def job_that_yields():
    yields()


@op
def twice():
    yield Output(1)
    yield Output(2)


@job
def job_that_yields_twice():
    twice()


# --- failures and retries


@op
def fails_with_metadata():
    raise Failure("too few rows", metadata={"rows": 2, "password": "hunter2"})


@job
def told_failure():
    fails_with_metadata()


@op(retry_policy=RetryPolicy(max_retries=2, delay=0.01, backoff="exponential"))
def flaky(context):
    count = calls(context, "flaky")
    if count <= context.job_config["fails"]:
        raise ValueError(f"attempt {count} of retry {context.retry_number}")
    return count


@op
def asks_again(context):
    if context.retry_number < 2:
        raise RetryRequested(max_retries=3, seconds_to_wait=0.01) from ValueError("not yet")
    return context.retry_number


@op(retry_policy=RetryPolicy(max_retries=5))
def gives_up():
    raise Failure("never", allow_retries=False)


@job(config_schema=dict(IN_DIRECTORY, fails=int))
def retried():
    show(flaky())


@job
def asked_again():
    show(asks_again())


@job
def no_retries():
    gives_up()


@op(retry_policy=RetryPolicy(max_retries=1, delay=600))
def waits_long(context):
    raise ValueError("the table is locked")


@op
def says_asleep(context):
    context.log.info("asleep")


@job
def long_delay():
    waits_long()
    says_asleep()


# --- resources


@resource(config_schema={"name": Field(str, default_value="db")})
def connection(init):
    name = init.resource_config["name"]
    init.log.info("open %s", name)
    yield name
    init.log.info("close %s", name)


def _tears_badly(context):
    yield "cursor"
    context.log.info("teardown of cursor")
    raise ValueError("the cursor is gone")


def _without_context():
    return "plain"


@op(required_resource_keys={"connection", "cursor"})
def uses(context):
    context.log.info("%s %s", context.resources.connection, context.resources.cursor)


@op(required_resource_keys={"connection", "plain"})
def uses_and_fails(context, after=None):
    raise RuntimeError(f"query {context.resources.connection} {context.resources.plain}")


@op(required_resource_keys={"connection"})
def uses_and_sleeps(context):
    try:
        context.log.info("asleep")
        time.sleep(60)
    finally:
        context.log.info("cleaned up")


@op(required_resource_keys={"never"})
def uses_never():
    pass


@job
def with_teardown():
    uses_and_fails(uses())


@job
def teardown_fails():
    uses()


@job
def teardown_at_cancel():
    uses_and_sleeps()


@job
def never_yields():
    uses_never()


# --- at the same time


@op
def number(context):
    return 2


@op
def square(context, rows):
    print(f"printed by {context.step_key}")
    context.log.info("squared")
    return Output(rows * rows, metadata={"pid": os.getpid() != _PID})


@op
def add_up(context, rows):
    context.log.info("%s", rows)
    return Rows(sum(rows))


@op
def show_rows(context, rows):
    context.log.info("%d", rows.count)


_PID = os.getpid()


@graph
def squares(rows):
    return add_up([square.alias(f"square_{index}")(rows) for index in range(5)])


@job(max_concurrent=3)
def parallel():
    show_rows(squares(number()))


@op
def prints(context):
    # In two halves, as a program that buffers nothing: the lines of others must not come between.
    for index in range(50):
        os.write(1, f"{context.step_key} begins {index:02d} ".encode())
        time.sleep(0.001)
        os.write(1, b"and ends\n")
    os.write(2, b"without an end")


@job(max_concurrent=4)
def printers():
    for index in range(4):
        prints.alias(f"prints_{index}")()


@op
def dies(context, how="SIGKILL"):
    os.kill(os.getpid(), getattr(signal, how))


@op
def leaves():
    os._exit(7)


@op
def exits():
    sys.exit(3)


@op(retry_policy=RetryPolicy(max_retries=1))
def dies_once(context):
    if not context.retry_number:
        os.kill(os.getpid(), signal.SIGKILL)
    return context.retry_number


@job(max_concurrent=2)
def deaths():
    show.alias("lost")(dies())
    leaves()
    exits()
    show.alias("survivor")(dies_once())


@op
def generator():
    return (one for one in range(3))


@job(max_concurrent=2)
def unpicklable():
    show(generator())
    generator.alias("not_taken")()


@op(required_resource_keys={"connection"})
def sleeps(context):
    try:
        context.log.info("asleep")
        time.sleep(60)
    finally:
        context.log.info("cleaned up")


@job(max_concurrent=2)
def sleepers():
    show.alias("next")(sleeps())
    number()
    show.alias("after")(show(number.alias("again")()))


@job(max_concurrent=2)
def alone_asleep():
    show(sleeps())


@job(max_concurrent=2, config_schema=dict(IN_DIRECTORY, fails=int))
def parallel_retries():
    show(flaky())
    show.alias("asked")(asks_again())


@op
def tells_process(context):
    return os.getpid()


@op
def leaves_thread(context):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return os.getpid()


@op
def leaves_child(context):
    subprocess.Popen(["sleep", "600"])
    return os.getpid()


@op
def takes_long(context):
    time.sleep(0.3)
    return os.getpid()


@op
def compares(context, pids):
    context.log.info("%d", len(set(pids)))


def _processes(name, step):
    @job(name=name, max_concurrent=2)
    def build():
        first = step.alias("first")()
        second = step.alias("second")(after=first)
        compares([first, second, step.alias("third")(after=second)])

    return build


short_steps = _processes("short_steps", tells_process)
thread_steps = _processes("thread_steps", leaves_thread)
child_steps = _processes("child_steps", leaves_child)
long_steps = _processes("long_steps", takes_long)


# --- retry from failure


@op
def extract(context):
    calls(context, "extract")
    return Rows(7)


@op(out={"rows": Out(), "rest": Out(is_required=False)})
def divide(context, rows):
    calls(context, "divide")
    yield Output(rows.count, "rows")


@op
def load(context, rows):
    if calls(context, "load") <= context.job_config["fails"]:
        raise ValueError("the warehouse is down")
    return rows + 1


@op
def report(context, rows):
    calls(context, "report")
    context.log.info("%s", rows)


def _work():
    rows, rest = divide(extract())
    report(load(rows))
    show(rest)


@job(config_schema=dict(IN_DIRECTORY, fails=int))
def etl():
    _work()


@job(config_schema=dict(IN_DIRECTORY, fails=int), max_concurrent=2)
def parallel_etl():
    _work()


@job(config_schema=dict(IN_DIRECTORY, fails=int))
def etl_of_generators():
    load(generator())


def _never(context):
    if context is None:
        yield


defs = Definitions(
    jobs=[
        branches,
        job_that_yields,
        job_that_yields_twice,
        told_failure,
        retried,
        asked_again,
        no_retries,
        long_delay,
        with_teardown,
        teardown_fails,
        teardown_at_cancel,
        never_yields,
        parallel,
        printers,
        deaths,
        unpicklable,
        sleepers,
        alone_asleep,
        parallel_retries,
        short_steps,
        thread_steps,
        child_steps,
        long_steps,
        etl,
        parallel_etl,
        etl_of_generators,
    ],
    resources={
        "connection": connection,
        "cursor": ResourceDefinition("cursor", _tears_badly),
        "plain": ResourceDefinition("plain", _without_context),
        "never": ResourceDefinition("never", _never),
    },
)
