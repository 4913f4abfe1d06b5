"""A team whose runs take what they are given, wait for a file, fail while another is there."""

from __future__ import annotations

from launched import HEAD

TEAM = (
    HEAD
    + """
from runner_shim import Field, asset

@op(config_schema={"limit": Field(int, default_value=10, description="Rows at most."), "source": Field(str)})
def fetch(context):
    print("fetching", context.op_config["limit"], "of", context.op_config["source"])
    return 1

@op
def clean(context, rows):
    context.log.info("cleaning rows")
    print("<b>cleaned</b>", file=sys.stderr)
    while os.path.exists("hold"):
        time.sleep(0.01)
    if os.path.exists("broken"):
        raise ValueError("the ledger does not balance")
    return rows

@op
def publish(rows):
    print("published")

@job(tags={"team": "ml"})
def settle():
    publish(clean(fetch()))

@op
def color(context):
    print(context.partition_key)

@job(partitions_def=["red", "green", "blue"])
def colors():
    color()

@asset(config_schema={"deep": bool})
def report(context):
    print("deep" if context.op_config["deep"] else "flat")
    context.add_output_metadata({"rows": 12, "seen": "https://example.com/seen", "note": "<b>**n**</b>"})

defs = Definitions(jobs=[settle, colors], assets=[report])
"""
)

CONFIG = {"ops": {"fetch": {"config": {"source": "s3"}}}}
