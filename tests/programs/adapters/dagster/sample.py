"""Definitions for the contract, as every release of Dagster takes them."""

import dagster

job = getattr(dagster, "job", None) or dagster.pipeline
op = getattr(dagster, "op", None) or dagster.solid
made = []


@op
def load(context):
    return 1


@job(tags={"b": "2", "a": "1"})
def nightly():
    load()


def make_weekly():
    made.append("weekly")

    @job
    def weekly():
        load()

    return weekly


@dagster.repository
def team():
    key = "jobs" if hasattr(dagster, "job") else "pipelines"
    return {key: {"nightly": nightly, "weekly": make_weekly}}
