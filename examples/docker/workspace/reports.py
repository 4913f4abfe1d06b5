"""One job, so that the image has something to run."""

from runner_shim import Definitions, job, op


@op
def write():
    print("a report")


@job
def report():
    write()


defs = Definitions(jobs=[report])
