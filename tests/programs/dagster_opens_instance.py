"""Opens the instance of DAGSTER_HOME, as Dagster's webserver and daemon do, once its standard input ends."""

import sys

from dagster import DagsterInstance

print("about to open it", flush=True)
sys.stdin.read()
with DagsterInstance.get() as instance:
    for one in (instance.run_storage, instance.event_log_storage, instance.schedule_storage):
        # Two programs that made the tables of one at the same time leave two versions, and each look raises.
        found, newest = one.alembic_version()
        assert found == newest, (one, found, newest)
