"""What Dagster keeps of runs: ``python dagster_recorded.py DIRECTORY`` prints JSON.

A list of [status, whether the events say so, too] of the runs in an instance of DIRECTORY, opened as
Dagster's own tools do it.
"""

import json
import os
import sys

from dagster import DagsterInstance

os.environ["DAGSTER_HOME"] = sys.argv[1]
with DagsterInstance.get() as instance:
    found = []
    for one in instance.get_runs():
        status = getattr(one.status, "value", one.status)
        types = [
            record.dagster_event.event_type_value
            for record in instance.all_logs(one.run_id)
            if record.dagster_event is not None
        ]
        said = {"PIPELINE_SUCCESS", "RUN_SUCCESS"} & set(types)
        found.append([status, bool(said) == (status == "SUCCESS")])
    print(json.dumps(found))
