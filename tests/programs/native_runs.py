"""Native definitions that use all that a run can do, and what it refuses; for Python 3.6 and later."""

import sys
import time

from runner_shim import (
    AssetDefinition,
    Definitions,
    DynamicPartitionsDefinition,
    Field,
    In,
    JobDefinition,
    Out,
    TimeWindowPartitionsDefinition,
    asset,
    graph,
    job,
    op,
    resource,
)


@op(
    config_schema={
        "n": Field(int, default_value=2),
        "names": Field([str], default_value=["a"]),
        "deep": {"ratio": Field(float, default_value=0.5), "flag": Field(bool, is_required=False)},
    },
    tags={"kind": "reader"},
)
def load(context):
    context.log.info("loading %d rows of %s", context.op_config["n"], context.op_config["names"])
    context.log.warning({"not": "text"})
    context.add_output_metadata({"rows": context.op_config["n"], "password": "hunter2"})
    print("printed by load")
    return context.op_config["n"]


@op
def scale(x, by=3):
    return x * by


@op
def add(left, right):
    return left + right


@op
def publish(context, rows):
    context.log.info("%s", rows)
    return rows


@op(out={"low": Out(), "high": Out()})
def split(rows):
    return rows - 1, rows + 1


@op(out={"low": Out(), "high": Out()})
def split_badly(rows):
    return rows


@op(ins={"after": In(None)})
def announce():
    print("announced")


@op
def total(values):
    return sum(values)


@op
def look_up(tables):
    return sorted(tables.items())


def helper(rows):
    raise ValueError(f"no such table: {rows}")


@op
def explode(rows):
    try:
        helper(rows)
    except ValueError as error:
        raise RuntimeError("rows cannot be read") from error


@op
def leave():
    sys.exit(3)


@op
def interrupt():
    try:
        raise KeyboardInterrupt
    finally:
        print("cleaned up")


@op
def sleep(context):
    try:
        context.log.info("asleep")
        time.sleep(60)
    finally:
        context.log.info("cleaned up")


@op(required_resource_keys={"db", "greeting"})
def query(context):
    return f"{context.resources.greeting} from {context.resources.db}"


@op
def tell(context):
    names = ("run_id", "job_name", "op_name", "step_key", "tags", "partition_key", "op_tags")
    for name in names:
        context.log.info("%s=%r", name, sorted_items(getattr(context, name)))
    context.log.info("job_config=" + repr(context.job_config))


def sorted_items(value):
    return sorted(value.items()) if isinstance(value, dict) else value


@graph
def inner(x):
    return scale(x, 5)


@graph
def outer(x):
    return {"once": inner(x), "twice": scale.alias("again")(inner.alias("deep")(x), by=2)}


@graph
def silent():
    announce()


@job
def nightly():
    publish(inner(load()))


@job
def nested():
    found = outer(load())
    publish(add(found.once, right=found.twice))


@job
def fan_in():
    low, high = split(load())
    publish(total([low, high, 10]))
    look_up({"low": low, "fixed": 1})


@job
def ordered():
    announce(silent())
    publish.alias("last")(3, after=silent.alias("other")())


@job
def broken():
    rows = load()
    publish(explode(rows))
    publish.alias("deeper")(scale(publish.alias("lost")(explode.alias("too")(rows))))
    publish.alias("other")(scale.alias("free")(rows))


@job
def exits():
    leave()


@job
def interrupted():
    publish(interrupt(), after=load())


@job
def sleeper():
    publish(sleep())


@job
def splits_badly():
    split_badly(1)


@job(
    config_schema={"day": str},
    tags={"team": "risk"},
    run_tags={"size": "big"},
    partitions_def=["eu", "us"],
)
def regional():
    tell()


@job(partitions_def=TimeWindowPartitionsDefinition("@daily", "2024-01-01"))
def daily():
    tell()


@job(partitions_def=DynamicPartitionsDefinition("tenants"))
def tenants():
    tell()


@job
def with_resources():
    publish(query())


@resource(config_schema={"word": Field(str, default_value="hello")})
def greeting(context):
    context.log.info("made once")
    return context.resource_config["word"]


@op(required_resource_keys={"nowhere"})
def read_nothing():
    pass


@job
def needs_nothing():
    read_nothing()


@op(out=Out(is_dynamic=True))
def fan_out():
    return [1]


@job
def dynamic():
    fan_out()


async def later():
    pass


waits = JobDefinition("waits", ops=[op(later)])


@op
def needs_input(rows):
    return rows


without_input = JobDefinition("without_input", ops=[needs_input, load])


@asset
def raw(context):
    """The rows."""
    context.add_output_metadata({"rows": 3})
    return 3


@asset(key_prefix="core", config_schema={"factor": int}, required_resource_keys={"db"})
def report(context, raw, db):
    context.log.info("%s of %s", context.asset_key, db)
    return raw * context.op_config["factor"]


@asset(deps=["core/report"])
def mail():
    pass


@asset(partitions_def=["red", "blue"])
def color(context):
    return context.partition_key


@asset(partitions_def=["red", "blue"])
def shade(color):
    return "dark " + color


@asset(io_manager_key="lake")
def kept():
    return 1


@asset(deps=["round"])
def about():
    pass


@asset(deps=["about"], name="round")
def round_about():
    pass


defs = Definitions(
    jobs=[
        nightly,
        nested,
        fan_in,
        ordered,
        broken,
        exits,
        interrupted,
        sleeper,
        splits_badly,
        regional,
        daily,
        tenants,
        with_resources,
        needs_nothing,
        dynamic,
        waits,
        without_input,
    ],
    assets=[raw, report, mail, color, shade, kept, about, round_about, AssetDefinition("events")],
    resources={
        "db": "postgresql://risk",
        "greeting": greeting,
    },
)
