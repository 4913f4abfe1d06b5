"""Definitions of Dagster 0.15 and later that its own page is to show and run; edition 0."""

import os
import time

import dagster
from dagster import Field, in_process_executor, job, op

EDITION = 0


@op
def load(context):
    print("loaded", flush=True)
    return 1


@op(config_schema={"text": Field(str, default_value="")})
def publish(context, rows):
    context.log.info("published {} characters".format(len(context.op_config["text"])))


@op
def wait(context):
    for _ in range(3000):
        time.sleep(0.1)


@op
def die(context):
    os._exit(3)


@job
def nightly():
    publish(load())


@job(executor_def=in_process_executor)
def waiting():
    wait()


@job
def waiting_in_steps():
    wait()


@job(executor_def=in_process_executor)
def dying():
    die()


jobs = [nightly, waiting, waiting_in_steps, dying]

if hasattr(dagster, "Definitions"):

    @dagster.asset
    def table(context):
        return 1

    defs = dagster.Definitions(assets=[table], jobs=jobs)
else:

    @dagster.repository
    def team():
        return jobs
