"""Two where one is allowed."""

import dagster

job = getattr(dagster, "job", None) or dagster.pipeline
op = getattr(dagster, "op", None) or dagster.solid


@op
def load(context):
    return 1


@job
def one():
    load()


@job
def two():
    load()


del job, op
